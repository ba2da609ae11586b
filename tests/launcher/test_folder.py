"""A sweep whose database is gone is not "no such sweep"."""

from pathlib import Path

import pytest

from launcher import health, sweep
from launcher.errors import DamageError, NotFoundError
from launcher.folder import SweepFolder, find, lost_sweeps
from tests.launcher.builders import a_config


@pytest.fixture
def lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SweepFolder:
    """A sweep of which only the backup is left."""
    monkeypatch.setenv("PROTEIN_TRAIN_DIR", str(tmp_path))
    folder = SweepFolder.of("demo")
    sweep.create(folder, a_config())
    with sweep.owned(folder) as (journal, _):
        journal.back_up(folder.backup)
    for path in folder.path.glob("sweep.db*"):
        if path != folder.backup:
            path.unlink()
    return folder


def test_it_is_said_with_the_command_that_mends_it(lost: SweepFolder) -> None:
    with pytest.raises(DamageError, match="the database of sweep 'demo' is gone") as told:
        find("demo")
    assert told.value.hint == "protein-sky doctor demo --restore"
    (finding,) = health.of_named("demo")
    assert (finding.level, finding.hint) == ("error", "protein-sky doctor demo --restore")
    assert lost_sweeps() == [lost]


def test_no_new_sweep_takes_its_place(lost: SweepFolder) -> None:
    with pytest.raises(DamageError, match=r"sweep.db is gone; sweep.db.backup is still there"):
        sweep.create(lost, a_config())


def test_it_comes_back_from_its_backup(lost: SweepFolder) -> None:
    assert sweep.restore(lost).from_backup == 1
    assert find("demo") == lost
    assert sweep.read(lost).config["name"] == "demo"


def test_a_sweep_that_never_was_is_not_found(lost: SweepFolder) -> None:
    for name in ("other", "../demo", ""):
        with pytest.raises(NotFoundError):
            find(name)
