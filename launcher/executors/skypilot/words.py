"""What jobs say of their ends where the folder that outlives machines is seen from here too.

On Slurm that is common: the coordinator runs on a login node, and `execution.storage` is a folder
of all nodes. A job's word only says when to look: what became of it, SkyPilot says.
"""

from collections.abc import Callable, Iterable
from pathlib import Path

from launcher.executors.skypilot.ledger import Entry
from launcher.executors.skypilot.queues import Words
from launcher.executors.skypilot.wrapping import is_folder, over_file


class OwnWords:
    """Remembers since when which job's word is there."""

    def __init__(self, storage: str | None, now: Callable[[], float]) -> None:
        self._storage = Path(storage) if storage and is_folder(storage) else None
        self._now = now
        self._over_since: dict[str, float] = {}

    def of(self, entries: Iterable[Entry]) -> Words:
        """Look for the words of jobs that are placed, and were not told to end."""
        if self._storage is None:
            return {}
        words: dict[tuple[str | None, int | None], float | None] = {}
        over_since = {}
        for entry in entries:
            run = self._storage / entry.run_id
            if entry.job_id is None or entry.is_cancelled or not _is_seen(run):
                continue
            if _is_seen(run / over_file(entry.attempt)):
                over_since[entry.name] = self._over_since.get(entry.name, self._now())
            words[entry.cluster, entry.job_id] = over_since.get(entry.name)
        self._over_since = over_since
        return words


def _is_seen(path: Path) -> bool:
    """Whether something is there; what may not be looked at, or cannot be now, is not seen."""
    try:
        path.stat()
    except OSError:
        return False
    return True
