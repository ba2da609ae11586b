"""What asks a run to write a checkpoint and go: SIGTERM, SIGUSR1, Ctrl-C, its parent's end."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType

SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
PARENT = "TRAINER_PARENT"  # the process without which this one has nothing to do


class StopRequest:
    """While entered, notes the signals instead of dying of them.

    A second Ctrl-C ends the program where it stands, by KeyboardInterrupt.
    """

    def __init__(self) -> None:
        self.name = ""
        self.parent = os.environ.get(PARENT)

    def __call__(self) -> str:
        """What asks the run to go; "" while nothing does."""
        if not self.name and self.parent and int(self.parent) != os.getppid():
            self.name = "the end of its parent"
        return self.name

    def __enter__(self) -> "StopRequest":
        self._before = {number: signal.signal(number, self._note) for number in SIGNALS}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 signal's
        self.name = signal.Signals(number).name
        if number == signal.SIGINT:
            signal.signal(number, signal.default_int_handler)


@contextmanager
def blocked() -> Iterator[None]:
    """Programs that are started meanwhile never see the signals."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
