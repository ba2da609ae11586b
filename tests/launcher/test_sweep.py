"""What is found out before a sweep starts."""

from pathlib import Path
from typing import Any

import pytest

from launcher import sweep
from launcher.config import SweepConfig, load
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


@pytest.mark.parametrize(
    ("name", "package", "extra"),
    [
        ("demo_sweep", "torch", "trainer"),
        ("pong", "ale_py", "atari"),
        ("cogeval_sweep", "minigrid", "grid"),
    ],
)
@pytest.mark.usefixtures("nobody")
def test_what_the_trainer_lacks_is_told_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch, name: str, package: str, extra: str
) -> None:
    monkeypatch.setattr(sweep, "find_spec", lambda asked: None if asked == package else object())
    with pytest.raises(UsageError, match=f"needs {package}") as caught:
        sweep.check_can_start(load(name))
    assert f"protein-sky[{extra}]" in caught.value.hint


@pytest.mark.parametrize("device", ["cuda", "mps"])
@pytest.mark.usefixtures("nobody")
def test_a_device_that_is_not_there_is_told_before_anything_starts(device: str) -> None:
    """Torch itself is asked, in a process of its own."""
    torch = pytest.importorskip("torch")
    if getattr(torch, device).is_available():
        pytest.skip("this machine has one")
    config = load("protein_simple", overrides=[f"device={device}"])
    with pytest.raises(UsageError, match=f"device: {device}, and this machine") as caught:
        sweep.check_can_start(config)
    assert "hardware=macbook" in caught.value.hint
