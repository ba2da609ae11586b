from dataclasses import replace
from typing import Any

import pytest

from launcher import policy
from launcher.budget import Offer, reserved_usd, spent_usd
from launcher.events import (
    AttemptEnded,
    AttemptSubmitted,
    CancelRequested,
    EndReason,
    Failure,
    PauseRequested,
    ResumeRequested,
    StopRequested,
    TrialRetried,
)
from launcher.policy import Cancel, Drop, End, Leave, Pause, Submit, Suggest, Wait
from launcher.state import Mode, TrialState
from tests.launcher.builders import START, a_config
from tests.launcher.story import Story

OFFER = Offer(parallel=4)
AHEAD = Offer(parallel=4, start_seconds=60.0)


# --- decide -----------------------------------------------------------------------------------


def test_a_new_sweep_asks_for_its_first_trial() -> None:
    story = Story(a_config())
    assert story.decide(OFFER) == Suggest(1)


def test_a_suggested_trial_is_started_before_another_is_asked_for() -> None:
    story = Story(a_config()).suggest()
    action = story.decide(OFFER)
    assert isinstance(action, Submit)
    assert (action.trial, action.attempt, action.is_recorded) == (1, 1, False)


def test_no_more_trials_run_at_once_than_allowed() -> None:
    story = Story(a_config(parallel=2)).start().start()
    assert isinstance(story.decide(OFFER), Wait)


def test_the_executor_limits_parallelism_when_the_sweep_does_not() -> None:
    story = Story(a_config(parallel=None)).start().start()
    assert isinstance(story.decide(Offer(parallel=2)), Wait)
    assert isinstance(story.decide(Offer(parallel=3)), Suggest)


def busy(offer: Offer = AHEAD, **changes: Any) -> Story:
    """A sweep on one machine, after a trial of ten seconds, with the next one running."""
    story = Story(a_config(parallel=1, **changes), offer).start()
    began = story.now
    story.record(AttemptEnded(1, 1, None, score=1.0, started_at=began, ended_at=began + 10))
    return story.start()


def sent_ahead(story: Story) -> Story:
    return story.suggest().intend().record(AttemptSubmitted(len(story.state.trials), 1))


def test_of_trials_shorter_than_a_start_one_more_is_sent_ahead_for_each_machine() -> None:
    story = busy()
    assert isinstance(story.decide(AHEAD), Suggest)
    assert isinstance(story.decide(OFFER), Wait)
    assert isinstance(story.decide(replace(AHEAD, start_seconds=5.0)), Wait)
    assert isinstance(sent_ahead(story).decide(AHEAD), Wait)


def test_nothing_is_sent_ahead_before_it_is_known_how_long_trials_take() -> None:
    assert isinstance(Story(a_config(parallel=1)).start().decide(AHEAD), Wait)


def test_what_is_sent_ahead_fits_the_budget_as_if_it_had_a_machine_of_its_own() -> None:
    dear = replace(AHEAD, price_usd_per_hour=1.0)
    limit = {"timeout_seconds": 3600}
    assert isinstance(busy(dear, budget={"usd": 2.0}, execution=limit).decide(dear), Wait)
    assert isinstance(busy(dear, budget={"usd": 3.0}, execution=limit).decide(dear), Suggest)


def test_stopping_ends_what_was_only_sent_ahead() -> None:
    story = sent_ahead(busy()).record(StopRequested("s"))
    action = story.decide(AHEAD)
    assert isinstance(action, Cancel)
    assert action.trial == 3
    story.cancel_attempt(3)
    assert isinstance(story.decide(AHEAD), Wait)


def test_an_intent_without_a_start_is_carried_out_first() -> None:
    story = Story(a_config()).suggest().intend()
    action = story.decide(OFFER)
    assert isinstance(action, Submit)
    assert action.is_recorded
    assert action.job_name == story.state.trials[1].attempts[0].job_name


def test_all_trials_ended_is_the_end() -> None:
    story = Story(a_config(trials=2)).succeed(1.0).succeed(2.0)
    assert story.decide(OFFER) == End(EndReason.COMPLETED)


def test_a_trial_that_waits_for_its_next_attempt_keeps_the_sweep_going() -> None:
    story = Story(a_config(trials=1)).lose(retry_at=START + 100)
    assert story.decide(OFFER, START + 50) == Wait(START + 100)
    action = story.decide(OFFER, START + 100)
    assert isinstance(action, Submit)
    assert action.attempt == 2


def test_three_broken_trials_in_a_row_pause_the_sweep() -> None:
    story = Story(a_config()).fail(Failure.CRASHED).fail(Failure.CRASHED)
    assert not isinstance(story.decide(OFFER), Pause)
    action = story.fail(Failure.NO_RESULT).decide(OFFER)
    assert isinstance(action, Pause)
    assert "3 trials in a row" in action.reason


def test_the_limits_are_those_of_the_reference_system_unless_told() -> None:
    execution = a_config().execution
    assert (execution.max_consecutive_failures, execution.retry_delay_seconds) == (3, 5.0)


def test_failures_that_teach_do_not_pause_the_sweep() -> None:
    story = Story(a_config())
    for failure in (Failure.DIVERGED, Failure.OUT_OF_MEMORY, Failure.TIMEOUT) * 3:
        story.fail(failure)
    assert isinstance(story.decide(OFFER), Suggest)


def test_a_success_ends_the_row_of_failures() -> None:
    story = Story(a_config()).fail(Failure.CRASHED).fail(Failure.CRASHED).succeed(1.0)
    assert isinstance(story.fail(Failure.CRASHED).decide(OFFER, START + 1e4), Suggest)


def test_nothing_starts_right_after_a_broken_trial() -> None:
    story = Story(a_config()).fail(Failure.CRASHED)
    failed_at = story.now
    assert story.decide(OFFER) == Wait(failed_at + 5.0)
    assert isinstance(story.decide(OFFER, failed_at + 5.0), Suggest)


def test_a_failure_rate_over_the_limit_pauses_the_sweep() -> None:
    story = Story(a_config(trials=50, execution={"max_failure_rate": 0.5}))
    for number in range(10):
        story = story.fail(Failure.DIVERGED) if number % 5 else story.succeed(1.0)
    action = story.decide(OFFER)
    assert isinstance(action, Pause)
    assert "8 of the last 10" in action.reason


def test_a_trial_over_its_time_is_ended() -> None:
    story = Story(a_config(execution={"timeout_seconds": 30})).start()
    started_at = story.state.trials[1].attempts[0].started_at
    assert started_at is not None
    assert isinstance(story.decide(OFFER, started_at + 29), Suggest)
    action = story.decide(OFFER, started_at + 30)
    assert isinstance(action, Cancel)
    assert action.reason is Failure.TIMEOUT


def test_stopping_lets_running_trials_finish_and_starts_none() -> None:
    story = Story(a_config()).start().suggest().record(StopRequested("s"))
    assert isinstance(story.decide(OFFER), Wait)
    story.end_attempt(1, score=1.0)
    assert story.decide(OFFER) == End(EndReason.STOPPED)


def test_cancelling_ends_what_runs_and_drops_what_waits() -> None:
    story = Story(a_config()).start().suggest().record(CancelRequested("c"))
    first = story.decide(OFFER)
    assert isinstance(first, Cancel)
    story.cancel_attempt(1).drop_all_waiting()
    assert isinstance(story.decide(OFFER), Wait)
    story.end_attempt(1, failure=Failure.CANCELLED)
    assert story.decide(OFFER) == End(EndReason.CANCELLED)
    assert {t.state for t in story.state.ordered} == {TrialState.CANCELLED}


def test_waiting_trials_are_dropped_when_cancelling() -> None:
    story = Story(a_config()).suggest().record(CancelRequested("c"))
    assert story.decide(OFFER) == Drop(1)


def test_a_paused_sweep_is_left_when_nothing_runs() -> None:
    story = Story(a_config()).start().record(PauseRequested("", "p"))
    assert isinstance(story.decide(OFFER), Wait)
    story.end_attempt(1, score=1.0)
    assert story.decide(OFFER) == Leave()


def test_an_ended_sweep_is_left() -> None:
    story = Story(a_config(trials=1)).succeed(1.0).end(EndReason.COMPLETED)
    assert story.decide(OFFER) == Leave()
    assert story.state.mode is Mode.ENDED


# --- money ------------------------------------------------------------------------------------

PAID = Offer(price_usd_per_hour=10.0, parallel=8)  # a trial of 1 h at most: 10.33 with teardown
ONE_HOUR = {"timeout_seconds": 3600}


def test_nothing_starts_that_could_go_over_the_budget() -> None:
    story = Story(a_config(budget={"usd": 25}, execution=ONE_HOUR), offer=PAID)
    story.start().start()
    assert isinstance(story.decide(PAID), Wait)


def test_a_budget_too_small_for_one_trial_ends_the_sweep_and_says_so() -> None:
    action = Story(a_config(budget={"usd": 5}, execution=ONE_HOUR), offer=PAID).decide(PAID)
    assert isinstance(action, End)
    assert action.reason is EndReason.BUDGET
    assert "10.33" in action.detail


def test_without_a_timeout_no_budget_can_be_kept_so_nothing_starts() -> None:
    action = Story(a_config(budget={"usd": 500}), offer=PAID).decide(PAID)
    assert isinstance(action, End)


def test_without_a_cap_an_unbounded_trial_reserves_nothing() -> None:
    action = Story(a_config(), offer=PAID).suggest().decide(PAID)
    assert isinstance(action, Submit)
    assert action.reserved_usd == 0.0


def test_what_a_trial_did_not_use_is_free_again() -> None:
    story = Story(a_config(budget={"usd": 12}, execution=ONE_HOUR), offer=PAID)
    story.start()
    assert isinstance(story.decide(PAID), Wait)
    story.end_attempt(1, score=1.0, cost_usd=0.5)
    assert isinstance(story.decide(PAID), Suggest)
    assert spent_usd(story.state, story.now) == pytest.approx(0.5)
    assert reserved_usd(story.state, story.now) == 0.0


def test_hours_are_a_limit() -> None:
    story = Story(a_config(budget={"hours": 1}))
    assert isinstance(story.decide(OFFER, START + 3599), Suggest)
    assert isinstance(story.decide(OFFER, START + 3601), End)


# --- requests ---------------------------------------------------------------------------------


def test_only_a_trial_that_ended_badly_can_be_retried() -> None:
    story = Story(a_config()).succeed(1.0).fail(Failure.CRASHED)
    assert "succeeded" in policy.why_not(story.state, TrialRetried(1, "r"))
    assert policy.why_not(story.state, TrialRetried(2, "r")) == ""
    assert "no trial 9" in policy.why_not(story.state, TrialRetried(9, "r"))


def test_a_running_sweep_cannot_be_resumed() -> None:
    story = Story(a_config())
    assert "running" in policy.why_not(story.state, ResumeRequested("r"))


def test_a_retried_trial_starts_again_with_the_same_parameters() -> None:
    story = Story(a_config(trials=1)).fail(Failure.CRASHED)
    params = story.state.trials[1].params
    story.record(TrialRetried(1, "r"))
    action = story.decide(OFFER, START + 1e4)
    assert isinstance(action, Submit)
    assert action.attempt == 2
    assert story.state.trials[1].params == params
