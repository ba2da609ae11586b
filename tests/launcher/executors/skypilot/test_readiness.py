"""Whether SkyPilot can be used is told before anything starts, with what mends it."""

import sqlite3
import subprocess
import sys
from importlib.util import spec_from_file_location
from pathlib import Path

import pytest

from launcher.errors import UsageError
from launcher.executors.skypilot import readiness

NO_AWS = """\
AWS credentials are not set. Run the following commands:
      $ aws configure
      $ aws configure list  # Ensure that this shows identity is set.
    For more info: https://docs.aws.amazon.com/
    Details: `aws sts get-caller-identity` failed"""


@pytest.fixture(autouse=True)
def in_its_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """SkyPilot's package is where it should be, whether or not it is installed here."""
    a_package(tmp_path / "site" / "sky", monkeypatch, has_skylet=True)


def a_package(folder: Path, monkeypatch: pytest.MonkeyPatch, *, has_skylet: bool) -> None:
    (folder / "skylet" if has_skylet else folder).mkdir(parents=True)
    (folder / "__init__.py").touch()
    spec = spec_from_file_location("sky", folder / "__init__.py")
    monkeypatch.setattr(readiness, "find_spec", lambda _name: spec)


def test_another_package_in_skypilot_s_place_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readiness, "version", lambda _name: "0.14.1")
    a_package(tmp_path / "mine" / "sky", monkeypatch, has_skylet=False)
    with pytest.raises(UsageError, match="mine/sky"):
        readiness.check_installed()


def test_a_folder_without_code_does_not_hide_skypilot(tmp_path: Path) -> None:
    (tmp_path / "sky").mkdir()  # as in a checkout of ours: templates only
    code = "from importlib.util import find_spec; print(find_spec('sky').origin)"
    site = tmp_path / "site"
    ran = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout.strip() == str(site / "sky" / "__init__.py")


@pytest.mark.parametrize("found", ["0.14.1", "0.14.2", "0.14.9.post1"])
def test_a_version_that_fits_is_returned(found: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "version", lambda _name: found)
    assert readiness.check_installed() == found


@pytest.mark.parametrize(
    ("found", "message"), [("0.14.0", "older than 0.14.1"), ("0.15.0", "before 0.15")]
)
def test_a_version_that_does_not_fit_is_told(
    found: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readiness, "version", lambda _name: found)
    with pytest.raises(UsageError, match=message) as caught:
        readiness.check_installed()
    assert "pip install 'protein-sky[sky]'" in caught.value.hint


def test_a_folder_called_sky_is_not_skypilot(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise readiness.PackageNotFoundError(name)

    monkeypatch.setattr(readiness, "version", missing)
    with pytest.raises(UsageError, match="not installed") as caught:
        readiness.check_installed()
    assert caught.value.hint == "pip install 'protein-sky[sky]'"


def a_state(home: Path, *rows: tuple[str, str]) -> dict[str, str]:
    (home / ".sky").mkdir()
    database = sqlite3.connect(home / ".sky" / "state.db")
    database.execute("CREATE TABLE config (key TEXT, value TEXT)")
    database.executemany("INSERT INTO config VALUES (?, ?)", rows)
    database.commit()
    database.close()
    return {"HOME": str(home)}


def test_enabled_clouds_are_read_from_skypilot_s_state(tmp_path: Path) -> None:
    environ = a_state(
        tmp_path,
        ("enabled_clouds_default_compute", '["AWS", "Slurm"]'),
        ("enabled_clouds_default_storage", '["GCP"]'),
        ("allowed_clouds_default", '["Azure"]'),
    )
    assert readiness.enabled_clouds(environ) == ["aws", "slurm"]


def test_before_any_check_no_cloud_is_enabled(tmp_path: Path) -> None:
    assert readiness.enabled_clouds({"HOME": str(tmp_path)}) == []


@pytest.mark.parametrize("value", ["not json", "3"])
def test_a_state_of_another_form_says_nothing(tmp_path: Path, value: str) -> None:
    environ = a_state(tmp_path, ("enabled_clouds_default_compute", value))
    assert readiness.enabled_clouds(environ) is None


def test_a_cloud_without_credentials_is_told_with_its_commands() -> None:
    error = readiness.not_enabled("aws", NO_AWS)
    assert error.message == "SkyPilot may not use aws yet: AWS credentials are not set"
    assert error.hint == "aws configure; aws configure list; sky check aws"


def test_a_cloud_whose_package_is_missing_is_told() -> None:
    reason = 'Failed to import runpod or TOML parser. Install: pip install "skypilot[runpod]".'
    error = readiness.not_enabled("runpod", reason)
    assert error.message.endswith("Failed to import runpod or TOML parser")
    assert error.hint == "sky check runpod"


def test_a_cloud_without_a_reason_has_the_command_at_least() -> None:
    error = readiness.not_enabled("slurm", "")
    assert str(error) == "SkyPilot may not use slurm yet\n  hint: sky check slurm"
