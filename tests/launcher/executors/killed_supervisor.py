"""The supervisor, but killed before its KILL_AT-th call of the operating system (not its nodes)."""

import importlib.util
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

# Not those by which it looks whether something has ended: how many it takes is a matter of time.
CALLS = ("fork", "open", "close", "write", "fsync", "replace", "pipe", "dup2")
SUPERVISOR_DEPTH = 1  # it forks once to leave its starter, once more for each node

depth, count = 0, 0


def counted(function: Callable[..., Any], *, forks: bool) -> Callable[..., Any]:
    def call(*arguments: Any) -> Any:
        global depth, count
        if depth == SUPERVISOR_DEPTH:
            count += 1
            if count == int(os.environ["KILL_AT"]):
                os.kill(os.getpid(), signal.SIGKILL)
        result = function(*arguments)
        if forks and result == 0:
            depth += 1
        return result

    return call


spec = importlib.util.spec_from_file_location("supervisor", os.environ["SUPERVISOR"])
assert spec is not None
assert spec.loader is not None
supervisor = importlib.util.module_from_spec(spec)
spec.loader.exec_module(supervisor)
for name in CALLS:
    setattr(os, name, counted(getattr(os, name), forks=name == "fork"))
sys.exit(supervisor.main(sys.argv[1:]))
