"""A sweep's state: the fold of its events, over frozen values.

`apply` is the only way in which a state comes to be, so replaying the journal gives the state.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from enum import StrEnum
from functools import reduce
from typing import Any, assert_never

import msgspec

from launcher.events import (
    AttemptCancelling,
    AttemptEnded,
    AttemptStarted,
    AttemptSubmitted,
    AttemptSubmitting,
    CancelRequested,
    CoordinatorStarted,
    EndReason,
    Failure,
    Origin,
    ParamsEnqueued,
    PauseRequested,
    Recorded,
    ResumeRequested,
    StopRequested,
    SweepCreated,
    SweepEdited,
    SweepEnded,
    TrialDropped,
    TrialRetried,
    TrialSuggested,
)
from launcher.numbered import Numbered


class Mode(StrEnum):
    """What the user, or the sweep itself, wants to happen."""

    ACTIVE = "active"
    PAUSED = "paused"  # nothing new starts; what runs, runs
    STOPPING = "stopping"  # drain, then end
    CANCELLING = "cancelling"  # kill, then end
    ENDED = "ended"


class TrialState(StrEnum):
    """Where a trial stands."""

    QUEUED = "queued"  # suggested, or waiting for its next attempt
    STARTING = "starting"  # submitted, its program does not run yet
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    STOPPED = "stopped"  # ended early, with the score it had
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_live(self) -> bool:
        """Whether a job may exist for it."""
        return self in (TrialState.STARTING, TrialState.RUNNING)

    @property
    def is_over(self) -> bool:
        """Whether it ended."""
        return self not in (TrialState.QUEUED, TrialState.STARTING, TrialState.RUNNING)


class Attempt(msgspec.Struct, frozen=True, array_like=True):
    """One try at a trial. None: not yet, or never.

    `machine_seconds` is how long its machines were held; prices cover all of them together.
    """

    number: int
    job_name: str
    submitting_at: float
    is_submitted: bool = False
    price_usd_per_hour: float = 0.0
    reserved_usd: float = 0.0
    started_at: float | None = None
    held_since: float | None = None  # machines are paid since then, where that was earlier
    cancelling: Failure | None = None
    ended_at: float | None = None
    failure: Failure | None = None
    exit_code: int | None = None
    machine_seconds: float = 0.0
    cost_usd: float = 0.0
    detail: str = ""

    @property
    def is_over(self) -> bool:
        """Whether it ended."""
        return self.ended_at is not None


class Trial(msgspec.Struct, frozen=True, array_like=True):
    """One set of parameters and what became of it.

    `score` is in the metric's own unit and direction; `cost_seconds` is what the optimizer learns
    as cost; `cost_usd` is money spent on all attempts. None: not known. `curve` is what it reported
    on its way, where the sweep stops trials early.
    """

    number: int
    run_id: str
    params: dict[str, Any]
    origin: Origin
    info: dict[str, Any]
    suggested_at: float
    state: TrialState = TrialState.QUEUED
    attempts: tuple[Attempt, ...] = ()
    retry_at: float | None = None
    granted_attempts: int = 0  # beyond execution.max_attempts, by `retry`
    score: float | None = None
    cost_seconds: float | None = None
    metrics: dict[str, float] = {}
    curve: tuple[tuple[float, float], ...] = ()
    failure: Failure | None = None
    detail: str = ""
    ended_at: float | None = None

    @property
    def attempt(self) -> Attempt | None:
        """The latest attempt."""
        return self.attempts[-1] if self.attempts else None

    @property
    def started_at(self) -> float | None:
        """When its program first ran."""
        return next((a.started_at for a in self.attempts if a.started_at is not None), None)

    @property
    def cost_usd(self) -> float:
        """Money settled on all its attempts."""
        return sum(a.cost_usd for a in self.attempts)


class Enqueued(msgspec.Struct, frozen=True):
    """Parameters that the user wants to run next."""

    command_id: str
    params: dict[str, Any]


class State(msgspec.Struct, frozen=True):
    """Everything that is known about a sweep. Trials are numbered from 1 in order of suggestion."""

    sweep_id: str
    config: dict[str, Any]
    created_at: float
    mode: Mode = Mode.ACTIVE
    reason: str = ""  # why it is paused or ended, in words; empty when the user asked
    end: EndReason | None = None
    trials: "Numbered[Trial]" = Numbered()
    waiting: tuple[int, ...] = ()  # numbers of the trials to start (again), in order
    live: tuple[int, ...] = ()  # and of those for which a job may exist
    queue: tuple[Enqueued, ...] = ()
    commands: frozenset[str] = frozenset()  # ids already carried out
    consecutive_failures: int = 0  # of programs that broke; see policy.counts_against_the_limit
    last_failure_at: float | None = None
    settled_usd: float = 0.0
    wasted_usd: float = 0.0  # of it: attempts that the machine ended
    machine_seconds: float = 0.0
    active_seconds: float = 0.0  # time at work, up to `active_since`; see _go_on
    active_since: float | None = None
    at: float = 0.0  # when the latest event was recorded
    epoch: int = 0
    seq: int = 0
    config_version: int = 1

    @property
    def ordered(self) -> Iterator[Trial]:
        """All trials by number."""
        return iter(self.trials)

    @property
    def num_open(self) -> int:
        """How many trials are not over."""
        return len(self.waiting) + len(self.live)

    @property
    def open_trials(self) -> list[Trial]:
        """Trials that are not over, by number."""
        return [self.trials[number] for number in sorted(self.waiting + self.live)]

    @property
    def waiting_trials(self) -> list[Trial]:
        """Trials that are to be started, or started again, by number."""
        return [self.trials[number] for number in self.waiting]

    @property
    def live_trials(self) -> list[Trial]:
        """Trials for which a job may exist, by number."""
        return [self.trials[number] for number in self.live]


def fold(records: Iterable[Recorded], state: State | None = None) -> State | None:
    """Return the state after `records`; None when nothing was recorded yet."""
    return reduce(apply, records, state)


def apply(state: State | None, record: Recorded) -> State:
    """Return the state after one more event.

    Raises ValueError if the event cannot follow this state: the journal is not one of ours.
    """
    event = record.event
    if isinstance(event, SweepCreated):
        if state is not None:
            raise ValueError(f"event {record.seq}: a second sweep_created")
        state = State(event.sweep_id, event.config, record.at, active_since=record.at)
    elif state is None:
        raise ValueError(f"event {record.seq}: {type(event).__name__} before sweep_created")
    elif isinstance(event, OfTrial):
        state = _apply_to_trial(state, event, record)
    else:
        state = _apply_to_sweep(state, event, record.at)
    command_id = getattr(event, "command_id", None)
    commands = state.commands | {command_id} if command_id else state.commands
    return _with(state, epoch=record.epoch, seq=record.seq, at=record.at, commands=commands)


OfTrial = (
    TrialSuggested
    | AttemptSubmitting
    | AttemptSubmitted
    | AttemptStarted
    | AttemptCancelling
    | AttemptEnded
    | TrialDropped
    | TrialRetried
)
OfSweep = (
    SweepEdited
    | CoordinatorStarted
    | PauseRequested
    | StopRequested
    | CancelRequested
    | ResumeRequested
    | ParamsEnqueued
    | SweepEnded
)


def _apply_to_sweep(state: State, event: OfSweep, at: float) -> State:
    match event:
        case SweepEdited(config=config):
            return _with(state, config=config, config_version=state.config_version + 1)
        case CoordinatorStarted():
            return _go_on(state, at)
        case PauseRequested(reason=reason):
            return _in_mode(state, Mode.PAUSED, at, reason)
        case StopRequested():
            return _in_mode(state, Mode.STOPPING, at)
        case CancelRequested():
            return _in_mode(state, Mode.CANCELLING, at)
        case ResumeRequested():
            state = _with(state, end=None, consecutive_failures=0, last_failure_at=None)
            return _in_mode(state, Mode.ACTIVE, at)
        case ParamsEnqueued(command_id=command_id, params=params):
            return _with(state, queue=(*state.queue, Enqueued(command_id, params)))
        case SweepEnded(reason=reason, detail=detail):
            return _with(_in_mode(state, Mode.ENDED, at, detail), end=reason)
        case _:
            assert_never(event)


def _go_on(state: State, at: float) -> State:
    """Return the state under a new coordinator: without one, time counts while trials run."""
    if state.active_since is None or state.live:
        return state
    seconds = max(0.0, state.at - state.active_since)
    return _with(state, active_seconds=state.active_seconds + seconds, active_since=at)


def _in_mode(state: State, mode: Mode, at: float, reason: str = "") -> State:
    """Return the state in another mode, with the clock of its active hours kept."""
    since = state.active_since
    seconds = state.active_seconds + (max(0.0, at - since) if since is not None else 0.0)
    is_counting = mode not in (Mode.PAUSED, Mode.ENDED)
    return _with(
        state,
        mode=mode,
        reason=reason,
        active_seconds=seconds,
        active_since=at if is_counting else None,
    )


def _apply_to_trial(state: State, event: OfTrial, record: Recorded) -> State:
    at = record.at
    if isinstance(event, TrialSuggested):
        if event.trial != len(state.trials) + 1:
            raise ValueError(f"event {record.seq}: trial {event.trial} is out of order")
        trial = Trial(
            event.trial, event.run_id, event.params, event.origin, event.info, suggested_at=at
        )
        queue = tuple(item for item in state.queue if item.command_id != event.command_id)
        return _with_trial(_with(state, queue=queue), trial)
    if event.trial not in state.trials:
        raise ValueError(f"event {record.seq}: no trial {event.trial}")
    trial = state.trials[event.trial]
    match event:
        case AttemptSubmitting():
            attempt = Attempt(
                event.attempt,
                event.job_name,
                submitting_at=at,
                price_usd_per_hour=event.price_usd_per_hour,
                reserved_usd=event.reserved_usd,
            )
            trial = _with(
                trial,
                attempts=(*trial.attempts, attempt),
                state=TrialState.STARTING,
                retry_at=None,
            )
            return _with_trial(state, trial)
        case AttemptSubmitted():
            return _with_trial(state, _with_attempt(trial, event.attempt, is_submitted=True))
        case AttemptStarted():
            trial = _with_attempt(
                trial,
                event.attempt,
                started_at=event.started_at,
                held_since=event.held_since,
                price_usd_per_hour=event.price_usd_per_hour,
            )
            return _with_trial(state, _with(trial, state=TrialState.RUNNING))
        case AttemptCancelling():
            trial = _with_attempt(
                trial, event.attempt, cancelling=event.reason, detail=event.detail
            )
            return _with_trial(state, _with(trial, curve=event.curve or trial.curve))
        case AttemptEnded():
            return _end_attempt(state, trial, event, at)
        case TrialDropped():
            is_failed = trial.failure is not None and trial.failure is not Failure.CANCELLED
            end = TrialState.FAILED if is_failed else TrialState.CANCELLED
            return _with_trial(state, _with(trial, state=end, ended_at=at, retry_at=None))
        case TrialRetried():
            trial = _with(
                trial,
                state=TrialState.QUEUED,
                failure=None,
                curve=(),
                detail="",
                ended_at=None,
                granted_attempts=trial.granted_attempts + 1,
            )
            return _with_trial(state, trial)
        case _:
            assert_never(event)


def _end_attempt(state: State, trial: Trial, event: AttemptEnded, at: float) -> State:
    trial = _with_attempt(
        trial,
        event.attempt,
        ended_at=event.ended_at if event.ended_at is not None else at,
        started_at=event.started_at,
        failure=event.failure,
        exit_code=event.exit_code,
        machine_seconds=event.machine_seconds,
        cost_usd=event.cost_usd,
        detail=event.detail,
    )
    if event.will_retry:
        trial = _with(
            trial,
            state=TrialState.QUEUED,
            retry_at=event.retry_at,
            failure=event.failure,
            detail=event.detail,
        )
    else:
        trial = _with(
            trial,
            state=_end_state(event.failure),
            failure=event.failure,
            score=event.score,
            cost_seconds=event.cost_seconds,
            metrics=event.metrics,
            curve=event.curve,
            detail=event.detail,
            ended_at=at,
        )
    is_machines_fault = event.failure is not None and event.failure.is_machines_fault
    state = _with(
        state,
        settled_usd=state.settled_usd + event.cost_usd,
        wasted_usd=state.wasted_usd + (event.cost_usd if is_machines_fault else 0.0),
        machine_seconds=state.machine_seconds + event.machine_seconds,
    )
    return _with_trial(_count_failure(state, event.failure, at), trial)


def _count_failure(state: State, failure: Failure | None, at: float) -> State:
    """Count programs that broke one after the other; what taught something ends the row."""
    if failure in BROKEN_PROGRAM:
        return _with(state, consecutive_failures=state.consecutive_failures + 1, last_failure_at=at)
    if failure is None or failure.is_parameters_fault:
        return _with(state, consecutive_failures=0)
    return state


BROKEN_PROGRAM = frozenset({Failure.CRASHED, Failure.NO_RESULT, Failure.LAUNCH_ERROR})
"""Failures that say the task itself may be wrong. A diverged or out-of-memory trial says that
these parameters are: it teaches the optimizer and does not count against the limit."""


def _end_state(failure: Failure | None) -> TrialState:
    if failure is None:
        return TrialState.SUCCEEDED
    if failure is Failure.STOPPED_EARLY:
        return TrialState.STOPPED
    return TrialState.CANCELLED if failure is Failure.CANCELLED else TrialState.FAILED


def _with_attempt(trial: Trial, number: int, **changes: Any) -> Trial:
    attempt = trial.attempt
    if attempt is None or attempt.number != number:
        raise ValueError(f"trial {trial.number}: attempt {number} is not the latest")
    return _with(trial, attempts=(*trial.attempts[:-1], _with(attempt, **changes)))


def _with_trial(state: State, trial: Trial) -> State:
    number, trials = trial.number, state.trials.put(trial.number, trial)
    before = state.trials.get(number)
    if before is not None and before.state is trial.state:
        return _with(state, trials=trials)
    return _with(
        state,
        trials=trials,
        waiting=_listed(state.waiting, number, trial.state is TrialState.QUEUED),
        live=_listed(state.live, number, trial.state.is_live),
    )


def _listed(numbers: tuple[int, ...], number: int, belongs: bool) -> tuple[int, ...]:
    """Return numbers in order with this one, or without it."""
    at = bisect_left(numbers, number)
    is_there = numbers[at : at + 1] == (number,)
    if is_there is belongs:
        return numbers
    return (*numbers[:at], number, *numbers[at:]) if belongs else numbers[:at] + numbers[at + 1 :]


_with = msgspec.structs.replace
