"""A sweep's journal, rebuilt after damage: latest backup, what is readable, then the run folders.

Nothing is thrown away: the damaged files are moved aside. A trial that no readable event knows is
taken from its run folder, with the intent to start its last attempt; the next coordinator then
finds its job through the executor and its result where the trial left it.
"""

import math
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import yaml

from launcher import policy
from launcher.budget import Offer, worst_case_usd
from launcher.config import SweepConfig, from_mapping
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
from launcher.journal import SIDE_SUFFIXES, Journal, JournalWriter
from launcher.metrics import from_result_file
from launcher.ports import Run
from launcher.state import State, apply, fold


@dataclass(frozen=True, slots=True)
class Restored:
    """What came from where: counts of events and trials, and where the damaged file lies now."""

    from_backup: int
    from_damaged: int
    trials_from_folders: int
    damaged: Path | None


def restore(folder: SweepFolder, offer_of: Callable[[SweepConfig], Offer]) -> Restored:
    """Rebuild the journal. The caller holds the sweep's lock; `offer_of` prices lost attempts.

    The new one is made whole beside the damaged one and then takes its place; killed on the way,
    it can be called again. Raises ProteinSkyError if nothing readable is left.
    """
    draft = folder.database.with_name(f".{folder.database.name}.restored")
    unplaced = list(_readable(draft))
    backup, own = list(_readable(folder.backup)), list(_readable(folder.database))
    records = max(own, backup, unplaced, key=len)
    if not records:
        raise ProteinSkyError(
            f"nothing readable in {folder.database} and no readable backup at {folder.backup}",
            hint="the results of its trials are under runs/: `result.json` in each folder",
        )
    rest = list(_following(records, _readable(folder.database, after=records[-1].seq)))
    found = _write(draft, [*records, *rest], folder, offer_of)
    damaged = _set_aside(folder)
    draft.replace(folder.database)
    _beside(draft, "-tip").replace(_beside(folder.database, "-tip"))
    own_count = len(records) if records is own else 0
    return Restored(len(records) - own_count, own_count + len(rest), found, damaged)


def _readable(path: Path, after: int = 0) -> Iterator[Recorded]:
    """Yield the events of a database up to the first that cannot be read."""
    try:
        with Journal(path) as journal:
            yield from journal.read(after)
    except ProteinSkyError:
        return


def _following(known: list[Recorded], others: Iterator[Recorded]) -> Iterator[Recorded]:
    """Yield what comes after the known events, as long as it can follow them."""
    state = fold(known)
    for record in others:
        try:
            state = apply(state, record)
        except ValueError:
            return
        yield record


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _set_aside(folder: SweepFolder) -> Path | None:
    """Move the damaged database and its side files away; return where it lies now."""
    stamp = f"damaged-{int(time.time())}-{os.getpid()}"
    for suffix in ("", *SIDE_SUFFIXES):
        path = _beside(folder.database, suffix)
        if path.exists():
            path.replace(_beside(path, f".{stamp}"))
    aside = _beside(folder.database, f".{stamp}")
    return aside if aside.exists() else None


def _write(
    draft: Path,
    records: list[Recorded],
    folder: SweepFolder,
    offer_of: Callable[[SweepConfig], Offer],
) -> int:
    """Write a journal with these events, under their own times, and what the run folders add.

    Returns how many trials only the run folders knew.
    """
    for path in (draft, *(_beside(draft, suffix) for suffix in SIDE_SUFFIXES)):
        path.unlink(missing_ok=True)
    with JournalWriter(draft, now=time.time()) as journal:
        for record in records:
            journal.append(record.event, record.at)
        state = fold(records)
        assert state is not None  # records is not empty
        config = from_mapping(state.config)
        return _replay_folders(folder, journal, state, config, offer_of(config))


def _replay_folders(
    folder: SweepFolder, journal: JournalWriter, state: State, config: SweepConfig, offer: Offer
) -> int:
    """Record the trials and attempts that only the run folders know; return how many trials."""
    known = len(state.trials)
    while True:
        number = len(state.trials) + 1
        run = folder.run(policy.run_id(config, state.sweep_id, number))
        suggestion = _suggestion(run)
        if suggestion is None:
            break
        origin, info = suggestion.get("origin", "optimizer"), suggestion.get("info") or {}
        event = TrialSuggested(number, run.name, suggestion["params"], Origin(origin), info)
        state = _record(journal, state, event)
    for trial in list(state.ordered):
        run = folder.run(trial.run_id)
        attempts = range(len(trial.attempts) + 1, _attempts(run) + 1)
        for attempt in attempts:
            state = _finish_former(journal, state, trial.number, attempt - 1)
            name = policy.job_name(config, state, trial.number, attempt)
            worst = worst_case_usd(config, offer)
            price = offer.price_usd_per_hour
            intent = AttemptSubmitting(trial.number, attempt, name, price, _finite(worst))
            state = _record(journal, state, intent)
        if attempts and from_result_file(Run(trial.run_id, run, attempts[-1])) is not None:
            # It is done: an executor that has forgotten it must not start it again.
            state = _record(journal, state, AttemptSubmitted(trial.number, attempts[-1]))
    return len(state.trials) - known


def _finish_former(journal: JournalWriter, state: State, trial: int, attempt: int) -> State:
    """End an attempt that has a successor: it was the machine's fault, or there would be none.

    What it cost is lost with the journal; all that was reserved for it is taken as spent.
    """
    former = state.trials[trial].attempt
    if former is None or former.number != attempt or former.is_over:
        return state
    ended = AttemptEnded(
        trial,
        attempt,
        Failure.NODE_LOST,
        will_retry=True,
        cost_usd=former.reserved_usd,
        detail="ended before the journal was damaged",
    )
    return _record(journal, state, ended)


def _finite(usd: float) -> float:
    return usd if math.isfinite(usd) else 0.0


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
    """Return how many attempts were to be started in a run's folder: each left a dist file."""
    numbers = [int(p.stem.rpartition("-")[2]) for p in run.glob("dist_*-*.yaml")]
    return max(numbers, default=0)


def is_damaged(path: Path) -> str:
    """Return what SQLite finds wrong with a database; empty when it is whole."""
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as db:
            (answer,) = db.execute("PRAGMA quick_check(1)").fetchone()
            return "" if answer == "ok" else str(answer)
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:  # it quotes what is damaged
        return str(error)
