"""Which node this machine is, where a user starts the nodes of each trial by hand.

NODE_INDEX=0 NUM_NODES=2 protein-sky launch x    the coordinator, and node 0 of every trial
NODE_INDEX=1 NUM_NODES=2 protein-sky launch x    node 1, on a machine that sees the same folder
"""

from collections.abc import Mapping
from dataclasses import dataclass

from launcher.errors import UsageError


@dataclass(frozen=True, slots=True)
class Place:
    """Node `index` of `count`; the others reach node 0 at `master_addr`.

    `master_port` None: node 0 takes a free one for each attempt.
    """

    index: int
    count: int
    master_addr: str
    master_port: int | None = None

    @property
    def is_worker(self) -> bool:
        """Whether the coordinator is on another machine."""
        return self.index > 0


def by_hand(environ: Mapping[str, str]) -> Place | None:
    """Return the place that NODE_INDEX, NUM_NODES, MASTER_ADDR and MASTER_PORT say, None if alone.

    Raises UsageError for values that make no sense.
    """
    count = _number(environ, "NUM_NODES", at_least=1, otherwise=1)
    index = _number(environ, "NODE_INDEX", at_least=0, otherwise=0)
    if index >= count:
        raise UsageError(
            f"NODE_INDEX={index} is not one of NUM_NODES={count}",
            hint="nodes count from 0: NODE_INDEX=1 NUM_NODES=2 is the second of two",
        )
    if count == 1:
        return None
    port = _number(environ, "MASTER_PORT", at_least=1, otherwise=0) or None
    return Place(index, count, environ.get("MASTER_ADDR") or _own_address(), port)


def _number(environ: Mapping[str, str], name: str, *, at_least: int, otherwise: int) -> int:
    text = environ.get(name) or str(otherwise)
    if not (text.isascii() and text.isdigit()) or (environ.get(name) and int(text) < at_least):
        raise UsageError(
            f"{name}={text!r} is not a whole number from {at_least} on", hint=f"unset {name}"
        )
    return int(text)


def _own_address() -> str:
    """An address of this machine that others may reach: not its loopback, where there is one."""
    import socket

    try:
        found = socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)
    except OSError:
        return "127.0.0.1"
    addresses = [str(address[4][0]) for address in found]
    return next((a for a in addresses if not a.startswith("127.")), "127.0.0.1")
