import fcntl
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from functools import partial
from itertools import count
from pathlib import Path

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from launcher.errors import DamageError, JournalError, LockedError, NotFoundError
from launcher.events import Event, Failure, PauseRequested, SweepCreated, SweepEdited
from launcher.journal import (
    APPLICATION_ID,
    LOCK_TRIES,
    SCHEMA_VERSION,
    Journal,
    JournalWriter,
    Lock,
    chained,
)
from launcher.restore import is_damaged

CREATED = SweepCreated("abcd", {"name": "demo"}, "0.1.0")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sweep.db"


def written(path: Path, *events: Event) -> None:
    with JournalWriter(path, now=0.0) as journal:
        for at, event in enumerate(events):
            journal.append(event, float(at))


def sql(path: Path, statement: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        return db.execute(statement).fetchall()


def read(path: Path) -> list[Event]:
    with Journal(path) as journal:
        return [record.event for record in journal.read()]


def test_what_is_appended_is_read_back_in_order(path: Path) -> None:
    events = [CREATED, PauseRequested("by the user"), SweepEdited({"name": "demo"}, "a note")]
    written(path, *events)
    assert read(path) == events


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.text()
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=30, deadline=None)
@given(config=st.dictionaries(st.text(), json_values, max_size=4))
def test_any_json_survives_the_journal(
    config: dict[str, object], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("journal") / "sweep.db"
    written(path, SweepCreated("abcd", config, "0"))
    assert read(path) == [SweepCreated("abcd", config, "0")]


def test_reading_can_start_after_an_event(path: Path) -> None:
    written(path, CREATED, PauseRequested("one"), PauseRequested("two"))
    with Journal(path) as journal:
        assert [record.seq for record in journal.read(after_seq=1)] == [2, 3]


def test_an_older_writer_is_fenced_off_by_a_newer_one(path: Path) -> None:
    with JournalWriter(path, now=0.0) as old, JournalWriter(path, now=1.0) as new:
        new.append(CREATED, 1.0)
        with pytest.raises(LockedError, match="taken this sweep over"):
            old.append(PauseRequested(), 2.0)
        new.append(PauseRequested("new"), 3.0)
    assert read(path) == [CREATED, PauseRequested("new")]


def test_a_second_process_does_not_get_the_lock(tmp_path: Path) -> None:
    lock = Lock(tmp_path / "sweep.lock")
    lock.acquire()
    code = (
        "import sys; from pathlib import Path; from launcher.journal import Lock\n"
        "from launcher.errors import LockedError\n"
        "try: Lock(Path(sys.argv[1])).acquire()\n"
        "except LockedError as error: print(error.message); sys.exit(error.exit_code)\n"
    )
    second = subprocess.run(
        [sys.executable, "-c", code, str(lock.path)], capture_output=True, text=True, check=False
    )
    assert second.returncode == 4
    assert f"pid {os.getpid()} on" in second.stdout
    lock.release()
    third = subprocess.run([sys.executable, "-c", code, str(lock.path)], check=False)
    assert third.returncode == 0


def test_a_lock_is_seen_from_outside_as_long_as_it_is_held(tmp_path: Path) -> None:
    lock, onlooker = Lock(tmp_path / "sweep.lock"), Lock(tmp_path / "sweep.lock")
    assert not onlooker.is_held()
    lock.acquire()
    assert onlooker.is_held()
    lock.release()
    assert not onlooker.is_held()


def test_who_only_looks_keeps_nobody_from_the_lock_however_slow_he_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, pauses = Lock(tmp_path / "sweep.lock"), count()
    with lock.path.open("w") as looker:
        fcntl.flock(looker, fcntl.LOCK_SH)
        after = 2 * LOCK_TRIES
        monkeypatch.setattr(
            "launcher.journal.time.sleep", lambda _: next(pauses) < after or looker.close()
        )
        lock.acquire()
    assert next(pauses) > LOCK_TRIES
    lock.release()


def test_a_sweep_that_is_not_there_is_named(path: Path) -> None:
    with pytest.raises(NotFoundError, match="no sweep at"):
        Journal(path)


def test_a_foreign_database_is_refused(path: Path) -> None:
    sql(path, "CREATE TABLE mine (x)")
    with pytest.raises(JournalError, match="not a sweep database"):
        Journal(path)


def test_a_newer_schema_is_refused_with_the_way_out(path: Path) -> None:
    written(path, CREATED)
    sql(path, f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    with pytest.raises(JournalError, match="upgrade protein-sky") as caught:
        Journal(path)
    assert str(SCHEMA_VERSION + 1) in caught.value.message


@pytest.mark.parametrize("junk", [b"", b"not a database at all" * 100, b"\0" * 8192])
def test_a_file_that_is_no_database_is_refused(path: Path, junk: bytes) -> None:
    path.write_bytes(junk)
    with pytest.raises(JournalError, match=r"sweep\.db"):
        Journal(path)


def test_a_damage_that_sqlite_cannot_even_spell_is_told(path: Path) -> None:
    written(path, CREATED)
    path.write_bytes(path.read_bytes().replace(b"epoch INTEGER", b"epoch INTEGE\xd2"))
    with pytest.raises(DamageError, match="INTEGE") as caught:
        read(path)
    assert caught.value.hint.endswith("--restore")
    assert is_damaged(path)


def test_a_missing_event_is_noticed(path: Path) -> None:
    written(path, CREATED, PauseRequested("one"), PauseRequested("two"))
    sql(path, "DELETE FROM events WHERE seq = 2")
    with pytest.raises(JournalError, match="event 2 is missing"):
        read(path)


def test_an_event_of_an_unknown_kind_is_named(path: Path) -> None:
    written(path, CREATED)
    ((before,),) = sql(path, "SELECT chain FROM events")
    body = '{"type": "magic"}'
    chain = chained(str(before), 2, 1, 0.0, body)
    sql(path, f"INSERT INTO events VALUES (2, 1, 0.0, '{body}', '{chain}')")
    with pytest.raises(JournalError, match="event 2 is damaged"):
        read(path)


def test_the_file_says_whose_it_is(path: Path) -> None:
    written(path, CREATED)
    assert sql(path, "PRAGMA application_id") == [(APPLICATION_ID,)]


def test_events_are_stored_in_this_form(path: Path) -> None:
    """The golden form: a journal written today must be readable for ever."""
    written(path, CREATED, PauseRequested("why"))
    rows = sql(path, "SELECT seq, epoch, body FROM events")
    assert rows == [
        (
            1,
            1,
            '{"type":"sweep_created","sweep_id":"abcd","config":{"name":"demo"},"version":"0.1.0"}',
        ),
        (2, 1, '{"type":"pause_requested","reason":"why","command_id":null}'),
    ]


@pytest.mark.parametrize("failure", list(Failure))
def test_a_failure_has_at_most_one_culprit(failure: Failure) -> None:
    assert not (failure.is_parameters_fault and failure.is_machines_fault)
    assert (failure in (Failure.CANCELLED, Failure.STOPPED_EARLY)) == (
        not failure.is_parameters_fault and not failure.is_machines_fault
    )


@pytest.mark.parametrize("content", [b"no database at all" * 100, b""])
def test_a_database_that_cannot_be_used_is_not_kept_open(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "sweep.db"
    path.write_bytes(content)
    for open_it in (Journal, partial(JournalWriter, now=0.0)):
        with pytest.raises(DamageError) as kept:
            open_it(path)
        opened = [file.path for file in psutil.Process().open_files()]
        assert not [name for name in opened if name.startswith(str(path))], kept.value
