"""The W&B sweep that trials join: there is one, whoever was killed."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from launcher.folder import SweepFolder
from launcher.wandb.sweep_page import FILE, find_or_create_sweep, recorded_sweep
from tests.launcher.builders import a_config
from tests.wandb_server.server import WandbServer, wandb_server
from tests.wandb_server.store import Sweep


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WandbServer]:
    with wandb_server() as running:
        for name, value in {"HOME": str(tmp_path), **running.environ}.items():
            monkeypatch.setenv(name, value)
        yield running
        assert running.errors == []


@pytest.fixture
def folder(tmp_path: Path) -> SweepFolder:
    (tmp_path / "demo").mkdir()
    return SweepFolder(tmp_path / "demo")


def test_a_damaged_note_is_no_note(folder: SweepFolder) -> None:
    (folder.path / FILE).write_text('{"wandb_')
    assert recorded_sweep(folder) is None


def test_a_known_sweep_is_not_made_again(folder: SweepFolder) -> None:
    (folder.path / FILE).write_text('{"wandb_sweep_id": "abc"}')
    assert find_or_create_sweep(folder, a_config(), "abcd") == "abc"


def test_a_sweep_whose_note_was_lost_is_found_again(
    server: WandbServer, folder: SweepFolder
) -> None:
    """Killed after W&B had answered and before it was written down."""
    made = find_or_create_sweep(folder, a_config(), "abcd")
    (folder.path / FILE).unlink()
    assert find_or_create_sweep(folder, a_config(), "abcd") == made == recorded_sweep(folder)
    assert len(server.store.sweeps) == 1


def test_a_later_sweep_of_the_same_name_gets_its_own(
    server: WandbServer, folder: SweepFolder
) -> None:
    first = find_or_create_sweep(folder, a_config(), "abcd")
    (folder.path / FILE).unlink()
    assert find_or_create_sweep(folder, a_config(), "efgh") != first


def test_a_sweep_is_found_among_hundreds_by_its_config_alone(
    server: WandbServer, folder: SweepFolder
) -> None:
    for n in range(250):
        name = f"other{n}"
        server.store.sweeps[name] = Sweep(name, "metta", "{ damaged", None)
    server.store.sweeps["mine"] = Sweep("mine", "metta", "name: demo.abcd", "renamed by someone")
    assert find_or_create_sweep(folder, a_config(), "abcd") == "mine"


def test_another_projects_sweep_is_not_taken(server: WandbServer, folder: SweepFolder) -> None:
    server.store.sweeps["theirs"] = Sweep("theirs", "other", "name: demo.abcd", "demo.abcd")
    assert find_or_create_sweep(folder, a_config(), "abcd") != "theirs"


def test_while_wandb_is_away_no_sweep_is_made(server: WandbServer, folder: SweepFolder) -> None:
    server.fault = lambda operation: 503 if operation == "Sweeps" else None
    with pytest.raises(OSError, match="503"):
        find_or_create_sweep(folder, a_config(), "abcd")
    assert (server.store.sweeps, recorded_sweep(folder)) == ({}, None)
