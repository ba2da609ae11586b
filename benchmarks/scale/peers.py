"""Optuna's storages, doing what its users do: ask, set, tell."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.scale.sweeps import NAMES


def optuna_journal(folder: Path, trials: int) -> None:
    """Run a study on the journal file."""
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    folder.mkdir(parents=True)
    _study(JournalStorage(JournalFileBackend(str(folder / "journal.log"))), trials)


def optuna_sqlite(folder: Path, trials: int) -> None:
    """Run a study on SQLite."""
    from optuna.storages import RDBStorage

    folder.mkdir(parents=True)
    _study(RDBStorage(f"sqlite:///{folder / 'study.db'}"), trials)


def _study(storage: Any, trials: int) -> None:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sampler = optuna.samplers.RandomSampler(seed=0)
    study = optuna.create_study(storage=storage, sampler=sampler)
    for _ in range(trials):
        trial = study.ask()
        values = [trial.suggest_float(name, 0.0, 1.0) for name in NAMES]
        study.tell(trial, sum(values))


PEERS: dict[str, Callable[[Path, int], None]] = {
    "Optuna journal": optuna_journal,
    "Optuna SQLite": optuna_sqlite,
}
