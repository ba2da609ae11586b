"""plan, and launch on machines that cost money: shown and asked before anything starts."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from launcher.cli import cli
from launcher.errors import UsageError
from launcher.executors.skypilot.readiness import installed_version
from tests.launcher.executors.skypilot import offline_sky

SWEEP = """\
sweep: {metric: score, goal: maximize, parameters: {x: {min: 0, max: 1}}}
task: {run: 'echo "PROTEIN_RESULT {\\"score\\": 1}"'}
trials: 3
parallel: 2
execution: {timeout_seconds: 1h}
"""
ON_AWS = ("--cloud", "aws", "--gpus", "A10G:1")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "here"
    folder.mkdir()
    (folder / "small.yaml").write_text(SWEEP, encoding="utf-8")
    monkeypatch.chdir(folder)
    monkeypatch.delenv("PROTEIN_TRAIN_DIR", raising=False)
    return folder


def printed(*arguments: str) -> str:
    ran = CliRunner().invoke(cli, arguments, catch_exceptions=False, standalone_mode=False)
    assert ran.exit_code == 0
    return ran.stdout


def test_a_plan_on_this_machine_starts_nothing(place: Path) -> None:
    plan = json.loads(printed("plan", "small.yaml", "--trials", "5", "--json"))
    assert (plan["sweep"], plan["trials"], plan["parallel"]) == ("small", 5, 2)
    assert plan["candidates"] == []
    assert [path.name for path in place.iterdir()] == ["small.yaml"]


def test_a_dry_run_is_a_plan(place: Path) -> None:
    assert printed("launch", "small.yaml", "--dry-run") == printed("plan", "small.yaml")
    plan = json.loads(printed("launch", "small.yaml", "--dry-run", "--json"))
    assert plan == json.loads(printed("plan", "small.yaml", "--json"))


def test_json_without_a_dry_run_is_refused(place: Path) -> None:
    with pytest.raises(UsageError, match="--dry-run"):
        printed("launch", "small.yaml", "--json")


def test_a_price_of_one_s_own_is_counted(place: Path) -> None:
    settings = ("--set", "execution.price_usd_per_hour=2", "--set", "budget.usd=5")
    plan = json.loads(printed("plan", "small.yaml", *settings, "--json"))
    assert plan["trial"]["usd"] == pytest.approx(2.0)
    assert plan["cap"]["trials_for_sure"] == 2


@pytest.mark.parametrize(
    ("flags", "key", "value"),
    [
        (("--gpus", "80GB+:2"), "gpus", "80GB+:2"),
        (("--infra", "*/us-east-1"), "infra", "*/us-east-1"),
        (("--region", "010"), "region", "010"),
        (("--spot",), "use_spot", True),
        (("--on-demand",), "use_spot", False),
    ],
)
def test_flags_reach_the_sweep_as_they_are_written(
    place: Path, flags: tuple[str, ...], key: str, value: object
) -> None:
    from launcher.cli import options

    kept: list[str] = []

    @cli.command("kept")
    @options.sweep_options
    def command(config: str, overrides: tuple[str, ...], settings: tuple[str, ...]) -> None:
        kept.extend(options.given(overrides, settings))

    try:
        printed("kept", "small.yaml", *flags)
    finally:
        del cli.commands["kept"]
    from launcher.config import load

    assert getattr(load("small.yaml", overrides=kept).execution, key) == value


def test_without_skypilot_a_cloud_is_told_with_the_command(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from launcher.executors.skypilot import readiness

    monkeypatch.setattr(readiness, "installed_version", lambda: None)
    for command in ("plan", "launch"):
        with pytest.raises(UsageError, match="not installed") as caught:
            printed(command, "small.yaml", *ON_AWS)
        assert caught.value.hint == "pip install 'protein-sky[sky]'"
    assert not (place / "train_dir").exists()


@pytest.mark.infra
@pytest.mark.skipif(installed_version() is None, reason="needs SkyPilot")
class TestOnAws:
    """With SkyPilot's own code over a small catalogue, without network."""

    def test_the_plan_has_the_catalogue_s_prices(self, place: Path) -> None:
        home = _home(place)
        ran = _run(home, "plan", "small.yaml", *ON_AWS, "--spot", "--nodes", "2", "--json")
        plan: Mapping[str, Any] = json.loads(ran.stdout)
        assert plan["usd_per_hour"] == pytest.approx(2 * 0.4024)
        assert plan["most_usd_per_hour"] == pytest.approx(2 * 0.6036)
        assert plan["gpus_per_trial"] == 2
        assert plan["trial"]["basis"] == "timeout"
        assert plan["sent_bytes"] == len(SWEEP)

    def test_a_launch_that_nobody_confirms_starts_nothing(self, place: Path) -> None:
        ran = _run(_home(place), "launch", "small.yaml", *ON_AWS, expect=2)
        assert "g5.xlarge" in ran.stderr
        assert "add --yes" in ran.stderr
        assert not (place / "train_dir").exists()

    def test_a_cloud_that_is_not_enabled_starts_nothing(self, place: Path) -> None:
        ran = _run(_home(place), "launch", "small.yaml", "--cloud", "slurm", "--yes", expect=2)
        assert "sky check slurm" in ran.stderr
        assert not (place / "train_dir").exists()


def _home(place: Path) -> Path:
    home = place.parent / "home"
    offline_sky.write_home(home)
    assert offline_sky.python(home, "").returncode == 0
    return home


def _run(home: Path, *arguments: str, expect: int = 0) -> subprocess.CompletedProcess[str]:
    root = str(Path(__file__).parents[2])
    ran = subprocess.run(
        [sys.executable, "-m", "launcher", *arguments],
        env=offline_sky.environment(home) | {"PYTHONPATH": root, "NO_COLOR": "1"},
        capture_output=True,
        stdin=subprocess.DEVNULL,
        text=True,
        check=False,
    )
    assert ran.returncode == expect, (ran.stdout, ran.stderr)
    assert "Traceback" not in ran.stderr
    return ran
