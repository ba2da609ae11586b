"""What can happen to a sweep: the events whose fold is its state.

An event is a fact that was decided or seen; it is committed before the coordinator goes on. Its
fields hold JSON values only. New fields need defaults, so that old journals stay readable.
Times are Unix seconds, money US dollars.
"""

from enum import StrEnum
from typing import Any

import msgspec

Value = bool | int | float | str
"""A parameter's value as it reaches a trial."""


class Failure(StrEnum):
    """Why an attempt ended without a result. Whose fault it is decides what happens next."""

    CRASHED = "crashed"  # the program ended with a non-zero exit code
    DIVERGED = "diverged"  # the score is NaN or infinite
    OUT_OF_MEMORY = "out_of_memory"  # of the GPU or the machine
    TIMEOUT = "timeout"
    STALLED = "stalled"  # neither log nor metrics grew for execution.stall_seconds
    NO_RESULT = "no_result"  # ended well, without the sweep's metric
    PREEMPTED = "preempted"  # the machine was taken away, or asked the program to go
    NODE_LOST = "node_lost"  # the machine is gone without a word
    NO_CAPACITY = "no_capacity"  # no machine was to be had
    LAUNCH_ERROR = "launch_error"  # the executor refused
    CANCELLED = "cancelled"  # the user ended it
    STOPPED_EARLY = "stopped_early"  # others did better by then; its last score teaches

    @property
    def is_parameters_fault(self) -> bool:
        """Whether the optimizer learns from it; otherwise the machine or the user caused it."""
        return self in _PARAMETERS_FAULT

    @property
    def is_machines_fault(self) -> bool:
        """Whether another attempt may succeed with the same parameters."""
        return self in _MACHINES_FAULT


_PARAMETERS_FAULT = frozenset(
    {
        Failure.CRASHED,
        Failure.DIVERGED,
        Failure.OUT_OF_MEMORY,
        Failure.TIMEOUT,
        Failure.STALLED,
        Failure.NO_RESULT,
    }
)
_MACHINES_FAULT = frozenset(
    {Failure.PREEMPTED, Failure.NODE_LOST, Failure.NO_CAPACITY, Failure.LAUNCH_ERROR}
)


class Origin(StrEnum):
    """Who proposed a trial's parameters."""

    OPTIMIZER = "optimizer"
    USER = "user"  # enqueued


class EndReason(StrEnum):
    """Why a sweep starts nothing more."""

    COMPLETED = "completed"  # all trials ended
    STOPPED = "stopped"  # drained on request
    CANCELLED = "cancelled"
    BUDGET = "budget"  # nothing more fits the budget


class SweepCreated(msgspec.Struct, frozen=True, tag="sweep_created"):
    """A sweep exists. `config` is SweepConfig.to_mapping(); `sweep_id` is unique per sweep."""

    sweep_id: str
    config: dict[str, Any]
    version: str


class SweepEdited(msgspec.Struct, frozen=True, tag="sweep_edited"):
    """The sweep goes on under another config. The former versions stay in the journal."""

    config: dict[str, Any]
    note: str = ""
    command_id: str | None = None


class CoordinatorStarted(msgspec.Struct, frozen=True, tag="coordinator_started"):
    """A coordinator took the sweep over."""

    host: str
    pid: int


class TrialSuggested(msgspec.Struct, frozen=True, tag="trial_suggested"):
    """A new trial. `info` is the optimizer's explanation; `command_id` the enqueue that asked."""

    trial: int
    run_id: str
    params: dict[str, Any]
    origin: Origin
    info: dict[str, Any]
    command_id: str | None = None


class AttemptSubmitting(msgspec.Struct, frozen=True, tag="attempt_submitting"):
    """The intent to start a job, committed before the executor is called."""

    trial: int
    attempt: int
    job_name: str
    price_usd_per_hour: float = 0.0
    reserved_usd: float = 0.0


class AttemptSubmitted(msgspec.Struct, frozen=True, tag="attempt_submitted"):
    """The executor has the job."""

    trial: int
    attempt: int


class AttemptStarted(msgspec.Struct, frozen=True, tag="attempt_started"):
    """The job's program runs, at this price for all its machines together.

    They are paid since `held_since`; None: since the program runs.
    """

    trial: int
    attempt: int
    started_at: float
    price_usd_per_hour: float = 0.0
    held_since: float | None = None


class AttemptCancelling(msgspec.Struct, frozen=True, tag="attempt_cancelling"):
    """The intent to end a job, and why; committed before the executor is called.

    `curve` is what spoke against a trial that others left behind: its source may be away later.
    """

    trial: int
    attempt: int
    reason: Failure
    detail: str = ""
    curve: tuple[tuple[float, float], ...] = ()


class AttemptEnded(msgspec.Struct, frozen=True, tag="attempt_ended"):
    """Nothing of the attempt runs any more, and what it means.

    `failure` None is success, with `score` set. `will_retry`: the trial goes on with another
    attempt not before `retry_at`. `cost_usd` is machine time × price, also of wasted attempts.
    `curve` is what it reported on its way, (resource, value), where the sweep stops trials early.
    """

    trial: int
    attempt: int
    failure: Failure | None
    will_retry: bool = False
    retry_at: float | None = None
    exit_code: int | None = None
    started_at: float | None = None
    ended_at: float | None = None
    machine_seconds: float = 0.0
    cost_usd: float = 0.0
    score: float | None = None
    cost_seconds: float | None = None
    metrics: dict[str, float] = msgspec.field(default_factory=dict)
    detail: str = ""
    curve: tuple[tuple[float, float], ...] = ()


class TrialDropped(msgspec.Struct, frozen=True, tag="trial_dropped"):
    """A trial that has nothing running ends without another attempt."""

    trial: int


class TrialRetried(msgspec.Struct, frozen=True, tag="trial_retried"):
    """The user gives a failed trial another attempt."""

    trial: int
    command_id: str


class PauseRequested(msgspec.Struct, frozen=True, tag="pause_requested"):
    """Start nothing new. `reason` is empty when the user asked."""

    reason: str = ""
    command_id: str | None = None


class StopRequested(msgspec.Struct, frozen=True, tag="stop_requested"):
    """Drain: running trials finish, nothing new starts."""

    command_id: str | None = None


class CancelRequested(msgspec.Struct, frozen=True, tag="cancel_requested"):
    """Kill all running trials."""

    command_id: str | None = None


class ResumeRequested(msgspec.Struct, frozen=True, tag="resume_requested"):
    """Go on, after a pause, a stop, a cancel or an end."""

    command_id: str | None = None


class ParamsEnqueued(msgspec.Struct, frozen=True, tag="params_enqueued"):
    """The user's own configuration, to run next."""

    command_id: str
    params: dict[str, Any]


class SweepEnded(msgspec.Struct, frozen=True, tag="sweep_ended"):
    """Nothing runs and nothing more will start by itself."""

    reason: EndReason
    detail: str = ""


Event = (
    SweepCreated
    | SweepEdited
    | CoordinatorStarted
    | TrialSuggested
    | AttemptSubmitting
    | AttemptSubmitted
    | AttemptStarted
    | AttemptCancelling
    | AttemptEnded
    | TrialDropped
    | TrialRetried
    | PauseRequested
    | StopRequested
    | CancelRequested
    | ResumeRequested
    | ParamsEnqueued
    | SweepEnded
)

Command = (
    PauseRequested
    | StopRequested
    | CancelRequested
    | ResumeRequested
    | ParamsEnqueued
    | TrialRetried
    | SweepEdited
)
"""What another process may ask of a sweep; each carries a `command_id`."""


class Recorded(msgspec.Struct, frozen=True):
    """An event as the journal holds it: `seq` counts from 1, `epoch` names the writer."""

    seq: int
    epoch: int
    at: float
    event: Event


_ENCODER = msgspec.json.Encoder()


def encode(event: Event) -> bytes:
    """Return the event as one line of JSON; `type` names it. NaN would become null: judge first."""
    return _ENCODER.encode(event)
