"""What is found out before a sweep starts."""

from typing import Any

import pytest

from launcher.errors import UsageError
from launcher.sweep import check_elsewhere
from tests.launcher.builders import a_config


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"execution": {"cloud": "aws", "stall_seconds": 60}}, "execution.stall_seconds"),
        (
            {
                "execution": {"cloud": "aws"},
                "sweep": {"early_stopping": {"method": "median", "grace": 10}},
            },
            "sweep.early_stopping",
        ),
    ],
)
def test_what_needs_a_trials_files_while_it_runs_is_refused_on_other_machines(
    changes: dict[str, Any], key: str
) -> None:
    with pytest.raises(UsageError, match=key):
        check_elsewhere(a_config(**changes))
