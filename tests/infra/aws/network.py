"""Network namespaces: made, entered, and removed with all that runs in them."""

import ctypes
import os
import signal
import subprocess
from pathlib import Path

from tests.launcher.waiting import eventually

CLONE_NEWNET = 0x40000000


def ip(*arguments: str) -> str:
    """Run iproute2's `ip`."""
    return subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True).stdout


def enter(namespace: str) -> None:
    """This thread, and what it starts, are in the namespace from now on (`man 2 setns`)."""
    libc = ctypes.CDLL(None, use_errno=True)
    with Path(f"/run/netns/{namespace}").open() as file:
        if libc.setns(file.fileno(), CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"setns {namespace}")


def named(prefix: str) -> list[str]:
    """The namespaces of this machine whose names begin so; the shortest name first."""
    names = [line.split()[0] for line in ip("netns", "list").splitlines()]
    return sorted((name for name in names if name.startswith(prefix)), key=len)


def family(namespace: str) -> list[str]:
    """The namespace, if it is there, then those whose names go on with a dash."""
    relatives = named(f"{namespace}-")
    return [name for name in named(namespace) if name == namespace or name in relatives]


def remove(namespace: str) -> None:
    """First end every process in it."""
    end_all(namespace)
    ip("netns", "delete", namespace)


def end_all(namespace: str, *, but: frozenset[int] = frozenset()) -> None:
    """SIGKILL to every process in the namespace, but for some, until there is none."""
    eventually(lambda: not _end_once(namespace, but), seconds=60)


def _end_once(namespace: str, but: frozenset[int]) -> set[int]:
    pids = {int(line) for line in ip("netns", "pids", namespace).split()} - but
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue  # it ended by itself
    return pids
