"""A sweep whose every part outlives its coordinator, and coordinators that die where we want.

Journal, cluster, clock and run folders are files. A coordinator is a process of its own (a fork,
so that it starts at once); `Points` counts the steps at which it can be killed, and SIGKILLs it at
the one that is asked for: at each statement that begins, adds to or commits a transaction, after
each commit, before and after each executor call, at each look for results, and before each file is
moved into place.
"""

import json
import os
import random
import shutil
import signal
import sqlite3
import struct
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from launcher import journal, sweep
from launcher.budget import Offer
from launcher.config import SweepConfig, from_mapping
from launcher.coordinator import World
from launcher.errors import ProteinSkyError
from launcher.executors.simulated import (
    SimulatedExecutor,
    SimulatedRun,
    started_twice,
)
from launcher.folder import SweepFolder
from launcher.journal import JournalWriter
from launcher.metrics import RunFolderMetrics
from launcher.optimizer import Ask, ask
from launcher.ports import Clock, Executor, Job, Outcome, Result, Run
from launcher.state import State, TrialState

Script = Callable[[Job], SimulatedRun]
START = 1_700_000_000.0
FOUR_AT_ONCE = Offer(parallel=4)


def score_by_params(job: Job) -> SimulatedRun:
    """A minute of work whose score is one of the parameters."""
    params = json.loads((job.run_dir / "params.json").read_text())
    return SimulatedRun(duration_seconds=60.0, metrics={"reward": float(params["trainer.gamma"])})


class Points:
    """Counts a coordinator's steps; at step `at` it is over."""

    def __init__(self, at: int | None = None, then: Callable[[], None] | None = None) -> None:
        self.at = at
        self.then = then or die
        self.seen: list[str] = []

    def reach(self, what: str) -> None:
        self.seen.append(what)
        if len(self.seen) == self.at:
            self.then()


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class FileClock:
    """Virtual time that outlives the process; one write a tick, and no step to be killed at."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
        self._now = self._stored()

    def now(self) -> float:
        return self._now

    def sleep(self, seconds: float) -> None:
        self._now = max(self._now + seconds, self._stored())  # another process may be ahead
        os.pwrite(self._fd, struct.pack("d", self._now), 0)

    def _stored(self) -> float:
        stored = os.pread(self._fd, 8, 0)
        return float(struct.unpack("d", stored)[0]) if stored else START


class Watched:
    """An executor with a point before and after each call."""

    def __init__(self, inner: Executor, points: Points) -> None:
        self._inner = inner
        self._points = points

    def submit(self, job: Job) -> None:
        with self._around("submit"):
            self._inner.submit(job)

    def poll(self, names: Sequence[str]) -> Mapping[str, Outcome]:
        with self._around("poll"):
            return self._inner.poll(names)

    def cancel(self, names: Sequence[str]) -> None:
        with self._around("cancel"):
            self._inner.cancel(names)

    def names(self, prefix: str) -> Sequence[str]:
        with self._around("names"):
            return self._inner.names(prefix)

    @contextmanager
    def _around(self, call: str) -> Iterator[None]:
        self._points.reach(f"before {call}")
        yield
        self._points.reach(f"after {call}")


class WatchedMetrics(RunFolderMetrics):
    """Run folders, with a point at each look."""

    def __init__(self, points: Points) -> None:
        super().__init__()
        self._points = points

    def read(self, runs: Sequence[Run]) -> Mapping[str, Result]:
        self._points.reach("read metrics")
        return super().read(runs)


@dataclass(frozen=True)
class Lab:
    """One sweep in one folder."""

    path: Path
    config: SweepConfig
    script: Script = score_by_params
    ask: Ask = ask
    poll_seconds: float = 20.0
    offer: Offer = FOUR_AT_ONCE
    elsewhere: Path | None = None
    """Where cluster and clock are kept, if not beside the sweep."""

    @property
    def folder(self) -> SweepFolder:
        return SweepFolder(self.path / self.config.name)

    @property
    def outside(self) -> Path:
        return self.elsewhere or self.path

    def clock(self) -> FileClock:
        self.outside.mkdir(parents=True, exist_ok=True)
        return FileClock(self.outside / "clock")

    def executor(self, clock: Clock | None = None) -> SimulatedExecutor:
        return SimulatedExecutor(
            clock or self.clock(),  # type: ignore[arg-type]  # it asks the time, and no more
            self.script,
            folder=self.outside / "jobs",
            price_usd_per_hour=self.offer.price_usd_per_hour,
        )

    def world(self, points: Points) -> World:
        clock = self.clock()
        executor = Watched(self.executor(clock), points)
        metrics = WatchedMetrics(points)
        return World(executor, metrics, clock, self.offer, self.ask, poll_seconds=self.poll_seconds)

    def coordinate(self, points: Points, **changes: Any) -> State:
        """Run the sweep here, as `protein-sky launch` or `resume` would.

        Its code is a folder that git does not know: what a launch writes about a commit, and so the
        number of steps, would depend on where, and beside whom, the tests run.
        """
        plain = self.config.to_mapping()
        config = from_mapping({**plain, "task": {**plain["task"], "workdir": str(self.path)}})
        world = replace(self.world(points), **changes)
        with watching_files(points), connected(world, points):
            watch, notice = world.watch, world.notice
            return sweep.run(self.folder, config, watch, notice)

    def state(self) -> State:
        return sweep.read(self.folder)


WRITES = ("BEGIN", "INSERT", "COMMIT")


@contextmanager
def connected(world: World, points: Points) -> Iterator[None]:
    """Let `sweep.run` find this world, and a journal that is watched."""

    class WatchedJournal(JournalWriter):
        def _connect(self) -> sqlite3.Connection:
            db = super()._connect()
            db.set_trace_callback(lambda sql: sql.startswith(WRITES) and points.reach(sql[:16]))
            return db

    write_tip = journal._write_tip

    def watched(path: Path, seq: int) -> None:
        points.reach("committed")
        write_tip(path, seq)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sweep, "connect", lambda _folder, _config: world)
        patch.setattr(sweep, "JournalWriter", WatchedJournal)
        patch.setattr(journal, "_write_tip", watched)
        yield


@contextmanager
def watching_files(points: Points) -> Iterator[None]:
    """Put a point before a file is moved into place."""
    rename = os.replace

    def watched(source: Any, target: Any, **how: Any) -> None:
        points.reach(f"replace {Path(target).name}")
        rename(source, target, **how)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "replace", watched)
        yield


def fork(work: Callable[[], object], log: Path) -> int:
    """Start the work in a process of its own; it exits as the command line would."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        except BaseException as error:  # noqa: BLE001 - a fork ends here, whatever happened
            code = error.exit_code if isinstance(error, ProteinSkyError) else 99
            log.write_text(traceback.format_exc())
        finally:
            os._exit(code)
    return pid


def in_a_fork(work: Callable[[], object], log: Path) -> int:
    """Do the work in a process of its own; return its wait status (0: well, 9: SIGKILLed)."""
    return os.waitpid(fork(work, log), 0)[1]


def finish(lab: Lab) -> None:
    """Run the sweep to its end in a process of its own."""
    log = lab.outside / "traceback"
    status = in_a_fork(lambda: lab.coordinate(Points()), log)
    assert status == 0, log.read_text() if log.exists() else f"wait status {status}"


def kill_at(lab: Lab, step: int) -> bool:
    """Run the sweep in a process of its own that dies at a step; return whether it got there."""
    log = lab.outside / "traceback"
    status = in_a_fork(lambda: lab.coordinate(Points(step)), log)
    assert status in (0, signal.SIGKILL), log.read_text()
    return status == signal.SIGKILL


ROOM = 60_000_000  # bytes: the largest of these tests takes 45 million; a container has 67


@contextmanager
def fast_folder() -> Iterator[Path]:
    """A folder in memory where there is room: what a SIGKILL leaves there is what a disk keeps."""
    memory = Path("/dev/shm")
    is_there = memory.is_dir() and os.access(memory, os.W_OK)
    parent = memory if is_there and shutil.disk_usage(memory).free >= ROOM else None
    with TemporaryDirectory(prefix="protein-sky-storm-", dir=parent) as folder:
        yield Path(folder)


def params_of(state: State) -> list[dict[str, Any]]:
    return [trial.params for trial in state.ordered]


def check_nothing_lost(lab: Lab, *, trials: int) -> State:
    """Hold the ledger against the cluster: no trial, result or job too many or too few."""
    state, cluster = lab.state(), lab.executor()
    assert len(state.trials) == trials
    for trial in state.ordered:
        assert trial.state is TrialState.SUCCEEDED, trial
        assert trial.score == trial.params["trainer.gamma"], trial
    ours = {a.job_name for trial in state.ordered for a in trial.attempts}
    assert {job.name for job in cluster.jobs()} == ours
    assert started_twice(cluster.jobs()) == []
    assert cluster.names("") == []
    return state


def random_ask(config: SweepConfig, state: State) -> Any:
    """A suggestion that depends on nothing but the seed and the number of suggestions so far."""
    from protein import Suggestion, seed_for

    numbers = random.Random(seed_for(config.sweep.seed, len(state.trials) + 1))
    params = {"trainer.learning_rate": numbers.uniform(1e-5, 1e-2)}
    params |= {"trainer.gamma": numbers.uniform(0.9, 0.999), "trainer.batch_size": 32}
    return Suggestion({**params, "model.activation": "relu"}, {"origin": "initial"})
