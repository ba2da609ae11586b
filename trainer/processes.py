"""One rank per GPU of a machine, as processes of this one, where nobody else has started them."""

import math
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence

from trainer.config import Config
from trainer.errors import LostRanksError
from trainer.ranks import LISTENING, LOOK_SECONDS, Place, find_place, meeting_point
from trainer.signals import PARENT


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


def run_processes(count: int, arguments: Sequence[str], *, stop: Callable[[], str]) -> int:
    """Runs the program in `count` ranks; returns their common exit code, see `exit_code`.

    SIGTERM asks them to go where `stop` names a signal, and where one of them has failed.
    """
    node = find_place(os.environ)
    if node.world > 1:
        meeting_point(os.environ)  # a mistake shows here, once
    running: list[subprocess.Popen[bytes]] = []
    try:
        with socket.create_server(("127.0.0.1", 0)) as here:  # nobody else gets its port
            for place in places(count, node):
                variables = rank_variables(place, node, here)
                process = subprocess.Popen(
                    [sys.executable, "-m", "trainer", *arguments],
                    env={**os.environ, **variables},
                    pass_fds=[here.fileno()] if place.rank == 0 else [],
                )
                running.append(process)
        return exit_code(wait_for(running, stop))
    finally:
        for process in running:
            process.kill()
            process.wait()


def wait_for(
    processes: Sequence["subprocess.Popen[bytes]"],
    stop: Callable[[], str],
    *,
    grace_seconds: float = 30.0,
) -> list[int]:
    """Their exit codes, in the order in which they ended.

    One that hears nothing, `grace_seconds` after another has failed, is left out.
    """
    running, ended = list(processes), []
    is_told, deadline = False, math.inf
    while running and time.monotonic() < deadline:
        ended += [process.returncode for process in running if process.poll() is not None]
        running = [process for process in running if process.returncode is None]
        if any(ended):
            deadline = min(deadline, time.monotonic() + grace_seconds)
        if not is_told and (stop() or any(ended)):
            is_told = True
            for process in running:
                process.terminate()
        time.sleep(LOOK_SECONDS)
    return ended


def exit_code(codes: Sequence[int]) -> int:
    """What the ranks of a machine say together, by their codes in the order of their ends.

    0 if all went well. The first that was killed, or that failed by itself, says more than those
    that lost it or were asked to go.
    """
    asked = (0, LostRanksError.exit_code, -signal.SIGTERM)
    failed = [code for code in codes if code not in asked]
    if failed:
        return max(failed[0], 1)
    return LostRanksError.exit_code if any(codes) else 0


def rank_variables(place: Place, node: Place, here: socket.socket) -> dict[str, str]:
    """What a rank finds in its environment, in torchrun's words, and whose it is.

    Ranks of one machine meet `here`, those of several where all have been told.
    """
    own = {"RANK": str(place.rank), "WORLD_SIZE": str(place.world)}
    own |= {"LOCAL_RANK": str(place.local_rank), PARENT: str(os.getpid())}
    if node.world > 1:
        return own
    host, port = here.getsockname()
    own |= {"MASTER_ADDR": host, "MASTER_PORT": str(port)}
    return own | {LISTENING: str(here.fileno())} if place.rank == 0 else own
