"""The sweep's database: an append-only table of events, one writer, any number of readers.

Why SQLite, and what was measured, stands in ARCHITECTURE.md. WAL and `synchronous=FULL`: an event
that `append` returned from survives a power cut. No row is ever updated. The writer holds an OS
lock on `sweep.lock`; should that lock fail it (a copied folder, a network file system), the epoch
in the database fences it off: an append under an older epoch than the newest is refused.
"""

import fcntl
import os
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from launcher.errors import DamageError, DiskError, JournalError, LockedError, NotFoundError
from launcher.events import Event, Recorded, encode

SCHEMA_VERSION = 1
APPLICATION_ID = 0x50534B59  # "PSKY": `file sweep.db` and we know whose it is

_SCHEMA = f"""
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {SCHEMA_VERSION};
CREATE TABLE epochs (
    epoch INTEGER PRIMARY KEY,
    host TEXT NOT NULL,
    pid INTEGER NOT NULL,
    at REAL NOT NULL
) STRICT;
CREATE TABLE events (
    seq INTEGER PRIMARY KEY,
    epoch INTEGER NOT NULL REFERENCES epochs (epoch),
    at REAL NOT NULL,
    body TEXT NOT NULL
) STRICT;
"""

_EVENT_DECODER: msgspec.json.Decoder[Event] = msgspec.json.Decoder(Event)


class Lock:
    """The OS lock of a sweep's one coordinator: it goes with the process, however that ends."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd: int | None = None

    def acquire(self) -> None:
        """Take the lock and write down who holds it.

        Raises LockedError if another process has it.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(fd, 200, 0).decode(errors="replace").strip()
            os.close(fd)
            raise LockedError(
                f"another coordinator works on this sweep ({holder or 'starting'})",
                hint="watch it with `protein-sky status --watch`, end it with `protein-sky stop`",
            ) from None
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"pid {os.getpid()} on {socket.gethostname()}".encode(), 0)
        self._fd = fd

    def release(self) -> None:
        """Give the lock back; nothing happens without one."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def is_held(self) -> bool:
        """Whether any process holds the lock now."""
        try:
            fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(fd)
        return False


class Journal:
    """Reads a sweep's events; `JournalWriter` also appends them."""

    def __init__(self, path: Path) -> None:
        """Open an existing database for reading.

        Raises NotFoundError if there is none, JournalError if it is not a readable one of ours.
        """
        if not path.is_file():
            raise NotFoundError(f"no sweep at {path.parent}", hint="`protein-sky ls` lists sweeps")
        self.path = path
        self._db = self._connect()
        with _translated(path):
            self._check()

    def _connect(self) -> sqlite3.Connection:
        with _translated(self.path):
            db = sqlite3.connect(f"{self.path.resolve().as_uri()}?mode=ro", uri=True, timeout=30.0)
            db.execute("PRAGMA query_only = ON")
            return db

    def _check(self) -> None:
        (application_id,) = self._db.execute("PRAGMA application_id").fetchone()
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if application_id != APPLICATION_ID:
            raise DamageError(
                f"{self.path} is not a sweep database of protein-sky",
                hint=f"protein-sky doctor {self.path.parent.name} --restore",
            )
        if version > SCHEMA_VERSION:
            raise JournalError(
                f"{self.path} has schema {version}; this protein-sky reads up to {SCHEMA_VERSION}",
                hint="upgrade protein-sky",
            )

    def read(self, after_seq: int = 0) -> Iterator[Recorded]:
        """Yield events in order, those after `after_seq` only.

        Raises JournalError on damage: a gap, or a row that is no event.
        """
        expected = after_seq + 1
        with _translated(self.path):
            rows = self._db.execute(
                "SELECT seq, epoch, at, body FROM events WHERE seq > ? ORDER BY seq", (after_seq,)
            )
            for seq, epoch, at, body in rows:
                if seq != expected:
                    raise self._damage(f"event {expected} is missing")
                expected += 1
                try:
                    event = _EVENT_DECODER.decode(body)
                except (msgspec.DecodeError, UnicodeDecodeError) as error:
                    raise self._damage(f"event {seq} is damaged: {error}") from error
                yield Recorded(seq, epoch, at, event)

    def _damage(self, what: str) -> DamageError:
        hint = f"protein-sky doctor {self.path.parent.name} --restore"
        return DamageError(f"{self.path}: {what}", hint=hint)

    def back_up(self, to: Path) -> None:
        """Write a whole copy of the database, atomically. Raises DiskError."""
        draft = to.with_name(f".{to.name}.{os.getpid()}.new")
        with _translated(to):
            draft.unlink(missing_ok=True)
            with closing(sqlite3.connect(draft)) as copy:
                self._db.backup(copy)
            draft.replace(to)

    def close(self) -> None:
        """Close the database."""
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class JournalWriter(Journal):
    """The one writer of a sweep's events. Hold the sweep's `Lock` before making one."""

    def __init__(self, path: Path, *, now: float) -> None:
        """Open, or create, the database and begin a new epoch."""
        if not path.exists():
            _create(path)
        super().__init__(path)
        with _translated(path), self._db:
            (newest,) = self._db.execute("SELECT coalesce(max(epoch), 0) FROM epochs").fetchone()
            self.epoch = newest + 1
            self._db.execute(
                "INSERT INTO epochs VALUES (?, ?, ?, ?)",
                (self.epoch, socket.gethostname(), os.getpid(), now),
            )

    def _connect(self) -> sqlite3.Connection:
        with _translated(self.path):
            db = sqlite3.connect(self.path, timeout=30.0)
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")
            db.execute("PRAGMA foreign_keys = ON")
            return db

    def append(self, event: Event, at: float) -> Recorded:
        """Commit one event; when this returns, it is on disk.

        Raises LockedError if another coordinator has begun a newer epoch, JournalError if the
        disk refuses (full, read-only): then nothing of the event is written.
        """
        body = encode(event).decode()
        with _translated(self.path), self._db:
            cursor = self._db.execute(
                "INSERT INTO events (epoch, at, body) SELECT ?, ?, ?"
                " WHERE ? = (SELECT max(epoch) FROM epochs)",
                (self.epoch, at, body, self.epoch),
            )
            if cursor.rowcount != 1:
                raise LockedError(
                    "another coordinator has taken this sweep over; this one stops here",
                    hint="watch the other one with `protein-sky status --watch`",
                )
        assert cursor.lastrowid is not None  # an INSERT of one row has one
        return Recorded(cursor.lastrowid, self.epoch, at, event)


def _create(path: Path) -> None:
    """Make an empty database under another name and move it into place whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.new")
    with _translated(path):
        draft.unlink(missing_ok=True)
        db = sqlite3.connect(draft)
        try:
            db.executescript(_SCHEMA)
        finally:
            db.close()
        draft.replace(path)


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    """Turn what SQLite and the disk raise into JournalError, by what can be done about it."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the primary result code
        text = f"{path}: {error}"
        if code in _DISK_CODES:
            raise DiskError(text, hint=_DISK_HINT) from error
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB) or not code:
            raise DamageError(text, hint=f"protein-sky doctor {path.parent.name} --restore") from (
                error
            )
        raise JournalError(text) from error
    except OSError as error:
        raise DiskError(f"{path}: {error.strerror or error}", hint=_DISK_HINT) from error


_DISK_CODES = frozenset(
    {
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PERM,
    }
)
_DISK_HINT = "make room on the disk, or the sweep's folder writable; nothing is lost meanwhile"
