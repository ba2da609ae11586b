"""What holds for all tests."""

import signal
import socket
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

# A busy machine is no fault of the code; what takes too long is ended by pytest-timeout. Everyone
# gets the same examples, so that no change is refused for what another one broke; who looks for
# more says `--hypothesis-profile=searching`.
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("searching", patient, derandomize=False)
settings.register_profile("same", patient, derandomize=True)
settings.load_profile("same")

# Asserts of a shared suite explain themselves as those of a test file do.
pytest.register_assert_rewrite("tests.launcher.executor_contract")

# A shell without job control has what it starts in the background ignore Ctrl-C, and programs hand
# that on: those that tests start would, too.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def port() -> Iterator[int]:
    """A port that is given to nobody else meanwhile, and where nobody listens unless the test does.

    Who listens there must say SO_REUSEADDR, as servers do.
    """
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]
