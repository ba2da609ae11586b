"""SIGTERM and SIGUSR1 ask a run to write a checkpoint and go."""

import signal
from types import FrameType, TracebackType


class StopRequest:
    """While entered, notes the signals instead of dying of them; `name` is "" until one came."""

    def __init__(self) -> None:
        self.name = ""

    def __enter__(self) -> "StopRequest":
        self._before = {
            number: signal.signal(number, self._note) for number in (signal.SIGTERM, signal.SIGUSR1)
        }
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
