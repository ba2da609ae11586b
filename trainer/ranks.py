"""Many processes that train one policy: who takes part, and sums over all of them.

Every rank steps its share of the environments, and gradients are summed. Whatever is random is
drawn by all ranks alike for all environments, so the result does not depend on their number.
"""

import datetime
import os
import socket
import struct
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from trainer.envs.base import Share
from trainer.errors import ConfigError, InterruptedRunError, LostRanksError, TrainerError

TIMEOUT_SECONDS = 50  # a rank that says nothing for so long is dead: all end within a minute
JOIN_SECONDS = 600  # machines of one job may start minutes apart
LOOK_SECONDS = 0.1  # how often a rank that waits for the others looks for a signal
LISTENING = "TRAINER_LISTENING_SOCKET"  # of rank 0: the socket at which `processes` had it meet
NCCL = {
    # A collective that times out ends the process, also where it hangs inside a kernel …
    "TORCH_NCCL_ASYNC_ERROR_HANDLING": "1",
    # … and where the thread that should notice hangs itself; torch's own is eight minutes.
    "TORCH_NCCL_HEARTBEAT_TIMEOUT_SEC": "120",
    "NCCL_DEBUG": "WARN",
}
"""Settings of NCCL where the environment has none: a dead node ends the run within minutes."""
SIOCGIFADDR = 0x8915  # Linux: the address of an interface


@dataclass(frozen=True, slots=True)
class Place:
    """This process among `world`; `local_rank` is its number on its machine."""

    rank: int = 0
    world: int = 1
    local_rank: int = 0


def find_place(environment: Mapping[str, str]) -> Place:
    """From torchrun's RANK and WORLD_SIZE, else from NODE_INDEX and NUM_NODES, else alone."""
    names = ("RANK", "WORLD_SIZE") if "WORLD_SIZE" in environment else ("NODE_INDEX", "NUM_NODES")
    try:
        rank, world = (int(environment.get(n) or d) for n, d in zip(names, (0, 1), strict=True))
        place = Place(rank, world, int(environment.get("LOCAL_RANK") or 0))
    except ValueError as error:
        raise ConfigError(f"{names[0]} and {names[1]} must be whole numbers: {error}") from error
    if not 0 <= rank < world:
        raise ConfigError(f"{names[0]}={rank} must be from 0 to {names[1]} - 1 = {world - 1}")
    return place


class Ranks:
    """Sums over all ranks. Alone it does nothing and needs no network."""

    def __init__(
        self,
        place: Place,
        *,
        run_id: str,
        device: torch.device,
        stop: Callable[[], str] = lambda: "",
    ) -> None:
        self.place = place
        self.device = device
        if place.world == 1:
            return
        with ExitStack() as stack:
            stack.callback(self.close)  # who ends with threads of gloo at work is aborted
            self._join(run_id, stop)
            stack.pop_all()

    def _join(self, run_id: str, stop: Callable[[], str]) -> None:
        """Waits for all others; errors are TrainerErrors, also where `stop` names a signal."""
        import torch.distributed as dist

        place, device = self.place, self.device
        host, port = meeting_point(os.environ)
        if device.type == "cuda":
            for name, value in NCCL.items():
                os.environ.setdefault(name, value)
        elif "GLOO_SOCKET_IFNAME" not in os.environ:
            interface = interface_towards(host)
            if interface:
                os.environ["GLOO_SOCKET_IFNAME"] = interface
        try:
            dist.init_process_group(
                "nccl" if device.type == "cuda" else "gloo",
                store=self._meet(host, port, stop),
                rank=place.rank,
                world_size=place.world,
                timeout=datetime.timedelta(seconds=TIMEOUT_SECONDS),
            )
            runs: list[Any] = [None] * place.world
            dist.all_gather_object(runs, run_id)  # also tells that all can talk, before hours pass
        except (RuntimeError, ValueError) as error:  # torch.distributed's derive from RuntimeError
            raise self._lost(error) from error
        if len(set(runs)) > 1:
            raise TrainerError(
                f"ranks of different runs met at {host}:{port}: {', '.join(map(str, runs))}",
                hint="give each run its own MASTER_PORT",
            )

    def _meet(self, host: str, port: int, stop: Callable[[], str]) -> Any:
        """The store through which ranks find each other, once all of them are there.

        torch can wait for that itself, but then hears no signal.
        """
        import torch.distributed as dist

        deadline = time.monotonic() + JOIN_SECONDS

        def wait_until(reached: Callable[[], bool]) -> None:
            while not reached():
                if signal := stop():
                    raise InterruptedRunError(f"{signal} before all ranks were there")
                if time.monotonic() > deadline:
                    raise self._lost("they were not there in time")
                time.sleep(LOOK_SECONDS)

        # torchrun has a store of its own at this address, which outlives its restarts.
        is_first = self.place.rank == 0 and "TORCHELASTIC_USE_AGENT_STORE" not in os.environ
        attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
        listening = os.environ.get(LISTENING)
        if not is_first:
            wait_until(lambda: listens(host, port))
        shared = dist.TCPStore(  # type: ignore[attr-defined]  # public, not in __all__
            host,
            port,
            self.place.world,
            is_master=is_first,
            wait_for_workers=False,
            master_listen_fd=int(listening) if listening and is_first else None,
            timeout=datetime.timedelta(seconds=TIMEOUT_SECONDS),
        )
        store = dist.PrefixStore(attempt, shared)  # type: ignore[attr-defined]
        present = [f"rank {i} is here" for i in range(self.place.world)]
        store.set(present[self.place.rank], "")
        wait_until(lambda: store.check(present))
        return store

    def share(self, total: int) -> Share:
        """This rank's environments out of `total`; shares differ by at most one."""
        rank, world = self.place.rank, self.place.world
        start = total * rank // world
        return Share(start, total * (rank + 1) // world - start, total)

    def sum_(self, tensor: Tensor) -> Tensor:
        """The tensor, replaced by its sum over all ranks."""
        if self.place.world > 1:
            import torch.distributed as dist

            here = tensor.to(self.device)
            try:
                dist.all_reduce(here)
            except RuntimeError as error:
                raise self._lost(error) from error
            tensor.copy_(here)
        return tensor

    def mean_and_deviation(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Of all elements on all ranks."""
        first = self.sum_(torch.stack([x.sum(), x.new_tensor(x.numel())]))
        mean = first[0] / first[1]
        square = self.sum_((x - mean).square().sum())
        return mean, (square / (first[1] - 1).clamp(min=1)).sqrt()

    def gather(self, value: Any) -> list[Any]:
        """Every rank's value, in rank order; plain values, arrays and tensors."""
        if self.place.world == 1:
            return [value]
        import torch.distributed as dist

        values: list[Any] = [None] * self.place.world
        try:
            dist.all_gather_object(values, value)
        except RuntimeError as error:
            raise self._lost(error) from error
        return values

    def from_first(self, value: Any) -> Any:
        """Rank 0's value."""
        return self.gather(value)[0]

    def close(self) -> None:
        """Leaves the group."""
        if self.place.world > 1:
            import torch.distributed as dist

            if dist.is_initialized():
                dist.destroy_process_group()

    def _lost(self, why: Exception | str) -> LostRanksError:
        return LostRanksError(
            f"rank {self.place.rank} of {self.place.world} lost the others: {why}",
            hint="look at the first rank that failed; start all ranks again from the checkpoint."
            " If they never met: NCCL_DEBUG=INFO tells over which interface they try, and"
            " NCCL_SOCKET_IFNAME or GLOO_SOCKET_IFNAME names another",
        )


def meeting_point(environment: Mapping[str, str]) -> tuple[str, int]:
    """MASTER_ADDR and MASTER_PORT, where several ranks need them."""
    host, port = (environment.get(name, "") for name in ("MASTER_ADDR", "MASTER_PORT"))
    if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
        raise ConfigError(
            f"several ranks meet at MASTER_ADDR and MASTER_PORT, which are {host!r} and {port!r}",
            hint="in the environment of each: the address of the first, and a free port there",
        )
    return host, int(port)


def listens(host: str, port: int) -> bool:
    """Whether somebody takes connections there."""
    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError:
        return False
    return True


def interface_towards(address: str) -> str | None:
    """The network interface by which this machine reaches `address`; None where that is unknown.

    Gloo takes the one that the host's own name resolves to, which on Debian is the loopback:
    then other machines cannot connect.
    """
    try:
        import fcntl  # not on Windows
    except ImportError:
        return None
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((address, 9))  # sends nothing
        except OSError:
            return None
        wanted = socket.inet_aton(probe.getsockname()[0])
        for _, name in socket.if_nameindex():
            request = struct.pack("256s", name.encode())
            try:
                answer = fcntl.ioctl(probe.fileno(), SIOCGIFADDR, request)
            except OSError:
                continue  # an interface without an address, or not on Linux
            if answer[20:24] == wanted:
                return name
    return None
