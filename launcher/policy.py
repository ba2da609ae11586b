"""What to do next: a pure function of config, state and time.

The coordinator asks `decide` until the answer is Wait or Leave, and carries each action out with
one port call and one recorded event. What an end means is for `judging`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, assert_never

from launcher.budget import (
    Offer,
    least_spend_usd,
    why_nothing_fits,
    worst_case_usd,
)
from launcher.config import SweepConfig, from_mapping
from launcher.early_stopping import why_stop
from launcher.events import (
    CancelRequested,
    Command,
    EndReason,
    Failure,
    ParamsEnqueued,
    PauseRequested,
    ResumeRequested,
    StopRequested,
    SweepEdited,
    TrialRetried,
)
from launcher.ports import Curve
from launcher.state import Enqueued, Mode, State, Trial, TrialState


@dataclass(frozen=True, slots=True)
class Suggest:
    """Ask the optimizer for trial `number`, or take the user's own parameters."""

    number: int
    enqueued: Enqueued | None = None


@dataclass(frozen=True, slots=True)
class Submit:
    """Start an attempt. The intent is recorded first, unless a former coordinator did."""

    trial: int
    attempt: int
    job_name: str
    price_usd_per_hour: float
    reserved_usd: float
    is_recorded: bool = False


@dataclass(frozen=True, slots=True)
class Cancel:
    """End a running attempt."""

    trial: int
    attempt: int
    job_name: str
    reason: Failure
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Drop:
    """Give a waiting trial up."""

    trial: int


@dataclass(frozen=True, slots=True)
class Pause:
    """Start nothing new, for a reason that the user must see."""

    reason: str


@dataclass(frozen=True, slots=True)
class End:
    """The sweep is over."""

    reason: EndReason
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do before `until` (Unix seconds; None: until something happens outside)."""

    until: float | None = None


@dataclass(frozen=True, slots=True)
class Leave:
    """Nothing runs and nothing will start: the coordinator may go."""


Action = Suggest | Submit | Cancel | Drop | Pause | End | Wait | Leave


NO_PROGRESS: Mapping[int, float] = {}
NO_CURVES: Mapping[int, Curve] = {}


def decide(
    config: SweepConfig,
    state: State,
    offer: Offer,
    now: float,
    progress: Mapping[int, float] = NO_PROGRESS,
    curves: Mapping[int, Curve] = NO_CURVES,
) -> Action:
    """Return the next thing to do.

    `progress` says for running trials when their log or metrics last grew (Unix seconds), as far as
    that can be seen: a trial that is missing is never taken to stand still;
    `curves` what all trials reported on their way, where the sweep stops trials early.
    """
    if state.mode is Mode.ENDED:
        return Leave()
    if state.mode is Mode.CANCELLING:
        return _cancel_all(state)
    intent = _unsettled_intent(state)
    if intent is not None:
        return intent
    overdue = _overdue(config, state, now, progress)
    if overdue is not None:
        return overdue
    too_dear = _too_dear(config, state, now)
    if too_dear is not None:
        return too_dear
    behind = _behind(config, state, curves)
    if behind is not None:
        return behind
    if state.mode is Mode.ACTIVE:
        return _decide_active(config, state, offer, now)
    if state.mode is Mode.STOPPING and (ahead := _sent_ahead(config, state, offer)):
        return ahead
    if state.live:
        return Wait(_next_deadline(config, state, now))
    return End(EndReason.STOPPED) if state.mode is Mode.STOPPING else Leave()


def _decide_active(config: SweepConfig, state: State, offer: Offer, now: float) -> Action:
    limit = config.execution.max_consecutive_failures
    if limit is not None and state.consecutive_failures >= limit:
        return Pause(
            f"{state.consecutive_failures} trials in a row broke"
            f" (execution.max_consecutive_failures is {limit})"
        )
    rate = _failure_rate_over_limit(config, state)
    if rate:
        return Pause(rate)
    if not state.num_open and len(state.trials) >= config.total_trials:
        return End(EndReason.COMPLETED)  # what is still queued waits for `extend`
    start = _next_start(config, state, offer, now)
    if start is None:
        return Wait(_next_deadline(config, state, now))
    too_much = why_nothing_fits(config, state, offer, now)
    if not too_much:
        return start
    if state.live:
        return Wait(_next_deadline(config, state, now))
    return End(EndReason.BUDGET, too_much)


def _failure_rate_over_limit(config: SweepConfig, state: State) -> str:
    limit = config.execution.max_failure_rate
    if limit is None:
        return ""
    recent = [t for t in state.ordered if t.state in (TrialState.SUCCEEDED, TrialState.FAILED)][
        -FAILURE_RATE_WINDOW:
    ]
    failed = sum(t.state is TrialState.FAILED for t in recent)
    if len(recent) < FAILURE_RATE_WINDOW or failed <= limit * len(recent):
        return ""
    return (
        f"{failed} of the last {len(recent)} trials failed"
        f" (execution.max_failure_rate is {limit:g})"
    )


FAILURE_RATE_WINDOW = 10
"""Trials over which the failure rate is taken: fewer say too little."""


def _next_start(config: SweepConfig, state: State, offer: Offer, now: float) -> Action | None:
    """Return what to start next if a slot is free and no delay runs; budgets are not looked at."""
    if len(state.live) >= _places(config, state, offer) or now < _resting_until(config, state):
        return None
    for trial in state.waiting_trials:
        if trial.retry_at is None or trial.retry_at <= now:
            return _submit(config, state, offer, trial)
    if len(state.trials) >= config.total_trials:
        return None
    return Suggest(len(state.trials) + 1, state.queue[0] if state.queue else None)


def _places(config: SweepConfig, state: State, offer: Offer) -> int:
    """Return how many attempts may be under way: of short trials one more waits for each machine.

    So no paid machine waits for the next trial; it is suggested that much earlier.
    """
    parallel = parallelism(config, offer)
    seconds = _recent_seconds(state) if offer.start_seconds else []
    is_short = bool(seconds) and sum(seconds) / len(seconds) < offer.start_seconds
    return 2 * parallel if is_short else parallel


def _recent_seconds(state: State) -> list[float]:
    """Return how long the programs of the latest trials ran, as far as those are over."""
    latest = range(len(state.trials), max(0, len(state.trials) - RECENT_TRIALS), -1)
    attempts = (state.trials[number].attempt for number in latest)
    return [
        a.ended_at - a.started_at
        for a in attempts
        if a is not None and a.ended_at is not None and a.started_at is not None
    ]


RECENT_TRIALS = 50
"""Enough to have some that are over among them, however many run."""


def _sent_ahead(config: SweepConfig, state: State, offer: Offer) -> Cancel | None:
    """Return the end of an attempt that only waits for the machine of another one."""
    attempts = [(t.number, t.attempt) for t in state.live_trials]
    kept = [(number, a) for number, a in attempts if a is not None and a.cancelling is None]
    if not offer.start_seconds or len(kept) <= parallelism(config, offer):
        return None
    ends = (
        Cancel(number, a.number, a.job_name, Failure.CANCELLED)
        for number, a in reversed(kept)
        if a.is_submitted and a.started_at is None
    )
    return next(ends, None)


def _submit(config: SweepConfig, state: State, offer: Offer, trial: Trial) -> Submit:
    number = len(trial.attempts) + 1
    worst = worst_case_usd(config, offer)
    return Submit(
        trial.number,
        number,
        job_name(config, state, trial.number, number),
        offer.price_usd_per_hour,
        worst if math.isfinite(worst) else 0.0,  # unbounded: only a sweep without a cap starts it
    )


def _cancel_all(state: State) -> Action:
    for trial in state.open_trials:
        attempt = trial.attempt
        if not trial.state.is_live or attempt is None:
            return Drop(trial.number)
        if attempt.cancelling is None:
            return Cancel(trial.number, attempt.number, attempt.job_name, Failure.CANCELLED)
    return Wait() if state.num_open else End(EndReason.CANCELLED)


def _unsettled_intent(state: State) -> Submit | None:
    """Return the start that a coordinator recorded and perhaps did not live to carry out."""
    for trial in state.live_trials:
        attempt = trial.attempt
        if attempt is not None and not attempt.is_submitted:
            return Submit(
                trial.number,
                attempt.number,
                attempt.job_name,
                attempt.price_usd_per_hour,
                attempt.reserved_usd,
                is_recorded=True,
            )
    return None


def _overdue(
    config: SweepConfig, state: State, now: float, progress: Mapping[int, float]
) -> Cancel | None:
    """Return the end of a trial that has run too long, or that has stood still for too long."""
    timeout, stall = config.execution.timeout_seconds, config.execution.stall_seconds
    if timeout is None and stall is None:
        return None
    for trial in state.live_trials:
        attempt = trial.attempt
        if attempt is None or attempt.started_at is None or attempt.cancelling is not None:
            continue
        moved_at = max(attempt.started_at, progress.get(trial.number, math.inf))
        if timeout is not None and now - attempt.started_at >= timeout:
            return Cancel(trial.number, attempt.number, attempt.job_name, Failure.TIMEOUT)
        if stall is not None and now - moved_at >= stall:
            return Cancel(trial.number, attempt.number, attempt.job_name, Failure.STALLED)
    return None


def _too_dear(config: SweepConfig, state: State, now: float) -> Cancel | None:
    """Return the end of the latest trial when, going on, the sweep could cross its cap.

    Reservations keep it from coming to this, unless a machine costs more than was offered, or the
    cap was lowered.
    """
    if config.budget.usd is None or least_spend_usd(state, now) <= config.budget.usd:
        return None
    for trial in reversed(state.live_trials):
        attempt = trial.attempt
        if attempt is not None and attempt.is_submitted and attempt.cancelling is None:
            return Cancel(trial.number, attempt.number, attempt.job_name, Failure.CANCELLED)
    return None


def _behind(config: SweepConfig, state: State, curves: Mapping[int, Curve]) -> Cancel | None:
    """Return the end of a running trial that others have left behind."""
    rule = config.sweep.early_stopping
    if rule is None:
        return None
    finals = {t.number: t.score for t in state.ordered if t.state is TrialState.SUCCEEDED}
    for trial in state.live_trials:
        attempt = trial.attempt
        if attempt is None or attempt.started_at is None or attempt.cancelling is not None:
            continue
        reason = why_stop(rule, config.sweep.goal, trial.number, curves, finals=finals)
        if reason:
            why = Failure.STOPPED_EARLY
            return Cancel(trial.number, attempt.number, attempt.job_name, why, reason)
    return None


def _resting_until(config: SweepConfig, state: State) -> float:
    """After a program broke nothing starts for a while: it may break again at once."""
    if state.last_failure_at is None or state.consecutive_failures == 0:
        return -math.inf
    return state.last_failure_at + config.execution.retry_delay_seconds


def _next_deadline(config: SweepConfig, state: State, now: float) -> float | None:
    deadlines = [_resting_until(config, state)]
    deadlines += [trial.retry_at for trial in state.waiting_trials if trial.retry_at is not None]
    timeout = config.execution.timeout_seconds
    if timeout is not None:
        for trial in state.live_trials:
            attempt = trial.attempt
            if attempt is not None and attempt.started_at is not None:
                deadlines.append(attempt.started_at + timeout)
    return min((at for at in deadlines if at > now), default=None)


def why_not(state: State, command: Command) -> str:
    """Return why a request makes no sense now; empty when it does."""
    match command:
        case ResumeRequested():
            return "it is running" if state.mode is Mode.ACTIVE else ""
        case PauseRequested() if state.mode is not Mode.ENDED:
            return "" if state.mode is Mode.ACTIVE else f"it is {state.mode} already"
        case PauseRequested() | StopRequested() | CancelRequested():
            return "it has ended" if state.mode is Mode.ENDED else ""
        case ParamsEnqueued():
            return ""
        case SweepEdited(config=config):
            return _why_not_config(config)
        case TrialRetried(trial=number):
            trial = state.trials.get(number)
            if trial is None:
                return f"there is no trial {number}"
            can_retry = trial.state in (TrialState.FAILED, TrialState.CANCELLED)
            only = "only a failed or cancelled trial is tried again"
            return "" if can_retry else f"{only}, and trial {number} is not: {trial.state}"
        case _:
            assert_never(command)


def _why_not_config(config: Mapping[str, Any]) -> str:
    try:
        from_mapping(config)
    except ValueError as error:
        return f"its new config is not one: {error}"
    return ""


def parallelism(config: SweepConfig, offer: Offer) -> int:
    """Return how many trials may run at once."""
    return offer.parallel if config.parallel is None else config.parallel


def job_name(config: SweepConfig, state: State, trial: int, attempt: int) -> str:
    """Return the name under which an attempt's job is found again, on any executor."""
    return f"{job_prefix(config, state)}{trial}-{attempt}"


def job_prefix(config: SweepConfig, state: State) -> str:
    """Return what the names of all jobs of a sweep begin with, and of no other sweep's."""
    return f"{config.name}-{state.sweep_id}-"


def run_id(config: SweepConfig, sweep_id: str, trial: int) -> str:
    """Return a trial's run id: the name of its folder and its W&B run, the same in all attempts."""
    return f"{config.name}.{sweep_id}.r.{trial}"
