"""How long trials take to start in the four ways to place them on SkyPilot, and what that costs.

    python -m benchmarks.skypilot_modes [--modes reused_clusters,pool] [--in-a-row 3]
        [--at-once 10] [--limit 900]

Brings up a Slurm of two nodes with SkyPilot's API server on this machine (root on Debian), and
launches two sweeps for each way, of trials that do nothing: `--in-a-row` one after the other, and
`--at-once` of them all at once, each of which may be a cluster of its own. Prints a table in
Markdown, and what each sweep gave as soon as it is over. Times are those of the trials' own
programs; CPU and memory those of all processes of the API server (PSS, at its most), of the
coordinator, and of the nodes.

Unlike the tests' site, this one looks at managed jobs as seldom as SkyPilot does by itself; it has
one process of the jobs controller.
"""

import argparse
import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil

from tests.infra.slurm.site import NEEDED_PATCHES, Slurm, slurm_site
from tests.infra.slurm.sweeps import LONG, SlurmSweep
from tests.launcher.waiting import eventually

MODES: dict[str, dict[str, Any]] = {
    "reused_clusters": {"mode": "reused_clusters"},
    "managed_jobs": {"mode": "managed_jobs"},
    "pool": {"mode": "managed_jobs", "pool": "own"},
    "cluster_per_trial": {"mode": "cluster_per_trial"},
}
PROGRAM = """\
echo "$(date +%s.%N)" >> "$EVIDENCE/times"
echo '{"schema_version": 1, "metrics": {"score": 1}}' > "$PROTEIN_RUN_DIR/result.json"
"""
COLUMNS = (
    "mode",
    "first start, s",
    "trial to trial, s",
    "{n} at once: first, last start, s",
    "nothing left, s",
    "server: GiB, CPU s a trial",
    "nodes: CPU s a trial",
    "ours, start and report included: CPU s a trial",
    "ours / server's CPU",
)


@dataclass(frozen=True, slots=True)
class Spent:
    """CPU seconds until now, by who spent them; and the server's memory in bytes."""

    server: float
    nodes: float
    server_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Measured:
    """One sweep: seconds from its launch to each start of a trial and to the last allocation."""

    starts: list[float]
    gone_at: float
    spent: Spent
    own_cpu_seconds: float


def spent_by(site: Slurm, *, with_memory: bool = False) -> Spent:
    """Look at all processes of the site.

    Those of the nodes have a process namespace of their own. The others are the server's, but for
    Slurm's own daemons: seconds. What has ended counts with whoever waited for it.
    """
    outer = _namespace(site.process.pid, "pid_for_children")
    server = nodes = 0.0
    memory = 0
    for process in psutil.Process(site.process.pid).children(recursive=True):
        try:
            times = process.cpu_times()
            seconds = times.user + times.system + times.children_user + times.children_system
            if _namespace(process.pid, "pid") != outer:
                nodes += seconds
            else:
                server += seconds
                memory += process.memory_full_info().pss if with_memory else 0
        except (psutil.Error, OSError):
            continue  # it has just ended
    return Spent(server, nodes, memory)


def _namespace(pid: int, kind: str) -> str:
    return str(Path(f"/proc/{pid}/ns/{kind}").readlink())


@contextmanager
def memory_watched(site: Slurm) -> Iterator[list[int]]:
    """The server's memory, looked at every few seconds: it costs CPU itself."""
    seen, is_over = [0], threading.Event()

    def watch() -> None:
        while not is_over.wait(10):
            seen.append(spent_by(site, with_memory=True).server_bytes)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        is_over.set()
        thread.join()


def measure(
    site: Slurm, name: str, mode: str, *, trials: int, parallel: int, limit: float
) -> Measured:
    """Launch one sweep and wait for its end, at most so many seconds."""
    sweep = SlurmSweep(site, name)
    cases = [f"plain-{number}" for number in range(trials)]
    task = {"run": PROGRAM, "resources": {"cpus": 1}}
    sweep.write(cases=cases, parallel=parallel, execution=MODES[mode], task=task)
    try:
        before, own = spent_by(site), resource.getrusage(resource.RUSAGE_CHILDREN)
        launched_at = time.time()
        sweep.launch()
        with memory_watched(site) as memory:
            code = sweep.wait(limit)
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert code == 0, sweep.said()
        eventually(lambda: not sweep.allocations(), seconds=limit)
        gone_at = time.time() - launched_at
        after = spent_by(site)
    finally:
        sweep.end()
    times = map(float, (sweep.evidence / "times").read_text().split())
    spent = Spent(after.server - before.server, after.nodes - before.nodes, max(memory))
    own_seconds = used.ru_utime + used.ru_stime - own.ru_utime - own.ru_stime
    measured = Measured(sorted(t - launched_at for t in times), gone_at, spent, own_seconds)
    print(f"{name}, load {os.getloadavg()[0]:.1f}: {measured}", file=sys.stderr, flush=True)
    return measured


def row(site: Slurm, mode: str, in_a_row: int, at_once: int, limit: float) -> list[str]:
    """Return the table's line of one mode."""
    name = mode.replace("_", "-")
    cells, sweeps = [mode, "", "", ""], []
    if in_a_row:
        line = measure(site, f"{name}-row", mode, trials=in_a_row, parallel=1, limit=limit)
        gaps = [after - before for before, after in pairwise(line.starts)]
        cells[1:3] = f"{line.starts[0]:.0f}", "–".join(f"{gap:.0f}" for gap in sorted(gaps))
        sweeps.append(line)
    if at_once:
        crowd = measure(site, f"{name}-crowd", mode, trials=at_once, parallel=at_once, limit=limit)
        cells[3] = f"{crowd.starts[0]:.0f}, {crowd.starts[-1]:.0f}"
        sweeps.append(crowd)
    trials = in_a_row + at_once
    server = sum(sweep.spent.server for sweep in sweeps)
    nodes = sum(sweep.spent.nodes for sweep in sweeps)
    own = sum(sweep.own_cpu_seconds for sweep in sweeps)
    memory = max(sweep.spent.server_bytes for sweep in sweeps) / 2**30
    return [
        *cells,
        ", ".join(f"{sweep.gone_at:.0f}" for sweep in sweeps),
        f"{memory:.1f}, {server / trials:.1f}",
        f"{nodes / trials:.1f}",
        f"{own / trials:.2f}",
        f"{own / server:.1%}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--modes", default=",".join(MODES), help=f"of {', '.join(MODES)}")
    parser.add_argument("--in-a-row", type=int, default=3, help="0: leave this out")
    parser.add_argument("--at-once", type=int, default=10, help="0: leave this out")
    parser.add_argument("--limit", type=float, default=LONG, help="seconds for each sweep")
    options = parser.parse_args()
    if not options.in_a_row and not options.at_once:
        parser.error("--in-a-row and --at-once are both 0: nothing is left to measure")
    began, load = time.monotonic(), os.getloadavg()[0]
    with slurm_site(NEEDED_PATCHES) as site:
        print(f"up after {time.monotonic() - began:.0f} s, load before {load:.1f}\n", flush=True)
        print(_line(column.format(n=options.at_once) for column in COLUMNS))
        print(_line("---" for _ in COLUMNS), flush=True)
        for mode in options.modes.split(","):
            try:
                cells = row(site, mode, options.in_a_row, options.at_once, options.limit)
            except (AssertionError, subprocess.TimeoutExpired) as problem:  # the others go on
                cells = [mode, " ".join(str(problem).split())[-300:]]
            print(_line(cells), flush=True)
    print(f"\nAll in {time.monotonic() - began:.0f} s; load after {os.getloadavg()[0]:.1f}.")


def _line(cells: Iterator[str] | list[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
