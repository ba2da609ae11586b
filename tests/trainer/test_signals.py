import os
import signal
import subprocess
import sys

import pytest

from trainer.signals import PARENT, SIGNALS, StopRequest, blocked


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_is_noted_and_the_program_goes_on(number):
    before = signal.getsignal(number)
    with StopRequest() as stop:
        assert stop() == ""
        os.kill(os.getpid(), number)
        assert stop() == number.name
    assert signal.getsignal(number) is before


def test_a_second_ctrl_c_ends_the_program_where_it_stands():
    with StopRequest():
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_a_parents_end_counts_where_a_parent_is_named(monkeypatch):
    monkeypatch.setenv(PARENT, str(os.getppid()))
    assert StopRequest()() == ""
    monkeypatch.setenv(PARENT, str(os.getpid()))
    assert StopRequest()() == "the end of its parent"


def test_programs_that_start_blocked_never_see_the_signals():
    code = "import signal; print(*signal.pthread_sigmask(signal.SIG_BLOCK, ()))"
    with blocked():
        said = subprocess.check_output([sys.executable, "-c", code], text=True)
    assert set(said.split()) == {str(number) for number in SIGNALS}
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, ())
