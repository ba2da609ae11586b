import math
from typing import Any

import pytest

from launcher import judging
from launcher.events import AttemptEnded, Failure, Origin
from launcher.ports import Cause, Outcome, Phase, Result
from launcher.state import Attempt, Trial
from tests.launcher.builders import START, a_config

EXITED = Phase.EXITED


def judged(outcome: Outcome, result: Result | None = None, **changes: Any) -> AttemptEnded:
    """Return the verdict on the first attempt of trial 1, which ran from START to START + 60."""
    log = changes.pop("log", [])
    config = changes.pop("config", a_config())
    attempt = Attempt(1, "demo-abcd-1-1", START, is_submitted=True, started_at=START, **changes)
    trial = Trial(1, "demo.r.1", {}, Origin.OPTIMIZER, {}, START, attempts=(attempt,))
    return judging.judge(config, trial, attempt, outcome, result, log, now=START + 61)


def exited(code: int) -> Outcome:
    return Outcome(EXITED, exit_code=code, started_at=START, ended_at=START + 60)


def test_a_program_that_ends_well_with_its_metric_succeeds() -> None:
    ended = judged(exited(0), Result({"reward": 0.7, "loss": 0.1}))
    assert (ended.failure, ended.score, ended.will_retry) == (None, 0.7, False)
    assert ended.metrics == {"reward": 0.7, "loss": 0.1}


def test_cost_is_the_trials_own_measure_or_else_the_time_it_took() -> None:
    assert judged(exited(0), Result({"reward": 1.0}, cost_seconds=12.5)).cost_seconds == 12.5
    assert judged(exited(0), Result({"reward": 1.0})).cost_seconds == 60.0


@pytest.mark.parametrize(("cost", "seconds"), [("trial", 12.5), ("wandb", 42.0), ("machine", 60.0)])
def test_cost_is_what_the_sweep_takes_for_it(cost: str, seconds: float) -> None:
    result = Result({"reward": 1.0}, cost_seconds=12.5, runtime_seconds=42.0)
    config = a_config(sweep={"cost": cost})
    assert judged(exited(0), result, config=config).cost_seconds == seconds
    assert judged(exited(0), Result({"reward": 1.0}), config=config).cost_seconds == 60.0


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_no_number_is_a_divergence(score: float) -> None:
    ended = judged(exited(0), Result({"reward": score, "loss": 0.1}))
    assert (ended.failure, ended.score) == (Failure.DIVERGED, None)
    assert ended.metrics == {"loss": 0.1}


def test_a_trial_may_say_itself_that_it_diverged() -> None:
    assert judged(exited(3), Result({}, diverged=True)).failure is Failure.DIVERGED


def test_a_missing_metric_is_explained_by_the_metrics_that_are_there() -> None:
    ended = judged(exited(0), Result({"rewrad": 0.7}))
    assert ended.failure is Failure.NO_RESULT
    assert "'reward'" in ended.detail
    assert "rewrad" in ended.detail


def test_a_program_without_any_report_has_no_result() -> None:
    assert judged(exited(0)).failure is Failure.NO_RESULT


def test_a_crash_shows_the_end_of_the_log() -> None:
    ended = judged(exited(1), log=["Traceback", "ValueError: no such layer"])
    assert (ended.failure, ended.exit_code) == (Failure.CRASHED, 1)
    assert "ValueError: no such layer" in ended.detail


def test_a_result_does_not_excuse_a_crash() -> None:
    assert judged(exited(1), Result({"reward": 0.7})).failure is Failure.CRASHED


@pytest.mark.parametrize(
    "line",
    [
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 MiB",
        "RuntimeError: CUDA error: out of memory",
        "MemoryError",
        "DefaultCPUAllocator: can't allocate memory: Error code 12 (Cannot allocate memory)",
    ],
)
def test_running_out_of_memory_is_read_from_the_log(line: str) -> None:
    assert judged(exited(1), log=[line, "exiting"]).failure is Failure.OUT_OF_MEMORY


def test_a_kill_by_the_kernel_is_running_out_of_memory() -> None:
    assert judged(exited(137)).failure is Failure.OUT_OF_MEMORY


@pytest.mark.parametrize("code", [75, 129, 130, 143])
def test_being_asked_to_go_is_a_preemption(code: int) -> None:
    ended = judged(exited(code))
    assert (ended.failure, ended.will_retry) == (Failure.PREEMPTED, True)


@pytest.mark.parametrize(
    ("outcome", "failure"),
    [
        (Outcome(Phase.LOST), Failure.NODE_LOST),
        (Outcome(Phase.ABSENT), Failure.NODE_LOST),
        (Outcome(Phase.LOST, cause=Cause.PREEMPTED), Failure.PREEMPTED),
        (Outcome(Phase.LOST, cause=Cause.NO_CAPACITY), Failure.NO_CAPACITY),
        (Outcome(Phase.KILLED), Failure.PREEMPTED),
    ],
)
def test_the_machines_fault_is_tried_again(outcome: Outcome, failure: Failure) -> None:
    ended = judged(outcome)
    assert (ended.failure, ended.will_retry) == (failure, True)
    assert ended.retry_at is not None
    assert ended.retry_at > START + 61


def test_a_timeout_is_the_parameters_fault_whoever_enforced_it() -> None:
    ours = judged(Outcome(Phase.KILLED), cancelling=Failure.TIMEOUT)
    executors = judged(Outcome(Phase.KILLED, cause=Cause.TIMEOUT))
    assert {ours.failure, executors.failure} == {Failure.TIMEOUT}
    assert not ours.will_retry


def test_an_end_within_the_limit_that_was_seen_late_is_no_timeout() -> None:
    for limit, failure in ((61.0, Failure.CRASHED), (59.0, Failure.TIMEOUT)):
        config = a_config(execution={"timeout_seconds": limit})
        ended = judged(exited(3), config=config, cancelling=Failure.TIMEOUT)
        assert ended.failure is failure


def test_a_job_that_vanishes_while_it_is_cancelled_is_cancelled() -> None:
    assert judged(Outcome(Phase.ABSENT), cancelling=Failure.CANCELLED).failure is Failure.CANCELLED


def test_a_result_in_the_last_moment_counts_though_the_trial_was_being_cancelled() -> None:
    ended = judged(exited(0), Result({"reward": 0.7}), cancelling=Failure.TIMEOUT)
    assert (ended.failure, ended.score) == (None, 0.7)


def test_retries_end_with_the_allowed_attempts() -> None:
    config = a_config(execution={"max_attempts": 1})
    ended = judged(Outcome(Phase.LOST), config=config)
    assert (ended.failure, ended.will_retry) == (Failure.NODE_LOST, False)


def test_machine_time_is_money() -> None:
    ended = judged(exited(0), Result({"reward": 1.0}), price_usd_per_hour=36.0)
    assert (ended.machine_seconds, ended.cost_usd) == (60.0, pytest.approx(0.6))


def test_the_pause_before_another_attempt_doubles_with_a_jitter_that_a_replay_repeats() -> None:
    config = a_config(execution={"retry_delay_seconds": 10, "max_attempts": 99})

    def delay(trial: int, number: int) -> float:
        attempt = Attempt(number, f"demo-abcd-{trial}-{number}", START)
        tried = Trial(trial, "r", {}, Origin.OPTIMIZER, {}, START, attempts=(attempt,))
        ended = judging.refused(config, tried, attempt, Failure.NO_CAPACITY, "", now=START)
        assert ended.retry_at is not None
        return ended.retry_at - START

    for number in (1, 2, 3, 40):
        nominal = min(10 * 2.0 ** (number - 1), judging.MAX_RETRY_DELAY_SECONDS)
        delays = [delay(trial, number) for trial in range(1, 20)]
        assert all(0.5 * nominal <= seconds <= 1.5 * nominal for seconds in delays)
        assert len(set(delays)) > 10
        assert delays == [delay(trial, number) for trial in range(1, 20)]
