"""What a foreground run makes of the signals that it gets."""

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from launcher import sweep
from launcher.cli.run import run
from launcher.folder import SweepFolder
from tests.launcher.builders import a_config, a_state

SIGNALS = (signal.SIGTERM, signal.SIGINT)


@pytest.fixture
def _own_handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("_own_handlers")
@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_that_a_library_swallowed_counts_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def swallowing(_folder: object, _config: object, watch: Any, _notice: object) -> None:
        with suppress(KeyboardInterrupt):
            os.kill(os.getpid(), number)
        watch(a_state(a_config()), None)
        raise AssertionError("it goes on")

    monkeypatch.setattr(sweep, "run", swallowing)
    assert run(SweepFolder(tmp_path / "demo"), a_config(), is_asking=False) == 130
