"""How often queues are looked at."""

from collections.abc import Mapping, Sequence

import pytest

from launcher.executors.skypilot.calls import Answer, Call, Where
from launcher.executors.skypilot.queues import LOOK_SHARE, Queues


class SlowSky:
    """Answers each list after so many seconds of its own clock."""

    def __init__(self, answer_seconds: float) -> None:
        self.time = 0.0
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
        return {request_id: Answer(()) for request_id in due}

    def find(self, name: str) -> str | None:
        raise NotImplementedError

    def log(self, where: Where) -> str:
        raise NotImplementedError


@pytest.mark.parametrize(("answer_seconds", "pause"), [(1.0, 10.0), (8.0, 8.0 / LOOK_SHARE)])
def test_a_slow_queue_is_looked_at_less_often(answer_seconds: float, pause: float) -> None:
    sky = SlowSky(answer_seconds)
    queues = Queues(sky, "ps-", 10.0, sky.now)
    while len(sky.asked_at) < 3:
        queues.ask({"ps-w0"})
        queues.take()
        sky.time += 1.0
    assert sky.asked_at == [0.0, pause, 2 * pause]
