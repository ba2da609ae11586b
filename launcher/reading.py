"""How a sweep stands, for whoever only looks: light to import, and without any lock."""

import os

from launcher import snapshot
from launcher.budget import Offer
from launcher.config import SweepConfig
from launcher.errors import DamageError
from launcher.executors import gpus
from launcher.folder import SweepFolder
from launcher.journal import Journal, Lock
from launcher.state import State, fold


def read(folder: SweepFolder) -> State:
    """Return a sweep's state, whoever works on it.

    Raises NotFoundError, JournalError.
    """
    with Journal(folder.database) as journal:
        return state_of(folder, journal, snapshot.read(folder.snapshot, journal))


def state_of(folder: SweepFolder, journal: Journal, known: State | None = None) -> State:
    """Return the state that an open journal gives; `known` is the one after its first events.

    Raises JournalError.
    """
    state = fold(journal.read(0 if known is None else known.seq), known)
    if state is None:  # a sweep is created together with its first event
        raise DamageError(
            f"{folder.database} has no events",
            hint=f"protein-sky doctor {folder.name} --restore",
        )
    return state


def is_live(folder: SweepFolder) -> bool:
    """Whether a coordinator works on the sweep now."""
    return Lock(folder.lock).is_held()


def offer_of(folder: SweepFolder, config: SweepConfig) -> Offer:
    """Return what the sweep's executor can give.

    Raises UsageError where SkyPilot cannot say what the sweep's machines cost.
    """
    if config.execution.cloud == "local":
        price = config.execution.price_usd_per_hour or 0.0  # this machine is paid for
        parallel = config.parallel or usable_cores()
        each = gpus.per_trial(gpus.visible(os.environ), parallel)
        return Offer(price_usd_per_hour=price, gpus=each, parallel=usable_cores())
    if config.execution.cloud == "simulated":
        return Offer(parallel=8)
    from launcher import clouds  # what looks at local sweeps does without SkyPilot

    return clouds.offer(folder.path, config)


def usable_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
