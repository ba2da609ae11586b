"""Asserts of the shared suite explain themselves as those of a test file do."""

import pytest

pytest.register_assert_rewrite("tests.launcher.executor_contract")
