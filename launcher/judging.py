"""What the end of an attempt means: success, the parameters' fault or the machine's.

Pure functions of config, trial, outcome, result and time: what an executor and a trial say becomes
the event that ends the attempt.
"""

import hashlib
import math
import re
from collections.abc import Sequence

import msgspec

from launcher.budget import TEARDOWN_SECONDS
from launcher.config import SweepConfig
from launcher.events import AttemptEnded, AttemptStarted, Failure
from launcher.ports import Cause, Outcome, Phase, Result
from launcher.state import Attempt, Trial

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
    if attempt.cancelling is Failure.TIMEOUT and _ended_in_time(config, outcome):
        attempt = msgspec.structs.replace(attempt, cancelling=None)  # it was only seen late
    failure, detail = _failure(attempt, outcome, score, log)
    if outcome.phase in (Phase.LOST, Phase.ABSENT) and _is_final(result, score):
        failure, detail = None, ""  # the trial was done; only its machine went without a word
    second = config.sweep.second_objective
    if failure is None and second is not None and second.metric not in _finite(result):
        failure, metric = Failure.NO_RESULT, second.metric
    if failure is Failure.NO_RESULT:
        detail = _describe_missing_metric(metric, result)
    started_at, ended_at = _ran(config, attempt, outcome, now)
    seconds = ended_at - started_at if started_at is not None else 0.0
    held_seconds = seconds + _warm_up_seconds(outcome, started_at, ended_at)
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
        machine_seconds=held_seconds,
        cost_usd=held_seconds / 3600 * price,
        score=_score_at_the_end(config, failure, score, result),
        cost_seconds=_cost_seconds(config, trial, result, seconds),
        metrics=_finite(result),
        detail=detail,
    )


def _ended_in_time(config: SweepConfig, outcome: Outcome) -> bool:
    """Whether a program ended by itself within its limit, whenever that was noticed."""
    limit, began, ended = config.execution.timeout_seconds, outcome.started_at, outcome.ended_at
    if outcome.phase is not Phase.EXITED or limit is None or began is None or ended is None:
        return False
    return 0 <= ended - began < limit


def _score_at_the_end(
    config: SweepConfig, failure: Failure | None, score: float | None, result: Result | None
) -> float | None:
    """Return the score of a success, or what a trial that was stopped early had come to."""
    if failure is None:
        return score
    if failure is not Failure.STOPPED_EARLY or result is None:
        return None
    reached = result.metrics.get(config.sweep.metric)
    return reached if reached is not None and math.isfinite(reached) else None


def started(trial: Trial, attempt: Attempt, outcome: Outcome, now: float) -> AttemptStarted:
    """Return the event that an attempt's program runs, by our own clock.

    An executor's clock may be another machine's: what it says counts between intent and now.
    """
    at = now
    if outcome.started_at is not None and math.isfinite(outcome.started_at):
        at = min(max(outcome.started_at, attempt.submitting_at), max(now, attempt.submitting_at))
    warm_up = _warm_up_seconds(outcome, outcome.started_at, at)
    held_since = at - warm_up if warm_up else None
    return AttemptStarted(trial.number, attempt.number, at, _price(attempt, outcome), held_since)


def _warm_up_seconds(outcome: Outcome, started_at: float | None, ended_at: float) -> float:
    """Return for how long machines were paid before the program ran; it may never have run."""
    since, until = outcome.held_since, ended_at if started_at is None else started_at
    if since is None or not math.isfinite(since):
        return 0.0
    return max(0.0, until - since)


def _price(attempt: Attempt, outcome: Outcome) -> float:
    """Return what an executor says the machines cost, or what was offered if it cannot say."""
    said = outcome.price_usd_per_hour
    return said if 0 < said <= MAX_PRICE_USD_PER_HOUR else attempt.price_usd_per_hour


MAX_PRICE_USD_PER_HOUR = 1e6
"""No trial's machines cost more: what says so is broken."""


def _ran(
    config: SweepConfig, attempt: Attempt, outcome: Outcome, now: float
) -> tuple[float | None, float]:
    """Return from when to when an attempt's program ran; None: it never did.

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


def _cost_seconds(
    config: SweepConfig, trial: Trial, result: Result | None, seconds: float
) -> float:
    """Return what the sweep takes for cost, else the time its machines were held, all attempts."""
    measured = None
    if result is not None and config.sweep.cost == "trial":
        measured = result.cost_seconds
    elif result is not None and config.sweep.cost == "wandb":
        measured = result.runtime_seconds
    return (
        seconds + sum(a.machine_seconds for a in trial.attempts) if measured is None else measured
    )


def _finite(result: Result | None) -> dict[str, float]:
    if result is None:
        return {}
    return {name: value for name, value in result.metrics.items() if math.isfinite(value)}
