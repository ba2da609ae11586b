"""Sweeps whose nodes the user starts by hand, one command on each machine that sees the folder.

Node 0 has the coordinator; `nodes.yaml` tells the workers when to come and when to go.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from launcher import views
from launcher.config import SweepConfig
from launcher.errors import UsageError
from launcher.executors.local import LocalExecutor
from launcher.executors.place import Place, by_hand
from launcher.executors.worker import Worker
from launcher.folder import SweepFolder
from launcher.jobs import secrets_of
from launcher.reading import usable_cores


def place_in(config: SweepConfig) -> Place | None:
    """Return which node of each trial this machine is, None where it runs them all.

    Raises UsageError if the sweep has another number of nodes.
    """
    place = by_hand(os.environ)
    if place is not None and place.count != config.task.num_nodes:
        raise UsageError(
            f"NUM_NODES={place.count}, and trials of this sweep have {config.task.num_nodes} nodes",
            hint="set NUM_NODES to that, or give the sweep another --name",
        )
    return place


@contextmanager
def workers_waiting(folder: SweepFolder) -> Iterator[None]:
    """Have workers stay until the coordinator has nothing more to do.

    They also stay when it is interrupted, and wait for the next.
    """
    place = by_hand(os.environ)
    if place is None:
        yield
        return
    views.write_nodes(folder, place.count, is_over=False)
    yield
    views.write_nodes(folder, place.count, is_over=True)


def worker(folder: SweepFolder, config: SweepConfig, place: Place) -> Worker:
    """Return what runs this machine's node of each trial.

    Raises UsageError where SkyPilot starts the nodes.
    """
    if config.execution.cloud != "local":
        raise UsageError(
            f"NODE_INDEX={place.index}: on {config.execution.cloud} SkyPilot starts the nodes",
            hint="unset NODE_INDEX and NUM_NODES, and give --nodes",
        )
    threads = max(1, usable_cores() // (config.parallel or 1))
    executor = LocalExecutor(folder.path, threads_per_trial=threads, place=place)
    return Worker(folder.path, executor, secrets_of(config))


def has_node_0_left(folder: SweepFolder) -> bool:
    """Whether node 0 has said that no trial will follow."""
    try:
        return msgspec.yaml.decode(folder.nodes.read_bytes(), type=_Nodes).is_over
    except FileNotFoundError:
        return False


class _Nodes(msgspec.Struct):
    is_over: bool
