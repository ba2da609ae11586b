"""What was asked of SkyPilot under which job name: one small file per job, written before we ask.

The journal holds what the sweep decided; this holds the ids under which SkyPilot knows it.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from launcher.errors import ExecutorError
from launcher.executors.validity import is_name
from launcher.files import write_atomic
from launcher.ports import Outcome


class Entry(msgspec.Struct, frozen=True):
    """One job. `cluster` is None under the jobs controller.

    `request_id` is None from the intent to ask until SkyPilot took it; `job_id` until the job has
    a place. `is_warm`: its cluster was up before. `held_since`: from then on its machines are paid
    for it; before `priced_since` they have cost `paid_usd`, since SkyPilot may go on with a managed
    job on machines of another price. `lost_request_id`: the request that led to a cluster which
    went before the job had its turn there. `outcome` is set at the end, once what the job left has
    been brought here.
    """

    name: str
    run_id: str
    attempt: int
    run_dir: str
    asked_at: float
    cluster: str | None
    request_id: str | None = None
    job_id: int | None = None
    held_since: float | None = None
    price_usd_per_hour: float = 0.0
    priced_since: float | None = None
    paid_usd: float = 0.0
    is_spot: bool = False
    is_warm: bool = False
    is_cancelled: bool = False
    lost_request_id: str | None = None
    outcome: Outcome | None = None


class Ledger:
    """All entries of one sweep, kept in memory and on disk."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._entries: dict[str, Entry] | None = None

    def get(self, name: str) -> Entry | None:
        """Return a job's entry."""
        return self._all().get(name)

    def put(self, entry: Entry) -> Entry:
        """Write an entry down; it counts once it is on disk.

        Raises ExecutorError from an OSError where the disk refuses.
        """
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            write_atomic(self._folder / f"{entry.name}.json", msgspec.json.encode(entry).decode())
        except OSError as error:
            raise ExecutorError(f"job {entry.name} cannot be written down: {error}") from error
        self._all()[entry.name] = entry
        return entry

    def change(self, entry: Entry, **changes: Any) -> Entry:
        """Write an entry down with these changes, as `put` does."""
        return self.put(msgspec.structs.replace(entry, **changes))

    def drop(self, name: str) -> None:
        """Forget a job that never was."""
        (self._folder / f"{name}.json").unlink(missing_ok=True)
        self._all().pop(name, None)

    def open(self) -> Iterator[Entry]:
        """Give the entries of jobs that are not over."""
        yield from [entry for entry in self._all().values() if entry.outcome is None]

    def was_placed(self) -> bool:
        """Whether any job has ever had a place."""
        return any(entry.job_id is not None for entry in self._all().values())

    def of_cluster(self, cluster: str) -> list[Entry]:
        """Return all jobs that were ever given to a cluster, the earliest first."""
        found = [entry for entry in self._all().values() if entry.cluster == cluster]
        return sorted(found, key=lambda entry: entry.asked_at)

    def beside(self, entry: Entry) -> list[Entry]:
        """Return the other jobs that were given to a job's cluster and are not over."""
        there = self.of_cluster(entry.cluster or "")
        return [e for e in there if e.outcome is None and e.name != entry.name]

    def _all(self) -> dict[str, Entry]:
        if self._entries is None:
            self._entries = {}
            for path in self._folder.glob("*.json"):
                entry = _read(path)
                if entry is not None and is_name(entry.name):
                    self._entries[entry.name] = entry
        return self._entries


def _read(path: Path) -> Entry | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Entry)
    except (OSError, msgspec.DecodeError):
        return None  # as if never asked: SkyPilot is asked for the name before anything starts
