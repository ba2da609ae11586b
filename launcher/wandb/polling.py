"""How often W&B is asked: seldom, one question at a time, and never so that somebody waits.

The client retries inside for a while, so a question is asked in the background. While W&B fails,
questions become rarer.
"""

import queue
import random
import threading
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

POLL_SECONDS = (30.0, 60.0)
"""Between two questions: drawn anew each time, so that many sweeps do not ask in step."""
MAX_BACK_OFF_SECONDS = 900.0

T = TypeVar("T")
Work = Callable[[], None]


def in_background(work: Work) -> None:
    """Do the work in a thread that does not keep the program alive."""
    threading.Thread(target=work, name="wandb-polling", daemon=True).start()


class Polling(Generic[T]):
    """Asks again and again, and keeps the answers until they are taken. `now` is Unix seconds."""

    def __init__(
        self,
        now: Callable[[], float],
        *,
        start: Callable[[Work], None] = in_background,
        draw: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._now = now
        self._start = start
        self._draw = draw
        self._answers: queue.SimpleQueue[T | Exception] = queue.SimpleQueue()
        self._next_at = float("-inf")
        self._failures = 0
        self.is_asking = False
        self.problem = ""
        """Why the last question failed; empty if it did not."""

    def ask(self, question: Callable[[], T]) -> None:
        """Ask, if it is time and no other question is under way. It may raise anything."""
        if not self.is_asking and self._now() >= self._next_at:
            self.is_asking = True
            self._start(lambda: self._answer(question))

    def answers(self) -> Iterator[T]:
        """Take what has come since the last time."""
        while not self._answers.empty():
            answer = self._answers.get()
            self.is_asking = False
            failed = isinstance(answer, Exception)
            self._failures = self._failures + 1 if failed else 0
            self.problem = f"W&B: {type(answer).__name__}: {answer}" if failed else ""
            pause = self._draw(*POLL_SECONDS) * 2 ** min(self._failures, 16)
            self._next_at = self._now() + min(pause, MAX_BACK_OFF_SECONDS)
            if not isinstance(answer, Exception):
                yield answer

    def _answer(self, question: Callable[[], T]) -> None:
        """Run a question; in the background, so that it only hands over what came of it."""
        try:
            self._answers.put(question())
        except Exception as error:  # noqa: BLE001 - the client raises whatever broke inside it
            self._answers.put(error)
