"""A sweep's journal, rebuilt after damage: latest backup, what is readable, then the run folders.

Nothing is thrown away: the damaged files are moved aside. A trial that the backup does not know is
taken from its run folder, as if it had just been submitted; the next coordinator then finds its job
through the executor and its result where the trial left it.
"""

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import yaml

from launcher import policy
from launcher.config import from_mapping
from launcher.errors import ProteinSkyError
from launcher.events import (
    AttemptEnded,
    AttemptSubmitted,
    AttemptSubmitting,
    Event,
    Failure,
    Origin,
    Recorded,
    TrialSuggested,
)
from launcher.folder import SweepFolder
from launcher.journal import Journal, JournalWriter
from launcher.state import State, apply, fold


@dataclass(frozen=True, slots=True)
class Restored:
    """What came from where: counts of events and trials, and where the damaged file lies now."""

    from_backup: int
    from_damaged: int
    trials_from_folders: int
    damaged: Path | None


def restore(folder: SweepFolder) -> Restored:
    """Rebuild the journal. The caller holds the sweep's lock.

    Raises ProteinSkyError if there is no readable backup.
    """
    records = list(_readable(folder.backup))
    if not records:
        raise ProteinSkyError(
            f"no readable backup at {folder.backup}",
            hint="the results of its trials are under runs/: `result.json` in each folder",
        )
    later = list(_following(records, _readable(folder.database)))
    damaged = _set_aside(folder)
    _write_all(folder, [*records, *later])
    with JournalWriter(folder.database, now=time.time()) as journal:
        state = fold(journal.read())
        assert state is not None  # records is not empty
        trials = _replay_folders(folder, journal, state)
    return Restored(len(records), len(later), trials, damaged)


def _readable(path: Path) -> Iterator[Recorded]:
    """Yield the events of a database up to the first that cannot be read."""
    try:
        with Journal(path) as journal:
            yield from journal.read()
    except ProteinSkyError:
        return


def _following(known: list[Recorded], others: Iterator[Recorded]) -> Iterator[Recorded]:
    """Yield what comes after the known events and can follow them."""
    state = fold(known)
    for record in others:
        if record.seq <= known[-1].seq:
            continue
        try:
            state = apply(state, record)
        except ValueError:
            return
        yield record


def _set_aside(folder: SweepFolder) -> Path | None:
    """Move the damaged database and its side files away; return where it lies now."""
    stamp = f"damaged-{int(time.time())}-{os.getpid()}"
    for suffix in ("-wal", "-shm", ""):
        path = folder.database.with_name(folder.database.name + suffix)
        if path.exists():
            path.replace(path.with_name(f"{path.name}.{stamp}"))
    aside = folder.database.with_name(f"{folder.database.name}.{stamp}")
    return aside if aside.exists() else None


def _write_all(folder: SweepFolder, records: list[Recorded]) -> None:
    """Write a journal with these events, under their own times."""
    with JournalWriter(folder.database, now=time.time()) as journal:
        for record in records:
            journal.append(record.event, record.at)


def _replay_folders(folder: SweepFolder, journal: JournalWriter, state: State) -> int:
    """Record the trials and attempts that only the run folders know; return how many trials."""
    config = from_mapping(state.config)
    found = 0
    while True:
        number = len(state.trials) + 1
        run = folder.run(policy.run_id(config, state.sweep_id, number))
        suggestion = _suggestion(run)
        if suggestion is None:
            break
        state = _record(
            journal,
            state,
            TrialSuggested(
                number,
                run.name,
                suggestion["params"],
                Origin(suggestion.get("origin", "optimizer")),
                suggestion.get("info") or {},
            ),
        )
        found += 1
    for trial in list(state.ordered):
        attempts = _attempts(folder.run(trial.run_id))
        for attempt in range(len(trial.attempts) + 1, attempts + 1):
            state = _finish_former(journal, state, trial.number, attempt - 1)
            name = policy.job_name(config, state, trial.number, attempt)
            state = _record(journal, state, AttemptSubmitting(trial.number, attempt, name))
            state = _record(journal, state, AttemptSubmitted(trial.number, attempt))
    return found


def _finish_former(journal: JournalWriter, state: State, trial: int, attempt: int) -> State:
    """End an attempt that has a successor: it was the machine's fault, or there would be none."""
    former = state.trials[trial].attempt
    if former is None or former.number != attempt or former.is_over:
        return state
    detail = "ended before the journal was damaged"
    ended = AttemptEnded(trial, attempt, Failure.NODE_LOST, will_retry=True, detail=detail)
    return _record(journal, state, ended)


def _record(journal: JournalWriter, state: State, event: Event) -> State:
    return apply(state, journal.append(event, time.time()))


def _suggestion(run: Path) -> dict[str, Any] | None:
    try:
        read = yaml.safe_load((run / "protein_suggestion.yaml").read_text(encoding="utf-8"))
        params = msgspec.json.decode((run / "params.json").read_bytes(), type=dict[str, Any])
    except (OSError, yaml.YAMLError, msgspec.DecodeError, UnicodeDecodeError):
        return None
    if not isinstance(read, dict) or not isinstance(read.get("params"), dict):
        return None
    own = {name: params.get(name, value) for name, value in read["params"].items()}
    return {**read, "params": own}


def _attempts(run: Path) -> int:
    """Return how many attempts the executor has started in a run's folder."""
    numbers = [int(p.name) for p in (run / "attempts").glob("*") if p.name.isdecimal()]
    return max(numbers, default=0)


def is_damaged(path: Path) -> str:
    """Return what SQLite finds wrong with a database; empty when it is whole."""
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as db:
            (answer,) = db.execute("PRAGMA quick_check(1)").fetchone()
            return "" if answer == "ok" else str(answer)
    except sqlite3.DatabaseError as error:
        return str(error)
