"""`launch` on a machine that is not the first of its nodes: the other nodes of each trial."""

import time
from typing import TYPE_CHECKING

import click

from launcher.cli.common import EXIT_INTERRUPTED, Interrupt
from launcher.errors import ExecutorError

if TYPE_CHECKING:
    from launcher.config import SweepConfig
    from launcher.executors.place import Place
    from launcher.executors.worker import Worker
    from launcher.folder import SweepFolder

LOOK_SECONDS = 0.5


def work(folder: "SweepFolder", config: "SweepConfig", place: "Place") -> int:
    """Run this machine's node of each trial until the coordinator has left.

    Interrupted, it ends what runs here; those trials go on as another attempt.
    """
    from launcher import nodes

    worker = nodes.worker(folder, config, place)
    interrupt = Interrupt()
    click.echo(
        f"node {place.index} of {place.count}: waiting for node 0 in {folder.path}", err=True
    )
    try:
        while not nodes.has_node_0_left(folder):
            interrupt.check()
            _look(worker)
            time.sleep(LOOK_SECONDS)
        _leave(worker)
    except KeyboardInterrupt:
        _leave(worker)
        click.echo("What ran here was ended; the same command waits for the next trial.", err=True)
        return EXIT_INTERRUPTED
    click.echo(f"node 0 has left: protein-sky status {folder.name}", err=True)
    return 0


def _look(worker: "Worker") -> None:
    try:
        for line in worker.look():
            click.echo(line, err=True)
    except ExecutorError as error:
        click.echo(str(error), err=True)


def _leave(worker: "Worker") -> None:
    while not worker.leave():
        time.sleep(LOOK_SECONDS)
