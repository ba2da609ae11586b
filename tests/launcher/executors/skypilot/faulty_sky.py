"""Faults of a network and of a server, put in front of any Sky: at every so manieth call one."""

from collections.abc import Callable, Mapping, Sequence
from itertools import count

from launcher.errors import ExecutorError
from launcher.executors.skypilot.calls import Answer, Call, Sky, Where


class FaultySky:
    """A Sky that does all it is asked, and does not always say so.

    `fault` is "timeout" (a request is taken, and its answer is lost on the way), "duplicate" (it is
    delivered twice) or "restart" (`restart` is called: the server knows of no request any more).
    """

    def __init__(
        self, sky: Sky, fault: str, *, every: int = 5, restart: Callable[[], None] = lambda: None
    ) -> None:
        self._sky = sky
        self._fault = fault
        self._every = every
        self._restart = restart
        self._calls = count(1)

    def _is_time(self, fault: str) -> bool:
        return self._fault == fault and next(self._calls) % self._every == 0

    def ask(self, call: Call) -> str:
        request_id = self._sky.ask(call)
        if self._is_time("duplicate"):
            self._sky.ask(call)
        if self._is_time("restart"):
            self._restart()
        if self._is_time("timeout"):
            raise ExecutorError("SkyPilot cannot be asked: timed out")
        return request_id

    def answers(self, request_ids: Sequence[str]) -> Mapping[str, Answer]:
        if self._is_time("timeout"):
            raise ExecutorError("SkyPilot cannot be asked for answers: timed out")
        return self._sky.answers(request_ids)

    def find(self, name: str) -> str | None:
        return self._sky.find(name)

    def log(self, where: Where) -> str:
        if self._is_time("timeout"):
            raise ExecutorError("SkyPilot cannot be asked for a log: timed out")
        return self._sky.log(where)
