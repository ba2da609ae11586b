"""Where things lie: the folder of one sweep, as users of the reference system know it.

train_dir/sweep/<name>/
├── sweep.db, sweep.lock      the journal, and the lock of its one writer
├── sweep.snapshot            what the journal folds to, so that `status` answers at once
├── inbox/                    requests to the coordinator
├── config.yaml               views for people: nothing is read back from them
├── nodes.yaml                for workers that were started by hand (NODE_INDEX)
├── report.html
└── runs/<run_id>/
    ├── params.json, train_config_overrides.yaml     what the trial reads
    ├── wandb/                                       W&B's settings for the trial, and its logs
    ├── protein_suggestion.yaml, protein_state.yaml, dist_<id>.yaml
    ├── result.json, metrics.jsonl, train.log        what the trial writes
    ├── checkpoints/
    └── attempts/<n>/                                the executor's own
"""

import os
from dataclasses import dataclass
from pathlib import Path

from launcher.errors import DamageError, NotFoundError

DEFAULT_TRAIN_DIR = "train_dir"


def train_dir() -> Path:
    """Return the folder of all sweeps: $PROTEIN_TRAIN_DIR, or `train_dir` here."""
    return Path(os.environ.get("PROTEIN_TRAIN_DIR") or DEFAULT_TRAIN_DIR)


@dataclass(frozen=True, slots=True)
class SweepFolder:
    """The files of one sweep."""

    path: Path

    @classmethod
    def of(cls, name: str) -> "SweepFolder":
        """Return the folder of the sweep `name`, which need not exist."""
        return cls(train_dir() / "sweep" / name)

    @property
    def name(self) -> str:
        """The sweep's name."""
        return self.path.name

    @property
    def database(self) -> Path:
        """The journal."""
        return self.path / "sweep.db"

    @property
    def backup(self) -> Path:
        """The journal's latest whole copy."""
        return self.path / "sweep.db.backup"

    @property
    def snapshot(self) -> Path:
        """The state as it was at the latest backup."""
        return self.path / "sweep.snapshot"

    @property
    def nodes(self) -> Path:
        """What workers on other machines wait for."""
        return self.path / "nodes.yaml"

    @property
    def lock(self) -> Path:
        """The lock of the one writer."""
        return self.path / "sweep.lock"

    @property
    def inbox(self) -> Path:
        """Requests to the coordinator."""
        return self.path / "inbox"

    @property
    def report(self) -> Path:
        """The HTML report."""
        return self.path / "report.html"

    def run(self, run_id: str) -> Path:
        """Return the folder of one trial."""
        return self.path / "runs" / run_id

    def exists(self) -> bool:
        """Whether there is a sweep here."""
        return self.database.is_file()


def all_sweeps() -> list[SweepFolder]:
    """Return every sweep of the train directory, the latest changed last."""
    found = [SweepFolder(path.parent) for path in (train_dir() / "sweep").glob("*/sweep.db")]
    return sorted(found, key=lambda folder: folder.database.stat().st_mtime)


def lost_sweeps() -> list[SweepFolder]:
    """Return the sweeps whose database is gone and whose backup is there, by name."""
    found = [SweepFolder(path.parent) for path in (train_dir() / "sweep").glob("*/sweep.db.backup")]
    return sorted((f for f in found if not f.exists()), key=lambda folder: folder.name)


def find(name: str | None) -> SweepFolder:
    """Return the named sweep, or the latest one.

    Raises NotFoundError, with the nearest names; DamageError if it has lost its database.
    """
    sweeps = all_sweeps()
    if name is None:
        if not sweeps:
            raise NotFoundError(
                f"no sweeps under {train_dir() / 'sweep'}",
                hint="start one: protein-sky launch demo_sweep",
            )
        return sweeps[-1]
    for folder in sweeps:
        if folder.name == name:
            return folder
    if name in [folder.name for folder in lost_sweeps()]:
        folder = SweepFolder.of(name)
        raise DamageError(
            f"the database of sweep {name!r} is gone: {folder.database}; its backup is there",
            hint=f"protein-sky doctor {name} --restore",
        )
    known = ", ".join(folder.name for folder in sweeps[-8:]) or "none"
    raise NotFoundError(
        f"no sweep {name!r} under {train_dir() / 'sweep'}", hint=f"there are: {known}"
    )
