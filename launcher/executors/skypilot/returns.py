"""Bringing home what a job printed and left, from wherever it ran."""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from launcher import trainlog
from launcher.errors import ExecutorError
from launcher.executors.skypilot import wrapping
from launcher.executors.skypilot.calls import Sky, Where
from launcher.executors.skypilot.ledger import Entry

TRIES = 3
THREADS = 4


@dataclass(slots=True)
class _Fetch:
    future: "Future[str]"
    tries: int = 1
    is_early: bool = False  # begun before the queue had seen the end


class Returns:
    """Logs on their way here: each takes seconds, so they come by threads."""

    def __init__(self, sky: Sky) -> None:
        self._sky = sky
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="sky-log")
        self._fetches: dict[str, _Fetch] = {}

    def __bool__(self) -> bool:
        """Whether anything of a job that is over is on its way."""
        return any(not fetch.is_early for fetch in self._fetches.values())

    def begin(self, entry: Entry) -> None:
        """Fetch what a job printed that says itself that it is over: its queue may be behind."""
        if entry.name not in self._fetches:
            self._fetches[entry.name] = _Fetch(self._fetched(entry), is_early=True)

    def bring(self, entry: Entry) -> wrapping.Printed | None:
        """Return what a job printed, once that and its files are in its run folder; None: not yet.

        A log that cannot be had is as good as an empty one. Raises ExecutorError from an OSError
        where the disk refuses; ask again then.
        """
        fetch = self._fetches.get(entry.name)
        if fetch is None or (fetch.future.done() and self._is_worth_another(fetch, entry)):
            tries = fetch.tries + 1 if fetch else 1
            self._fetches[entry.name] = _Fetch(self._fetched(entry), tries)
            return None
        if not fetch.future.done():
            return None
        log = "" if fetch.future.exception() is not None else fetch.future.result()
        said = wrapping.printed(log, entry.name)
        try:
            if not said.is_again:
                _keep(entry, said)
        except OSError as error:
            raise ExecutorError(f"the disk refuses what {entry.name} left: {error}") from error
        del self._fetches[entry.name]
        return said

    def _fetched(self, entry: Entry) -> "Future[str]":
        assert entry.job_id is not None
        return self._threads.submit(self._sky.log, Where(entry.cluster, entry.job_id))

    def _is_worth_another(self, fetch: _Fetch, entry: Entry) -> bool:
        if fetch.future.exception() is not None:
            return fetch.tries < TRIES
        return fetch.is_early and wrapping.printed(fetch.future.result(), entry.name).is_cut


def _keep(entry: Entry, said: wrapping.Printed) -> None:
    run_dir = Path(entry.run_dir)
    run_dir.mkdir(parents=True, exist_ok=True)
    log = run_dir / "train.log"
    if not trainlog.has_attempt(log, entry.attempt):
        _append(log, entry, said.lines)
    wrapping.unpack(said.files, run_dir)


def _append(log: Path, entry: Entry, lines: Sequence[str]) -> None:
    when = datetime.fromtimestamp(entry.asked_at, tz=UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    text = "\n".join([trainlog.header(entry.run_id, entry.attempt, when), *lines, ""])
    with log.open("a", encoding="utf-8", errors="replace") as file:
        file.write(text)
