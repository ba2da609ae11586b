"""How often queues are looked at."""

from collections.abc import Mapping, Sequence

import pytest

from launcher.executors.skypilot.calls import Answer, Call, SkyJob, Status, Where
from launcher.executors.skypilot.queues import LOOK_SHARE, PATIENCE_SECONDS, Queues, Words


class SlowSky:
    """Answers each list of a cluster's jobs after so many seconds of its own clock."""

    def __init__(self, answer_seconds: float, *jobs: SkyJob) -> None:
        self.time = 0.0
        self.jobs = jobs
        self.asked_at: list[float] = []
        self._answer_seconds = answer_seconds

    def now(self) -> float:
        return self.time

    def ask(self, call: Call) -> str:
        self.asked_at.append(self.time)
        return str(len(self.asked_at))

    def answers(self, request_ids: Sequence[str]) -> Mapping[str, Answer]:
        due = (
            i for i in request_ids if self.time - self.asked_at[int(i) - 1] >= self._answer_seconds
        )
        return {request_id: Answer(self.jobs) for request_id in due}

    def find(self, name: str) -> str | None:
        raise NotImplementedError

    def log(self, where: Where) -> str:
        raise NotImplementedError


def looks(sky: SlowSky, words: Words) -> list[float]:
    """When a queue is looked at by who asks each second, for five minutes of the clock."""
    queues = Queues(sky, "ps-", 10.0, sky.now)
    while sky.time < 300.0:
        queues.ask({"ps-w0"}, words)
        queues.take()
        sky.time += 1.0
    return sky.asked_at


def running(job_id: int) -> SkyJob:
    return SkyJob(job_id, f"ps-{job_id}", Status.RUNNING, 0.0, 0.0)


@pytest.mark.parametrize(
    ("answer_seconds", "pause"),
    [(1.0, 10.0), (8.0, 8.0 / LOOK_SHARE), (20.0, PATIENCE_SECONDS)],
)
def test_a_slow_queue_is_looked_at_less_often_but_not_for_ever(
    answer_seconds: float, pause: float
) -> None:
    assert looks(SlowSky(answer_seconds, running(1)), {})[:3] == [0.0, pause, 2 * pause]


def test_jobs_that_will_tell_their_ends_are_not_asked_for_them() -> None:
    assert looks(SlowSky(1.0, running(1)), {("ps-w0", 1): None})[:3] == [0.0, 60.0, 120.0]


def test_one_that_only_waits_for_its_turn_need_not_have_said_anything() -> None:
    sky = SlowSky(1.0, running(1), running(2))
    assert looks(sky, {("ps-w0", 1): None})[1] == PATIENCE_SECONDS


def test_one_that_will_not_tell_its_end_is_asked_for_it() -> None:
    assert looks(SlowSky(1.0, running(1)), {("ps-w1", 1): None, ("ps-w0", 2): None})[1] == 10.0


def test_a_job_that_says_it_is_over_is_looked_at_at_once_and_then_ever_less_often() -> None:
    asked_at = looks(SlowSky(1.0, running(1)), {("ps-w0", 1): 0.0})
    assert asked_at[:5] == [0.0, 2.0, 4.0, 8.0, 16.0]
    assert asked_at[5] - asked_at[4] == 10.0


def test_the_word_of_a_job_that_is_known_to_be_over_changes_nothing() -> None:
    over = SkyJob(1, "ps-1", Status.SUCCEEDED, 0.0, 0.0, 1.0)
    assert looks(SlowSky(1.0, over), {("ps-w0", 1): 0.0})[:3] == [0.0, 10.0, 20.0]
