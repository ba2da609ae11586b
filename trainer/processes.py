"""One rank per GPU of a machine, as processes of this one, where nobody else has started them."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from types import FrameType

from trainer.config import Config
from trainer.errors import ConfigError, LostRanksError
from trainer.ranks import Place, find_place


def count_processes(config: Config, environment: Mapping[str, str]) -> int:
    """How many ranks this machine should have: one per GPU, of which NUM_GPUS may allow fewer.

    1 where torchrun has started them already.
    """
    if "WORLD_SIZE" in environment:
        return 1
    if config.num_processes is not None:
        return config.num_processes
    import torch

    if config.device not in ("auto", "cuda"):
        return 1
    gpus = torch.cuda.device_count()
    allowed = environment.get("NUM_GPUS", "")
    return max(1, min(gpus, int(allowed)) if allowed.isdigit() else gpus)


def places(count: int, node: Place) -> list[Place]:
    """The ranks of a machine with `count` of them, all machines being alike."""
    return [Place(node.rank * count + i, node.world * count, i) for i in range(count)]


def run_processes(count: int, arguments: Sequence[str]) -> int:
    """Runs the program in `count` ranks; returns their common exit code, see `exit_code`.

    SIGTERM and SIGUSR1 are passed on to all of them.
    """
    node = find_place(os.environ)
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "trainer", *arguments], env={**os.environ, **variables}
        )
        for variables in rank_variables(places(count, node), node)
    ]

    def pass_on(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 signal's
        for process in processes:
            process.send_signal(number)

    for number in (signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, pass_on)
    return exit_code([process.wait() for process in processes])


def exit_code(codes: Sequence[int]) -> int:
    """What the ranks of a machine say together: 0 if all went well.

    A rank that was killed, or that failed by itself, says more than those that lost it.
    """
    if any(code < 0 for code in codes):
        return 1
    failed = [code for code in codes if code]
    return next((code for code in failed if code != LostRanksError.exit_code), max(codes))


def rank_variables(ranks: Sequence[Place], node: Place) -> list[dict[str, str]]:
    """What each rank finds in its environment, in torchrun's words."""
    if node.world > 1 and not os.environ.get("MASTER_PORT"):
        raise ConfigError(f"{node.world} machines need MASTER_ADDR and MASTER_PORT")
    meeting = {
        "MASTER_ADDR": os.environ.get("MASTER_ADDR") or "127.0.0.1",
        "MASTER_PORT": os.environ.get("MASTER_PORT") or str(free_port()),
    }
    return [
        {
            **meeting,
            "RANK": str(place.rank),
            "WORLD_SIZE": str(place.world),
            "LOCAL_RANK": str(place.local_rank),
        }
        for place in ranks
    ]


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
