"""What is found out before a sweep starts."""

from pathlib import Path
from typing import Any

import pytest

from launcher.config import SweepConfig
from launcher.errors import UsageError
from launcher.executors.skypilot.readiness import installed_version
from launcher.sweep import check_elsewhere
from tests.launcher.builders import a_config

needs_skypilot = pytest.mark.skipif(installed_version() is None, reason="needs SkyPilot")


def stopping_early(**execution: Any) -> SweepConfig:
    rule = {"method": "median", "grace": 10}
    return a_config(execution={"cloud": "aws", **execution}, sweep={"early_stopping": rule})


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No account, anywhere."""
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.mark.usefixtures("nobody")
def test_early_stopping_elsewhere_needs_someone_who_tells_how_trials_do() -> None:
    with pytest.raises(UsageError, match="early_stopping: what trials") as caught:
        check_elsewhere(stopping_early())
    assert "WANDB_API_KEY" in caught.value.hint
    assert "execution.storage" in caught.value.hint


@needs_skypilot
@pytest.mark.usefixtures("nobody")
def test_early_stopping_elsewhere_may_look_into_what_all_machines_share(tmp_path: Path) -> None:
    assert check_elsewhere(stopping_early(storage=str(tmp_path))) is None


@needs_skypilot
def test_trials_elsewhere_are_watched_for_standing_still_by_their_machines() -> None:
    config = a_config(execution={"cloud": "aws", "stall_seconds": 60})
    assert check_elsewhere(config) is None
