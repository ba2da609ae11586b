"""What one request to SkyPilot costs: seconds, and CPU seconds of whoever works for it.

    python -m benchmarks.skypilot_calls

Brings up a Slurm of two nodes with SkyPilot's API server on this machine (root on Debian), with one
cluster on it, and prints a table in Markdown. What else the server and the nodes did meanwhile is
in their CPU: the first rows say how much that is.
"""

import contextlib
import io
import os
import time
from collections.abc import Callable, Iterator

from benchmarks.skypilot_modes import spent_by
from tests.infra.slurm.site import NEEDED_PATCHES, Slurm, slurm_site

CLUSTER = "measured"
IDLE_SECONDS = 20.0
Request = tuple[str, int, Callable[[], object]]


def requests() -> Iterator[Request]:
    """Give each request's name, how often it is asked, and itself with its answer."""
    import sky
    import sky.jobs

    def task(run: str) -> sky.Task:
        config = {"resources": {"infra": "slurm/loopback", "cpus": 1}, "run": run}
        return sky.Task.from_yaml_config(config)

    def launch() -> object:
        last = {"idle_minutes_to_autostop": 10, "down": True}
        return sky.get(sky.launch(task("sleep infinity"), cluster_name=CLUSTER, **last))

    def log() -> object:
        return sky.tail_logs(CLUSTER, 1, follow=False, output_stream=io.StringIO())

    def managed() -> object:
        fields = ["job_id", "job_name", "status"]
        return sky.get(sky.jobs.queue_v2(refresh=False, fields=fields))

    fresh = sky.StatusRefreshMode.FORCE
    yield "nothing", 1, lambda: time.sleep(IDLE_SECONDS)
    yield "launch", 1, launch
    yield "nothing, while a job runs", 1, lambda: time.sleep(IDLE_SECONDS)
    yield "queue of a cluster", 3, lambda: sky.get(sky.queue(CLUSTER))
    yield "log of a job", 2, log
    yield "exec", 2, lambda: sky.get(sky.exec(task("true"), cluster_name=CLUSTER))
    yield "queue of managed jobs", 3, managed
    yield "known clusters", 3, lambda: sky.get(sky.status([CLUSTER]))
    yield "clusters, asked of Slurm", 2, lambda: sky.get(sky.status([CLUSTER], refresh=fresh))
    yield "which requests are done", 20, lambda: sky.api_status(limit=5)
    yield "down", 1, lambda: sky.get(sky.down(CLUSTER))


def measured(site: Slurm, times: int, ask: Callable[[], object]) -> list[float]:
    """Return seconds, and CPU seconds of this process, the server and the nodes, of one request."""
    before, own, began = spent_by(site), time.process_time(), time.monotonic()
    with contextlib.redirect_stdout(io.StringIO()):
        for _ in range(times):
            ask()
    seconds, own = time.monotonic() - began, time.process_time() - own
    after = spent_by(site)
    spent = (seconds, own, after.server - before.server, after.nodes - before.nodes)
    return [value / times for value in spent]


def main() -> None:
    """Print the table."""
    with slurm_site(NEEDED_PATCHES) as site:
        os.environ.update(site.env)
        os.chdir(site.home)
        print("| request | s | CPU s: client | server | nodes | load |\n|---|---|---|---|---|---|")
        for name, times, ask in requests():
            seconds, own, server, nodes = measured(site, times, ask)
            load = os.getloadavg()[0]
            print(
                f"| {name} | {seconds:.1f} | {own:.2f} | {server:.1f} | {nodes:.1f} | {load:.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
