"""What is asked of SkyPilot and what it answers, as plain values: the seam to its SDK.

SkyPilot takes a request and answers later. So does this seam: `ask` returns a request's id at
once, `answers` tells which requests are done. One kind of call, one kind of answer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

JOB_VARIABLE = "PROTEIN_SKY_JOB"
"""In the environment of each task: the request that starts it is found again by it."""


@dataclass(frozen=True, slots=True)
class Launch:
    """Provision a cluster if it is not there, and run a task on it: a `Placed`.

    The cluster takes itself down after `idle_minutes` without a job, whatever becomes of us.
    """

    cluster: str
    task: Mapping[str, Any]
    secrets: Mapping[str, str]
    idle_minutes: int


@dataclass(frozen=True, slots=True)
class Exec:
    """Queue a task on a cluster that is up, without setting it up again: a `Placed`."""

    cluster: str
    task: Mapping[str, Any]
    secrets: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class LaunchManaged:
    """Hand a task over to the jobs controller: a `Placed` without a price."""

    name: str
    task: Mapping[str, Any]
    secrets: Mapping[str, str]
    pool: str | None = None


@dataclass(frozen=True, slots=True)
class ApplyPool:
    """Provision workers that managed jobs share, set up as the task says: None."""

    name: str
    task: Mapping[str, Any]
    secrets: Mapping[str, str]
    workers: int


@dataclass(frozen=True, slots=True)
class DownPool:
    """Give all workers of a pool back: None."""

    name: str


@dataclass(frozen=True, slots=True)
class ListJobs:
    """All jobs of one cluster: a tuple of `SkyJob`."""

    cluster: str


@dataclass(frozen=True, slots=True)
class ListManaged:
    """All managed jobs whose names begin so: a tuple of `SkyJob`."""

    prefix: str


@dataclass(frozen=True, slots=True)
class ListClusters:
    """Clusters whose names begin so, as the cloud sees them now if `is_fresh`: a tuple."""

    prefix: str
    is_fresh: bool = False


@dataclass(frozen=True, slots=True)
class CancelJobs:
    """End jobs of a cluster: None."""

    cluster: str
    job_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class CancelManaged:
    """End managed jobs, and their clusters: None."""

    job_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Down:
    """Give a cluster back: None."""

    cluster: str


@dataclass(frozen=True, slots=True)
class CancelRequest:
    """Give up a request that is not done: None."""

    request_id: str


Call = (
    Launch
    | Exec
    | LaunchManaged
    | ApplyPool
    | DownPool
    | ListJobs
    | ListManaged
    | ListClusters
    | CancelJobs
    | CancelManaged
    | Down
    | CancelRequest
)


class Status(StrEnum):
    """Where a job of SkyPilot stands; of its many words, those that make a difference to us."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    FAILED_SETUP = "failed_setup"
    NO_CAPACITY = "no_capacity"
    REFUSED = "refused"  # the task can run nowhere as it is asked for
    BROKEN = "broken"  # SkyPilot's own driver or controller
    CANCELLED = "cancelled"

    @property
    def is_over(self) -> bool:
        """Whether it never changes again."""
        return self not in (Status.PENDING, Status.RUNNING)


@dataclass(frozen=True, slots=True)
class Placed:
    """A job that SkyPilot took. The price covers all nodes together; None: not known."""

    job_id: int
    price_usd_per_hour: float | None = None
    is_spot: bool = False


@dataclass(frozen=True, slots=True)
class SkyJob:
    """A job in a queue of SkyPilot. Times are Unix seconds by SkyPilot's clock."""

    job_id: int
    name: str
    status: Status
    submitted_at: float | None = None
    started_at: float | None = None
    ended_at: float | None = None
    detail: str = ""
    recoveries: int = 0
    price_usd_per_hour: float | None = None


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster that SkyPilot knows. `launched_at` is Unix seconds."""

    name: str
    is_up: bool
    launched_at: float | None = None


class Problem(StrEnum):
    """Why SkyPilot could not do what was asked."""

    NO_CAPACITY = "no capacity"
    REFUSED = "refused"  # credentials, quota, policy, a task that cannot be: asking again is idle
    GONE = "gone"  # there is no such cluster, or it does not answer
    FORGOTTEN = "forgotten"  # SkyPilot knows nothing of the request, done or not
    CANCELLED = "cancelled"
    TROUBLE = "trouble"  # anything that may be better later


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a request: its value, or a problem and SkyPilot's own words for it."""

    value: Any = None
    problem: Problem | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Where:
    """Where a job runs: on a cluster, or under the jobs controller if that is None."""

    cluster: str | None
    job_id: int


class Sky(Protocol):
    """SkyPilot, asked without waiting. Every method raises ExecutorError if it cannot be reached.

    A call is not repeated by this seam; who asks remembers the id before asking for more.
    """

    def ask(self, call: Call) -> str:
        """Send a request; return its id at once. Raises ExecutorError if it was not taken."""

    def answers(self, request_ids: Sequence[str]) -> Mapping[str, Answer]:
        """Return the answers of those requests that are done or unknown, with one look at all."""

    def find(self, name: str) -> str | None:
        """Return the id of the latest request that started something of this name."""

    def log(self, where: Where) -> str:
        """Return all that a job has printed until now. It may take seconds."""
