"""Whatever becomes of a journal's bytes: noticed, said with the way out, and rebuilt."""

import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from launcher import sweep
from launcher.budget import Offer
from launcher.errors import DamageError, JournalError
from launcher.events import Recorded
from launcher.journal import Journal
from launcher.state import State
from tests.launcher.builders import a_config
from tests.storm.lab import (
    Lab,
    Points,
    check_nothing_lost,
    fast_folder,
    finish,
    kill_at,
    params_of,
    random_ask,
)

pytestmark = pytest.mark.storm
TRIALS = 12


@pytest.fixture(scope="module")
def pristine() -> Iterator[Lab]:
    """A sweep whose coordinator was killed halfway: an early backup, a WAL, running jobs."""
    with fast_folder() as folder:
        config = a_config(trials=TRIALS)
        points = Points()
        Lab(folder / "whole", config, ask=random_ask).coordinate(points)
        polls = [step for step, what in enumerate(points.seen, 1) if what == "before poll"]
        lab = Lab(folder / "work", config, ask=random_ask)
        assert kill_at(lab, polls[len(polls) // 2])
        shutil.copytree(lab.path, folder / "pristine")
        yield lab


@pytest.fixture
def lab(pristine: Lab) -> Lab:
    """The sweep as the kill left it, at the path that its jobs know."""
    shutil.rmtree(pristine.path)
    shutil.copytree(pristine.path.parent / "pristine", pristine.path)
    return pristine


def known(lab: Lab) -> list[Recorded]:
    with Journal(lab.folder.database) as journal:
        return list(journal.read())


def undisturbed() -> State:
    with fast_folder() as folder:
        return Lab(folder, a_config(trials=TRIALS), ask=random_ask).coordinate(Points())


def flip(path: Path, offset: int, mask: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= mask
    path.write_bytes(data)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", ["sweep.db", "sweep.db-wal"])
def test_a_flipped_byte_is_harmless_or_noticed_and_never_changes_what_is_read(
    lab: Lab, name: str
) -> None:
    if name == "sweep.db":
        checkpointed(lab)
    whole, numbers = known(lab), random.Random(4)
    size = (lab.folder.path / name).stat().st_size
    noticed, hints = 0, set()
    path = lab.folder.path / name
    original = {p: p.read_bytes() for p in lab.folder.path.glob("sweep.db*")}
    for _ in range(400):
        flip(path, numbers.randrange(size), 1 << numbers.randrange(8))
        try:
            assert known(lab) == whole
        except JournalError as error:
            noticed += 1
            hints.add(error.hint)
        for old, data in original.items():
            old.write_bytes(data)
    assert noticed > 40
    assert hints <= {"protein-sky doctor demo --restore", "upgrade protein-sky"}


@pytest.mark.parametrize("cut", [0, 1, 100, 4096, 5000, 8192, 12288, -4096, -1])
def test_a_cut_file_is_noticed(lab: Lab, cut: int) -> None:
    checkpointed(lab)
    data = lab.folder.database.read_bytes()
    lab.folder.database.write_bytes(data[:cut])
    with pytest.raises(DamageError, match=r"(?s)doctor demo --restore"):
        lab.state()


def checkpointed(lab: Lab) -> None:
    """Move the WAL's content into the database, as closing it does."""
    with sweep.owned(lab.folder):
        pass


def test_a_missing_wal_is_noticed(lab: Lab) -> None:
    (lab.folder.path / "sweep.db-wal").unlink()
    with pytest.raises(DamageError, match="-wal file is gone"):
        lab.state()


def test_an_older_copy_in_its_place_is_noticed(lab: Lab) -> None:
    (lab.folder.path / "sweep.db-wal").unlink()
    shutil.copy(lab.folder.backup, lab.folder.database)
    with pytest.raises(DamageError, match="older copy"):
        lab.state()


def test_no_new_journal_is_put_where_one_was(lab: Lab) -> None:
    lab.folder.database.unlink()
    with pytest.raises(DamageError, match="is gone"), sweep.owned(lab.folder, lab.config):
        pass


def damaged(lab: Lab, how: str) -> None:
    """Ruin a journal so that it cannot be read as a whole."""
    database, wal = lab.folder.database, lab.folder.path / "sweep.db-wal"
    if how in ("missing", "foreign", "no wal"):
        wal.unlink()
    match how:
        case "missing":
            database.unlink()
        case "foreign":
            database.write_bytes(b"not a database at all" * 1000)
        case "half a wal":
            wal.write_bytes(wal.read_bytes()[: wal.stat().st_size // 2])
        case "a late row":
            checkpointed(lab)
            data = database.read_bytes()
            flip(database, data.index(b'{"type":"attempt_ended"') + 3, 2)


@pytest.mark.parametrize("how", ["missing", "foreign", "no wal", "half a wal", "a late row"])
@pytest.mark.parametrize("forgets", [False, True])
def test_a_restored_sweep_ends_as_if_nothing_had_happened(
    lab: Lab, how: str, forgets: bool
) -> None:
    before = lab.state()
    ended = {t.number: t.score for t in before.ordered if t.state.is_over}
    damaged(lab, how)
    sweep.restore(lab.folder)
    assert len(lab.state().trials) == len(before.trials)
    if forgets:  # a cloud that has forgotten the jobs that are over
        for number in ended:
            job = next((lab.path / "jobs").glob(f"*-{number}-1.json"))
            job.rename(lab.path / job.name)
    finish(lab)
    for file in lab.path.glob("demo-*.json"):
        assert not (lab.path / "jobs" / file.name).exists()  # not started again
        file.rename(lab.path / "jobs" / file.name)
    state = check_nothing_lost(lab, trials=TRIALS)
    assert params_of(state) == params_of(undisturbed())
    assert {number: state.trials[number].score for number in ended} == ended


def test_lost_attempts_are_paid_for(lab: Lab) -> None:
    before = lab.state()
    damaged(lab, "no wal")
    from launcher.restore import restore

    restore(lab.folder, lambda _config: Offer(price_usd_per_hour=2.0, parallel=4))
    attempts = [a for t in lab.state().ordered for a in t.attempts]
    assert len(attempts) == sum(len(t.attempts) for t in before.ordered)
    assert {a.price_usd_per_hour for a in attempts} == {2.0}
