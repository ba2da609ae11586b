"""The sweep's database: an append-only table of events, one writer, any number of readers.

Why SQLite, and what was measured, stands in ARCHITECTURE.md. WAL and `synchronous=FULL`: an event
that `append` returned from survives a power cut. No row is ever updated. The writer holds an OS
lock on `sweep.lock`; should that lock fail it (a copied folder, a network file system), the epoch
in the database fences it off: an append under an older epoch than the newest is refused.

Nothing is lost in silence: every row carries a checksum that is chained to the row before, and the
number of the newest row stands in a small file beside the database too (`sweep.db-tip`), so that
also a database that fell back to an older state (its -wal file is gone, an old copy lies here) is
told from a whole one.
"""

import fcntl
import hashlib
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
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
    body TEXT NOT NULL,
    chain TEXT NOT NULL
) STRICT;
"""

LOCK_TRIES, LOCK_PAUSE_SECONDS = 5, 0.02
"""Who records a request has the lock for an instant: one failed try says nothing."""

_EVENT_DECODER: msgspec.json.Decoder[Event] = msgspec.json.Decoder(Event)


def chained(previous: str, seq: int, epoch: int, at: float, body: str) -> str:
    """Return a row's checksum: 64 bits over the row and the checksum of the row before."""
    row = f"{previous} {seq} {epoch} {at!r} {body}".encode()
    return hashlib.blake2b(row, digest_size=8).hexdigest()


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
        if not _locked(fd):
            holder = os.pread(fd, 200, 0).decode(errors="replace").strip()
            os.close(fd)
            raise LockedError(
                f"another coordinator works on this sweep ({holder or 'starting'})",
                hint="watch it with `protein-sky status --watch`, end it with `protein-sky stop`",
            )
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"pid {os.getpid()} on {os.uname().nodename}".encode(), 0)
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
            return _is_kept(fd)
        finally:
            os.close(fd)


def _locked(fd: int) -> bool:
    """Lock an open file, unless another process keeps it locked; who only looks keeps nothing."""
    failed = 0
    while failed < LOCK_TRIES:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            failed += _is_kept(fd)
            time.sleep(LOCK_PAUSE_SECONDS)
        else:
            return True
    return False


def _is_kept(fd: int) -> bool:
    """Whether another process has an open file's lock for itself. Who looks shares it a moment."""
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    fcntl.flock(fd, fcntl.LOCK_UN)
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
        with _translated(path), _closed_if_it_fails(self._db):
            self._check()

    def _connect(self) -> sqlite3.Connection:
        with _translated(self.path):
            db = sqlite3.connect(f"{self.path.resolve().as_uri()}?mode=ro", uri=True, timeout=30.0)
            with _closed_if_it_fails(db):
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

        Raises DamageError: a gap, a row that is not as it was written, a row that is no event, or
        fewer rows than there were.
        """
        tip = _read_tip(self.path)  # before the rows: a live writer may add to both meanwhile
        last, chain = after_seq, self.chain_at(after_seq)
        with _translated(self.path):
            rows = self._db.execute(
                "SELECT seq, epoch, at, body, chain FROM events WHERE seq > ? ORDER BY seq",
                (after_seq,),
            )
            for seq, epoch, at, body, written in rows:
                if seq != last + 1:
                    raise self._damage(f"event {last + 1} is missing")
                chain = chained(chain, seq, epoch, at, body)
                if chain != written:
                    raise self._damage(f"event {seq} is damaged: it is not what was written")
                last = seq
                try:
                    event = _EVENT_DECODER.decode(body)
                except (msgspec.DecodeError, UnicodeDecodeError) as error:
                    raise self._damage(f"event {seq} is damaged: {error}") from error
                yield Recorded(seq, epoch, at, event)
        if last < tip:
            raise self._damage(
                f"it ends at event {last}, and event {tip} was written: its -wal file is gone,"
                " or an older copy lies here"
            )

    def chain_at(self, seq: int) -> str:
        """Return the checksum of an event and all before it; "" where there is no such event."""
        with _translated(self.path):
            row = self._db.execute("SELECT chain FROM events WHERE seq = ?", (seq,)).fetchone()
        return row[0] if row is not None else ""

    def _damage(self, what: str) -> DamageError:
        hint = f"protein-sky doctor {self.path.parent.name} --restore"
        return DamageError(f"{self.path}: {what}", hint=hint)

    def back_up(self, to: Path) -> None:
        """Write a whole copy of the database, atomically. Raises DiskError.

        Only the sweep's one writer does: the draft has a fixed name, so that none is left behind.
        """
        draft = to.with_name(f".{to.name}.new")
        with _translated(to):
            try:
                draft.unlink(missing_ok=True)
                with closing(sqlite3.connect(draft)) as copy:
                    self._db.backup(copy)
                draft.replace(to)
            except BaseException:
                draft.unlink(missing_ok=True)  # on a full disk it would keep the rest from fitting
                raise

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

    def __init__(self, path: Path, *, now: float, first: Event | None = None) -> None:
        """Open the database and begin a new epoch.

        A new one is created whole, with `first` as its first event. Raises DamageError where one
        should be and is not: another in its place would bury what is left of it.
        """
        if not path.exists():
            left = [side for side in _left_behind(path) if side.exists()]
            if left:
                hint = f"protein-sky doctor {path.parent.name} --restore"
                raise DamageError(f"{path} is gone; {left[0].name} is still there", hint=hint)
            _create(path, now, first)
        super().__init__(path)
        with _translated(path), _closed_if_it_fails(self._db), self._db:
            (newest,) = self._db.execute(_NEWEST_EPOCH).fetchone()
            self.epoch = newest + 1
            self._db.execute(
                "INSERT INTO epochs VALUES (?, ?, ?, ?)",
                (self.epoch, os.uname().nodename, os.getpid(), now),
            )

    def _connect(self) -> sqlite3.Connection:
        with _translated(self.path):
            db = sqlite3.connect(self.path, timeout=30.0)
            with _closed_if_it_fails(db):
                db.execute("PRAGMA journal_mode = WAL")
                db.execute("PRAGMA synchronous = FULL")
                db.execute("PRAGMA foreign_keys = ON")
            return db

    def append(self, event: Event, at: float) -> Recorded:
        """Commit one event; when this returns, it is on disk.

        Raises LockedError if another coordinator has begun a newer epoch, DiskError if the disk
        refuses (full, read-only): then nothing of the event is written, or all of it if the disk
        failed late; `read` tells. Raises JournalError for an event that could not be read back.
        """
        body = _readable(event)
        with _translated(self.path), self._db:
            self._db.execute("BEGIN IMMEDIATE")
            (newest,) = self._db.execute("SELECT max(epoch) FROM epochs").fetchone()
            if newest != self.epoch:
                raise LockedError(
                    "another coordinator has taken this sweep over; this one stops here",
                    hint="watch the other one with `protein-sky status --watch`",
                )
            seq = _insert(self._db, self.epoch, at, body)
        _write_tip(self.path, seq)
        return Recorded(seq, self.epoch, at, event)


_NEWEST_EPOCH = """
SELECT max(coalesce((SELECT max(epoch) FROM epochs), 0),
           coalesce((SELECT max(epoch) FROM events), 0))
"""


def _readable(event: Event) -> str:
    """Return an event as it is stored, sure to be read back: NaN, for one, would not be."""
    try:
        body = encode(event).decode()
        _EVENT_DECODER.decode(body)
    except (msgspec.MsgspecError, UnicodeError, OverflowError) as error:
        raise JournalError(f"{type(event).__name__} cannot be recorded: {error}") from error
    return body


def _insert(db: sqlite3.Connection, epoch: int, at: float, body: str) -> int:
    """Add a row to the chain, inside a transaction; return its number."""
    newest = db.execute("SELECT seq, chain FROM events ORDER BY seq DESC LIMIT 1").fetchone()
    last, chain = newest if newest is not None else (0, "")
    seq = int(last) + 1
    db.execute(
        "INSERT INTO events VALUES (?, ?, ?, ?, ?)",
        (seq, epoch, at, body, chained(chain, seq, epoch, at, body)),
    )
    return seq


def _create(path: Path, now: float, first: Event | None) -> None:
    """Make a database under another name and move it into place whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.new")
    with _translated(path):
        draft.unlink(missing_ok=True)
        with closing(sqlite3.connect(draft)) as db, db:
            db.executescript(_SCHEMA)
            if first is not None:
                host = os.uname().nodename
                db.execute("INSERT INTO epochs VALUES (1, ?, ?, ?)", (host, os.getpid(), now))
                _insert(db, 1, now, _readable(first))
        draft.replace(path)


def _left_behind(path: Path) -> Iterator[Path]:
    """Yield what lies beside a database that was there: it must not be taken for a new one."""
    for suffix in (".backup", *SIDE_SUFFIXES):
        yield path.with_name(path.name + suffix)


SIDE_SUFFIXES = ("-wal", "-shm", "-tip")
"""Files that belong to a database, beside it."""


def _write_tip(path: Path, seq: int) -> None:
    """Note the newest row's number beside the database: a hint, so no trouble with it counts."""
    with suppress(OSError):
        fd = os.open(f"{path}-tip", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            os.pwrite(fd, f"{seq:015d} {seq:015d}\n".encode(), 0)
        finally:
            os.close(fd)


def _read_tip(path: Path) -> int:
    """Return the newest row's number as noted beside the database; 0 where nothing sure is."""
    try:
        first, second = Path(f"{path}-tip").read_bytes().split()
        return int(first) if first == second else 0
    except (OSError, ValueError):
        return 0


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    """Turn what SQLite and the disk raise into JournalError, by what can be done about it."""
    restore = f"protein-sky doctor {path.parent.name} --restore"
    try:
        yield
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the primary result code
        text = f"{path}: {error}"
        if code in _DISK_CODES:
            raise DiskError(text, hint=_DISK_HINT) from error
        if code in _PASSING_CODES:
            raise JournalError(text) from error
        raise DamageError(text, hint=restore) from error  # our own SQL is right: the file is not
    except UnicodeDecodeError as error:  # SQLite quotes a damaged schema
        text = f"{path}: {error.object.decode(errors='replace')}"
        raise DamageError(text, hint=restore) from error
    except OSError as error:
        raise DiskError(f"{path}: {error.strerror or error}", hint=_DISK_HINT) from error


@contextmanager
def _closed_if_it_fails(db: sqlite3.Connection) -> Iterator[None]:
    """Close a database that cannot be used: an error that is kept would keep its file open."""
    try:
        yield
    except BaseException:
        db.close()
        raise


_DISK_CODES = frozenset(
    {
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PERM,
    }
)
_PASSING_CODES = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_NOMEM})
_DISK_HINT = "make room on the disk, or the sweep's folder writable; nothing is lost meanwhile"
