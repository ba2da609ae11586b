"""What holds for all tests."""

import signal

import pytest
from hypothesis import settings

# A busy machine is no fault of the code; what takes too long is ended by pytest-timeout.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")

# Asserts of a shared suite explain themselves as those of a test file do.
pytest.register_assert_rewrite("tests.launcher.executor_contract")

# A shell without job control has what it starts in the background ignore Ctrl-C, and programs hand
# that on: those that tests start would, too.
signal.signal(signal.SIGINT, signal.default_int_handler)
