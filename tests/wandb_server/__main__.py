"""Bring the stand-in up by hand: `python -m tests.wandb_server` prints what to export.

It runs until Ctrl-C, and then says what it holds and what it did not understand.
"""

import contextlib
import json
import threading

from tests.wandb_server.server import wandb_server


def main() -> None:
    """Serve until interrupted."""
    with wandb_server() as server:
        for name, value in server.environ.items():
            print(f"export {name}={value}", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()
        for sweep in server.store.sweeps.values():
            print(f"sweep {sweep.name}: {sweep.display_name}")
        for run in server.store.runs.values():
            place = f"{run.project}/{run.name} ({run.state}, group {run.group}, sweep {run.sweep})"
            print(place, run.tags, json.dumps(run.values), json.dumps(run.summary), sep="\n  ")
        print(f"{len(server.operations)} requests", *server.errors, sep="\n")


if __name__ == "__main__":
    main()
