"""A cluster in virtual time: the tests' and the rehearsal's stand-in for a cloud.

    clock = VirtualClock()
    executor = SimulatedExecutor(clock, lambda job: SimulatedRun(60.0, metrics={"reward": 0.5}))

Nothing runs. What a job would do is a `SimulatedRun`, asked for once when the job starts; where the
job stands is then a pure function of that and the time. With a `folder` the cluster outlives the
process: give another process the same folder (and the clock the same file) and it sees the same
jobs at the same time, whatever instant the first one was killed at.
"""

import json
import math
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path

import msgspec

from launcher.errors import ExecutorError
from launcher.executors.rehearsal import rehearsal
from launcher.executors.simulation import Report, SimulatedJob, SimulatedRun, write_files
from launcher.executors.validity import check, is_name
from launcher.files import write_atomic
from launcher.ports import Job, Outcome, Phase

__all__ = [
    "Report",
    "SimulatedExecutor",
    "SimulatedJob",
    "SimulatedRun",
    "VirtualClock",
    "started_twice",
]


class VirtualClock:
    """Time that passes only when someone sleeps. With a `path` it outlives the process."""

    def __init__(self, start: float = 1_700_000_000.0, *, path: Path | None = None) -> None:
        self._path = path
        self._now = start
        self._lock = threading.Lock()
        if path is not None and path.exists():
            self._now = float(path.read_text())

    def now(self) -> float:
        """Return the virtual time."""
        return self._now

    def sleep(self, seconds: float) -> None:
        """Let time pass at once. A negative or NaN duration is our own mistake."""
        assert seconds >= 0, seconds
        with self._lock:
            self._now += seconds
            if self._path is not None:
                write_atomic(self._path, repr(self._now))


class SimulatedExecutor:
    """An Executor on which `run` decides what each job does, and `clock` when it is over.

    Without `run` it is a rehearsal: made-up scores that depend on the parameters.
    Result files, reports and logs appear in the run's folder when the job is polled, as far as
    virtual time has passed. `fault` is asked at each call, with the method and its number from 1;
    what it answers, if not "", is raised as ExecutorError and the call does nothing.
    """

    def __init__(
        self,
        clock: VirtualClock,
        run: Callable[[Job], SimulatedRun] | None = None,
        *,
        folder: Path | None = None,
        price_usd_per_hour: float = 0.0,
        fault: Callable[[str, int], str] = lambda _method, _number: "",
    ) -> None:
        self._clock = clock
        self._run = rehearsal() if run is None else run
        self._folder = folder
        self._price_usd_per_hour = price_usd_per_hour
        self._fault = fault
        self._lock = threading.RLock()
        self._jobs: dict[str, SimulatedJob] = {}
        self._written: dict[str, float] = {}  # until when a job's files are written
        self._calls: Counter[str] = Counter()
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            self._jobs = {file.stem: _read(file) for file in folder.glob("[!.]*.json")}

    def submit(self, job: Job) -> None:
        """Find the job or start it."""
        with self._call("submit"):
            check(job)
            if self._find(job.name) is not None:
                return
            run = self._run(job)
            if run.launch_error:
                raise ExecutorError(f"job {job.name} was not started: {run.launch_error}")
            self._keep(
                SimulatedJob(
                    name=job.name,
                    run_id=job.run_id,
                    attempt=job.attempt,
                    run_dir=str(job.run_dir),
                    submitted_at=self._clock.now(),
                    run=run,
                    price_usd_per_hour=self._price_usd_per_hour * job.nodes,
                    timeout_seconds=job.timeout_seconds,
                )
            )

    def poll(self, names: Sequence[str]) -> Mapping[str, Outcome]:
        """Tell where the jobs stand now, after writing what their programs have written by now."""
        with self._call("poll"):
            return {name: self._outcome(name) for name in names}

    def cancel(self, names: Sequence[str]) -> None:
        """End the jobs that are not over, now."""
        with self._call("cancel"):
            for name in names:
                job = self._find(name)
                if job is not None and self._clock.now() < job.ends_at:
                    self._keep(msgspec.structs.replace(job, cancelled_at=self._clock.now()))

    def names(self, prefix: str) -> Sequence[str]:
        """List the jobs under a prefix that are not over."""
        with self._call("names"):
            now = self._clock.now()
            jobs = (job for name, job in self._jobs.items() if name.startswith(prefix))
            return sorted(job.name for job in jobs if now < job.ends_at)

    def jobs(self) -> Sequence[SimulatedJob]:
        """Everything that was ever started, in order: what a coordinator really did."""
        return tuple(sorted(self._jobs.values(), key=lambda job: (job.submitted_at, job.name)))

    def calls(self, method: str) -> int:
        """How often a method of this object was called."""
        return self._calls[method]

    def next_change(self) -> float:
        """When something happens next; infinity if nothing will."""
        now = self._clock.now()
        times = (at for job in self._jobs.values() for at in (job.program_at, job.ends_at))
        return min((at for at in times if at > now), default=math.inf)

    @contextmanager
    def _call(self, method: str) -> Iterator[None]:
        with self._lock:
            self._calls[method] += 1
            message = self._fault(method, self._calls[method])
            if message:
                raise ExecutorError(f"the simulated cluster does not answer {method}: {message}")
            yield

    def _find(self, name: str) -> SimulatedJob | None:
        if name not in self._jobs and self._folder is not None and is_name(name):
            with suppress(FileNotFoundError):  # another process may have started it
                self._jobs[name] = _read(self._folder / f"{name}.json")
        return self._jobs.get(name)

    def _keep(self, job: SimulatedJob) -> None:
        if self._folder is not None:
            text = json.dumps(msgspec.to_builtins(job))  # not msgspec's: that loses NaN
            write_atomic(self._folder / f"{job.name}.json", text)
        self._jobs[job.name] = job

    def _outcome(self, name: str) -> Outcome:
        job = self._find(name)
        if job is None:
            return Outcome(Phase.ABSENT)
        now = self._clock.now()
        outcome = job.outcome(now)
        since = self._written.get(name)
        if outcome.started_at is not None and (since is None or since < job.ends_at):
            write_files(job, now, since=since)
            self._written[name] = now
        return outcome


def _read(file: Path) -> SimulatedJob:
    return msgspec.convert(json.loads(file.read_bytes()), SimulatedJob)


def started_twice(jobs: Sequence[SimulatedJob]) -> list[tuple[str, str]]:
    """Name the pairs of jobs of one run that were alive at the same time: there must be none."""
    by_run: dict[str, list[SimulatedJob]] = {}
    for job in sorted(jobs, key=lambda job: job.submitted_at):
        by_run.setdefault(job.run_id, []).append(job)
    return [
        (first.name, second.name)
        for attempts in by_run.values()
        for first, second in pairwise(attempts)
        if second.submitted_at < first.ends_at
    ]
