"""What counts against a sweep's limits."""

import pytest

from launcher.budget import Offer, active_seconds, gpu_hours, why_nothing_fits
from launcher.events import CoordinatorStarted, PauseRequested, ResumeRequested
from tests.launcher.builders import START, a_config
from tests.launcher.story import Story

HOUR = 3600.0


def after(story: Story, seconds: float) -> Story:
    story.now = START + seconds
    return story


def test_hours_are_those_since_the_launch_without_pauses() -> None:
    story = after(Story(a_config()), 2 * HOUR - 1).record(PauseRequested())
    assert active_seconds(story.state, START + 9 * HOUR) == 2 * HOUR
    after(story, 9 * HOUR - 1).record(ResumeRequested())
    assert active_seconds(story.state, START + 10 * HOUR) == 3 * HOUR


def test_an_outage_counts_while_trials_run() -> None:
    story = after(Story(a_config()), HOUR).start()
    after(story, 9 * HOUR - 1).record(CoordinatorStarted("host", 2))
    assert active_seconds(story.state, START + 10 * HOUR) == 10 * HOUR


def test_an_outage_in_which_nothing_runs_does_not_count() -> None:
    story = after(Story(a_config()), HOUR - 5).succeed(1.0)
    assert story.state.at == START + HOUR
    after(story, 9 * HOUR - 1).record(CoordinatorStarted("host", 2))
    assert active_seconds(story.state, START + 10 * HOUR) == 2 * HOUR


def test_a_sweep_whose_hours_are_over_starts_nothing() -> None:
    config = a_config(budget={"hours": 2})
    story = Story(config)
    assert why_nothing_fits(config, story.state, Offer(), START + 2 * HOUR - 1) == ""
    assert "budget.hours 2 are over" in why_nothing_fits(
        config, story.state, Offer(), START + 2 * HOUR
    )


@pytest.mark.parametrize(("gpus", "expected"), [(0, 0.0), (4, 8.0)])
def test_gpu_hours_count_what_a_trial_is_given(gpus: int, expected: float) -> None:
    story = Story(a_config()).start()
    started_at = story.state.live_trials[0].started_at
    assert started_at is not None
    assert gpu_hours(story.state, Offer(gpus=gpus), started_at + 2 * HOUR) == expected
