"""The seams between the coordinator and the world, and the values that cross them.

An edge does one thing to the world and decides nothing. Each real edge has a fake beside it that
passes the same contract suite (`tests/launcher/executor_contract.py`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol

import msgspec


@dataclass(frozen=True, slots=True)
class Job:
    """One attempt of one trial, as an executor starts it.

    `name` is derived from sweep, trial and attempt, never random: it is how a job is found again.
    `script` is bash; `arguments` become its positional parameters and never pass through a shell
    string. `secrets` are environment variables that must not be written anywhere.
    `timeout_seconds` is the executor's own last line of defence, for when no coordinator lives to
    end the job: it kills the job then, and says so (`KILLED`, cause `TIMEOUT`).
    `stall_seconds`: the same for a job that wrote nothing for so long (cause `STALLED`), where the
    coordinator cannot see its files while it runs; executors whose files it sees leave it to it.
    """

    name: str
    run_id: str
    attempt: int
    run_dir: Path
    workdir: Path
    script: str
    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)
    nodes: int = 1
    timeout_seconds: float | None = None
    stall_seconds: float | None = None


class Phase(StrEnum):
    """Where a job stands."""

    PENDING = "pending"  # accepted, not running yet
    RUNNING = "running"
    EXITED = "exited"  # its program ended by itself: `exit_code` is set
    KILLED = "killed"  # ended because `cancel` asked for it
    LOST = "lost"  # it ran, and what ran it is gone without a word
    ABSENT = "absent"  # never heard of it


class Cause(StrEnum):
    """Why a job is LOST or KILLED, where the executor knows it."""

    UNKNOWN = ""
    PREEMPTED = "preempted"
    NODE_LOST = "node_lost"
    NO_CAPACITY = "no_capacity"
    LAUNCH_ERROR = "launch_error"  # it could not be started as asked: credentials, quota, setup
    TIMEOUT = "timeout"
    STALLED = "stalled"


class Outcome(msgspec.Struct, frozen=True):
    """What an executor knows about one job.

    Times are Unix seconds; None means not yet or unknown. The price covers all nodes together.
    `held_since`: from then on machines are paid for the job, while they are set up for it or wait
    between jobs; None: from `started_at`.
    """

    phase: Phase
    exit_code: int | None = None
    started_at: float | None = None
    ended_at: float | None = None
    price_usd_per_hour: float = 0.0
    detail: str = ""
    cause: Cause = Cause.UNKNOWN
    held_since: float | None = None

    @property
    def is_over(self) -> bool:
        """Whether nothing of the job runs any more."""
        return self.phase not in (Phase.PENDING, Phase.RUNNING)


class Executor(Protocol):
    """Starts jobs on one kind of machine. Every call may be repeated after a crash."""

    def submit(self, job: Job) -> None:
        """Find the job by its name, in whatever phase, or start it.

        Raises ExecutorError when the job certainly does not exist afterwards.
        """

    def poll(self, names: Sequence[str]) -> Mapping[str, Outcome]:
        """Answer for every name (ABSENT if unknown), with one request for all."""

    def cancel(self, names: Sequence[str]) -> None:
        """Ask for the end of all named jobs and return at once; poll until they are over."""

    def names(self, prefix: str) -> Sequence[str]:
        """List the jobs under a prefix that exist and are not over: for reconciliation."""


class Result(msgspec.Struct, frozen=True):
    """What a trial reported: its final metrics, and its own measure of cost if it gave one.

    Values are finite floats or NaN/±inf as the trial reported them. `source` says where it was
    read: "result.json", "log", "metrics.jsonl" or "wandb". `diverged`: it says so itself.
    `runtime_seconds` is W&B's measure of all its attempts.
    """

    metrics: dict[str, float]
    cost_seconds: float | None = None
    source: str = ""
    diverged: bool = False
    runtime_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """What a metric source needs to know to find one trial's result."""

    run_id: str
    run_dir: Path
    attempt: int


class Metrics(Protocol):
    """Reads what trials reported."""

    @property
    def problem(self) -> str:
        """Why a source cannot be asked now, empty if all can: what is missing may be late."""

    def read(self, runs: Sequence[Run]) -> Mapping[str, Result]:
        """Return results by run id, with one request for all.

        A run without a result is missing from the answer (it may be late: ask again). Raises
        ExecutorError if nothing can be read now, never for one bad run.
        """


Curve = Sequence[tuple[float, float]]
"""What a trial reported on its way: (resource, value), resources rising."""


class Curves(Protocol):
    """Reads what trials report on their way, while they run."""

    @property
    def problem(self) -> str:
        """Why a source cannot be asked now, empty if all can: what is known stays as it is."""

    def read(self, runs: Sequence[Run], *, metric: str, resource: str) -> Mapping[str, Curve]:
        """Return what is known by now, by run id, with one request for all; it never waits.

        `resource` is `step` or `cost_seconds`. A run of which nothing is known may be missing.
        """


class Clock(Protocol):
    """Time, so that a whole sweep can run in virtual time. Unix seconds."""

    def now(self) -> float:
        """Return the time."""

    def sleep(self, seconds: float) -> None:
        """Return `seconds` later, or earlier when there is something to look at."""
