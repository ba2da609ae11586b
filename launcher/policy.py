"""What to do next, and what an end means: pure functions of config, state and time.

The coordinator asks `decide` until the answer is Wait or Leave, and carries each action out with
one port call and one recorded event. `judge` turns what an executor and a trial say into the event
that ends an attempt.
"""

import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, assert_never

from launcher.budget import (
    TEARDOWN_SECONDS,
    Offer,
    least_spend_usd,
    why_nothing_fits,
    worst_case_usd,
)
from launcher.config import SweepConfig, from_mapping
from launcher.early_stopping import Curve, why_stop
from launcher.events import (
    AttemptEnded,
    AttemptStarted,
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
from launcher.ports import Cause, Outcome, Phase, Result
from launcher.state import Attempt, Enqueued, Mode, State, Trial, TrialState

MAX_RETRY_DELAY_SECONDS = 600.0
INTERRUPTED_EXIT_CODES = frozenset({75, 128 + 1, 128 + 2, 128 + 15})
"""EX_TEMPFAIL by agreement with trials; SIGHUP, SIGINT and SIGTERM come from the machine."""
KILLED_EXIT_CODE = 128 + 9
_OUT_OF_MEMORY = re.compile(
    r"out of memory|OutOfMemoryError|\bMemoryError\b|Cannot allocate memory"
    r"|CUBLAS_STATUS_ALLOC_FAILED",
    re.IGNORECASE,
)
SHOWN_LOG_LINES = 8  # of a crashed trial, in `status`


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

    `progress` says for running trials when their log or metrics last grew (Unix seconds);
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
    if state.live_trials:
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
    if not state.open and not state.queue and len(state.trials) >= total_trials(config):
        return End(EndReason.COMPLETED)
    start = _next_start(config, state, offer, now)
    if start is None:
        return Wait(_next_deadline(config, state, now))
    too_much = why_nothing_fits(config, state, offer, now)
    if not too_much:
        return start
    if state.live_trials:
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
    if len(state.live_trials) >= parallelism(config, offer) or now < _resting_until(config, state):
        return None
    for trial in state.open_trials:
        if trial.state is TrialState.QUEUED and (trial.retry_at is None or trial.retry_at <= now):
            return _submit(config, state, offer, trial)
    if len(state.trials) >= total_trials(config):
        return None
    return Suggest(len(state.trials) + 1, state.queue[0] if state.queue else None)


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
    return Wait() if state.open else End(EndReason.CANCELLED)


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
    for trial in state.live_trials:
        attempt = trial.attempt
        if attempt is None or attempt.started_at is None or attempt.cancelling is not None:
            continue
        moved_at = max(attempt.started_at, progress.get(trial.number, attempt.started_at))
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
    for trial in state.live_trials:
        attempt = trial.attempt
        if attempt is None or attempt.started_at is None or attempt.cancelling is not None:
            continue
        reason = why_stop(rule, config.sweep.goal, trial.number, curves)
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
    timeout = config.execution.timeout_seconds
    for trial in state.open_trials:
        if trial.state is TrialState.QUEUED and trial.retry_at is not None:
            deadlines.append(trial.retry_at)
        attempt = trial.attempt
        if timeout is not None and attempt is not None and attempt.started_at is not None:
            deadlines.append(attempt.started_at + timeout)
    return min((at for at in deadlines if at > now), default=None)


def why_not(state: State, command: Command) -> str:
    """Return why a request makes no sense now; empty when it does."""
    match command:
        case ResumeRequested():
            return "it is running" if state.mode is Mode.ACTIVE else ""
        case PauseRequested():
            return "" if state.mode is Mode.ACTIVE else f"it is {state.mode}"
        case StopRequested() | CancelRequested():
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
            return "" if can_retry else f"trial {number} is {trial.state}"
        case _:
            assert_never(command)


def _why_not_config(config: Mapping[str, Any]) -> str:
    try:
        from_mapping(config)
    except ValueError as error:
        return f"its new config is not one: {error}"
    return ""


def total_trials(config: SweepConfig) -> int:
    """Return how many trials the sweep may have."""
    limit = config.budget.trials
    return config.trials if limit is None else min(config.trials, limit)


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


def judge(
    config: SweepConfig,
    trial: Trial,
    attempt: Attempt,
    outcome: Outcome,
    result: Result | None,
    log: Sequence[str],
    now: float,
) -> AttemptEnded:
    """Return what the end of an attempt means.

    `outcome` must be over. `log` holds the last lines of the attempt's log.
    """
    metric = config.sweep.metric
    score = result.metrics.get(metric) if result is not None else None
    if result is not None and result.diverged:
        score = math.nan
    failure, detail = _failure(attempt, outcome, score, log)
    if outcome.phase in (Phase.LOST, Phase.ABSENT) and _is_final(result, score):
        failure, detail = None, ""  # the trial was done; only its machine went without a word
    second = config.sweep.second_objective
    if failure is None and second is not None and second.metric not in _finite(result):
        failure, metric = Failure.NO_RESULT, second.metric
    if failure is Failure.NO_RESULT:
        detail = _describe_missing_metric(metric, result)
    started_at, ended_at = _held(config, attempt, outcome, now)
    seconds = ended_at - started_at if started_at is not None else 0.0
    price = _price(attempt, outcome)
    retry_at = _retry_at(config, trial, attempt, failure, now)
    return AttemptEnded(
        trial=trial.number,
        attempt=attempt.number,
        failure=failure,
        will_retry=retry_at is not None,
        retry_at=retry_at,
        exit_code=outcome.exit_code,
        started_at=started_at,
        ended_at=ended_at,
        machine_seconds=seconds,
        cost_usd=seconds / 3600 * price,
        score=_score_at_the_end(config, failure, score, result),
        cost_seconds=_cost_seconds(trial, result, seconds),
        metrics=_finite(result),
        detail=detail,
    )


def _score_at_the_end(
    config: SweepConfig, failure: Failure | None, score: float | None, result: Result | None
) -> float | None:
    """Return the score of a success, or what a trial that was stopped early had come to."""
    if failure is None:
        return score
    rule = config.sweep.early_stopping
    if failure is not Failure.STOPPED_EARLY or rule is None or result is None:
        return None
    reached = result.metrics.get(rule.metric or config.sweep.metric)
    return reached if reached is not None and math.isfinite(reached) else None


def started(trial: Trial, attempt: Attempt, outcome: Outcome, now: float) -> AttemptStarted:
    """Return the event that an attempt's program runs, by our own clock.

    An executor's clock may be another machine's: what it says counts between intent and now.
    """
    at = now
    if outcome.started_at is not None and math.isfinite(outcome.started_at):
        at = min(max(outcome.started_at, attempt.submitting_at), max(now, attempt.submitting_at))
    return AttemptStarted(trial.number, attempt.number, at, _price(attempt, outcome))


def _price(attempt: Attempt, outcome: Outcome) -> float:
    """Return what an executor says the machines cost, or what was offered if it cannot say."""
    said = outcome.price_usd_per_hour
    return said if 0 < said <= MAX_PRICE_USD_PER_HOUR else attempt.price_usd_per_hour


MAX_PRICE_USD_PER_HOUR = 1e6
"""No trial's machines cost more: what says so is broken."""


def _held(
    config: SweepConfig, attempt: Attempt, outcome: Outcome, now: float
) -> tuple[float | None, float]:
    """Return from when to when an attempt's machines were held; None: they never were.

    An executor's times count where they can be true: a program ran within the time since its
    intent. Else our own record counts, and no longer than a job can outlive its time limit.
    """
    began, ended = outcome.started_at, outcome.ended_at
    if began is not None and ended is not None:
        longest = now - attempt.submitting_at
        if 0 <= ended - began <= longest + CLOCK_TOLERANCE_SECONDS:
            return began, ended
    began = attempt.started_at
    if began is None:
        return None, now
    limit = config.execution.timeout_seconds
    latest = math.inf if limit is None else began + limit + TEARDOWN_SECONDS
    return began, max(began, min(now, latest))


CLOCK_TOLERANCE_SECONDS = 60.0
"""How far the clocks of two machines may differ without anyone being wrong."""


def _is_final(result: Result | None, score: float | None) -> bool:
    """Whether a trial said itself that it was done: its result file is the last thing it writes."""
    said = result is not None and result.source == "result.json"
    return said and score is not None and math.isfinite(score)


def refused(
    config: SweepConfig, trial: Trial, attempt: Attempt, failure: Failure, detail: str, now: float
) -> AttemptEnded:
    """Return the end of an attempt that the executor never started."""
    retry_at = _retry_at(config, trial, attempt, failure, now)
    return AttemptEnded(
        trial=trial.number,
        attempt=attempt.number,
        failure=failure,
        will_retry=retry_at is not None,
        retry_at=retry_at,
        ended_at=now,
        detail=detail,
    )


def _failure(
    attempt: Attempt, outcome: Outcome, score: float | None, log: Sequence[str]
) -> tuple[Failure | None, str]:
    """Return whose fault the end was and a line for people; (None, "") is success."""
    code = outcome.exit_code
    is_broken_score = score is not None and not math.isfinite(score)
    match outcome.phase:
        case Phase.EXITED if code == 0 and is_broken_score:
            return Failure.DIVERGED, f"the score is {score}"
        case Phase.EXITED if code == 0:
            return (None, "") if score is not None else (Failure.NO_RESULT, "")
        case Phase.KILLED | Phase.EXITED if attempt.cancelling is not None:
            return attempt.cancelling, attempt.detail or outcome.detail
        case Phase.KILLED:
            return _from_cause(outcome.cause, Failure.PREEMPTED), outcome.detail
        case Phase.EXITED if code in INTERRUPTED_EXIT_CODES:
            return Failure.PREEMPTED, f"exit code {code}: asked to go"
        case Phase.EXITED if is_broken_score:
            return Failure.DIVERGED, f"exit code {code}, the score is {score}"
        case Phase.EXITED if code == KILLED_EXIT_CODE or _is_out_of_memory(log):
            return Failure.OUT_OF_MEMORY, f"exit code {code}"
        case Phase.EXITED:
            return Failure.CRASHED, "\n".join([f"exit code {code}", *log[-SHOWN_LOG_LINES:]])
        case Phase.LOST | Phase.ABSENT:
            reason = attempt.cancelling or _from_cause(outcome.cause, Failure.NODE_LOST)
            return reason, outcome.detail or "the job is gone without a word"
        case Phase.PENDING | Phase.RUNNING:
            raise ValueError(f"{attempt.job_name} is not over: {outcome.phase}")


def _is_out_of_memory(log: Sequence[str]) -> bool:
    return any(_OUT_OF_MEMORY.search(line) for line in log)


def _from_cause(cause: Cause, default: Failure) -> Failure:
    return default if cause is Cause.UNKNOWN else Failure(cause.value)


def _describe_missing_metric(metric: str, result: Result | None) -> str:
    if result is None or not result.metrics:
        return f"ended well, but reported no metrics; {metric!r} is wanted"
    names = ", ".join(sorted(result.metrics)[:12])
    return f"ended well, but did not report {metric!r}; it reported: {names}"


def _retry_at(
    config: SweepConfig, trial: Trial, attempt: Attempt, failure: Failure | None, now: float
) -> float | None:
    """Return when the trial is to be tried again; None: not at all.

    Exponential back-off with jitter that is derived from the job's name, so that a replay agrees.
    """
    if failure is None or not failure.is_machines_fault:
        return None
    used = sum(a.cancelling is None for a in trial.attempts)  # ends that were not our own wish
    if used >= config.execution.max_attempts + trial.granted_attempts:
        return None
    doublings = min(attempt.number - 1, 16)
    delay = min(config.execution.retry_delay_seconds * 2.0**doublings, MAX_RETRY_DELAY_SECONDS)
    digest = hashlib.sha256(attempt.job_name.encode()).digest()
    return now + delay * (0.5 + digest[0] / 255)


def _cost_seconds(trial: Trial, result: Result | None, seconds: float) -> float:
    """Return the trial's own measure, else the time its machines were held over all attempts."""
    if result is not None and result.cost_seconds is not None:
        return result.cost_seconds
    return seconds + sum(a.machine_seconds for a in trial.attempts)


def _finite(result: Result | None) -> dict[str, float]:
    if result is None:
        return {}
    return {name: value for name, value in result.metrics.items() if math.isfinite(value)}
