"""The folded state beside the journal: believed only where it must be true."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from launcher import health, reading, snapshot, sweep
from launcher import state as folding
from launcher.errors import DamageError
from launcher.events import (
    EndReason,
    Event,
    Failure,
    Origin,
    ParamsEnqueued,
    PauseRequested,
    ResumeRequested,
)
from launcher.folder import SweepFolder
from launcher.journal import Journal, JournalWriter
from launcher.state import State, fold
from tests.launcher.builders import (
    PARAMS,
    START,
    ATrial,
    a_config,
    failed,
    queued,
    running,
    some_records,
    succeeded,
)
from tests.launcher.test_coordinator import Lab
from tests.storm.lab import fast_folder


def recorded(folder: SweepFolder, events: list[Event]) -> None:
    """Write these events, creating the journal if there is none."""
    first = None if folder.exists() else events.pop(0)
    with JournalWriter(folder.database, now=START, first=first) as journal:
        for at, event in enumerate(events):
            journal.append(event, START + at)


def kept(folder: SweepFolder) -> State | None:
    with Journal(folder.database) as journal:
        return snapshot.read(folder.snapshot, journal)


def keep(folder: SweepFolder) -> State:
    with Journal(folder.database) as journal:
        state = reading.state_of(folder, journal)
        snapshot.write(folder.snapshot, state, journal)
    return state


def events_of(*trials: ATrial) -> list[Event]:
    return [record.event for record in some_records(a_config(), *trials)]


@pytest.fixture
def folder(tmp_path: Path) -> SweepFolder:
    """A sweep with two trials, and its snapshot."""
    made = SweepFolder(tmp_path / "demo")
    recorded(made, events_of(succeeded(0.5), failed()))
    keep(made)
    return made


trials = st.lists(
    st.sampled_from(
        [
            succeeded(0.5),
            succeeded(-1.25e300, None, info={"origin": "explore", "predicted_score": None}),
            failed(Failure.DIVERGED),
            ATrial(1.0, 6.0, [Failure.PREEMPTED, None], params={**PARAMS, "n": 2**63, "é": "\x00"}),
            running(price_usd_per_hour=2.5, reserved_usd=1.5),
            queued(origin=Origin.USER),
        ]
    ),
    max_size=6,
)
requests = st.lists(
    st.sampled_from(
        [PauseRequested("a reason", "1"), ResumeRequested("2"), ParamsEnqueued("3", {"x": 1})]
    ),
    max_size=3,
)


@settings(max_examples=25, deadline=None)
@given(trials, requests, st.data())
def test_a_snapshot_and_what_followed_give_what_the_whole_journal_gives(
    trials: list[ATrial], requests: list[Event], data: st.DataObject
) -> None:
    events = [*events_of(*trials), *requests]
    cut = data.draw(st.integers(1, len(events)))
    with fast_folder() as place:
        folder = SweepFolder(place / "demo")
        recorded(folder, events[:cut])
        known = keep(folder)
        assert kept(folder) == known
        recorded(folder, events[cut:])
        with Journal(folder.database) as journal:
            assert reading.read(folder) == fold(journal.read())


@pytest.mark.parametrize("step", range(1, 9))
def test_a_changed_or_cut_snapshot_is_as_if_there_were_none(folder: SweepFolder, step: int) -> None:
    whole, state = folder.snapshot.read_bytes(), reading.read(folder)
    for at in range(step, len(whole), 41):
        flipped = whole[:at] + bytes([whole[at] ^ (1 << at % 8)]) + whole[at + 1 :]
        for content in (flipped, whole[:at]):
            folder.snapshot.write_bytes(content)
            assert kept(folder) is None
    assert reading.read(folder) == state


def test_a_snapshot_made_by_other_code_is_not_believed(
    folder: SweepFolder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    other = tmp_path / "state.py"
    other.write_bytes(Path(folding.__file__).read_bytes() + b"# changed")
    assert kept(folder) is not None
    monkeypatch.setattr(folding, "__file__", str(other))
    assert kept(folder) is None


def test_a_snapshot_of_another_history_is_not_believed(folder: SweepFolder, tmp_path: Path) -> None:
    other = SweepFolder(tmp_path / "other")
    recorded(other, events_of(succeeded(0.25), failed()))
    state = reading.read(other)
    other.snapshot.write_bytes(folder.snapshot.read_bytes())
    assert kept(other) is None
    assert reading.read(other) == state


def test_a_snapshot_ahead_of_its_journal_is_not_believed(folder: SweepFolder) -> None:
    before = folder.database.read_bytes()
    recorded(folder, [PauseRequested("a reason")])
    keep(folder)
    Path(f"{folder.database}-tip").unlink()
    folder.database.write_bytes(before)
    assert kept(folder) is None
    assert reading.read(folder).reason == ""


def test_readers_use_it_and_doctor_and_coordinators_look_at_every_event(
    folder: SweepFolder,
) -> None:
    state = reading.read(folder)
    with closing(sqlite3.connect(folder.database, isolation_level=None)) as db:
        db.execute("UPDATE events SET body = replace(body, '0.5', '0.6') WHERE seq < 8")
    assert reading.read(folder) == state
    (found,) = health.of_sweep(folder)
    assert (found.level, found.hint) == ("error", "protein-sky doctor demo --restore")
    with pytest.raises(DamageError, match="is damaged"), sweep.owned(folder):
        pass


def test_a_state_that_cannot_be_kept_is_not(folder: SweepFolder) -> None:
    before = folder.snapshot.read_bytes()
    recorded(folder, [ParamsEnqueued("1", {"x": 2**64})])
    keep(folder)
    assert folder.snapshot.read_bytes() == before
    assert reading.read(folder).queue[0].params == {"x": 2**64}


def test_a_coordinator_leaves_its_last_state(tmp_path: Path) -> None:
    lab = Lab(tmp_path, a_config(trials=3))
    assert lab.run() == kept(lab.folder)


def test_a_disk_without_room_for_a_snapshot_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(snapshot, "write_atomic", full)
    lab = Lab(tmp_path, a_config(trials=3))
    assert lab.run().end is EndReason.COMPLETED
    assert not lab.folder.snapshot.exists()
