"""Run as `python -m benchmarks.scale`: figures, and ratios against Optuna's storages.

Everything is measured in the same run on the same machine, on the disk that holds `--folder`. Our
trials are whole ones: suggestion, intent, submission, start, end, each a durable commit, and the
files of a run folder; the cluster is simulated, in virtual time. Optuna's trials are those of
`study.ask` and `study.tell` with a random sampler. Without Optuna only our own figures are shown.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from benchmarks.scale.peers import PEERS
from benchmarks.scale.sweeps import in_flight, no_op_trials, resumed, swept
from launcher import sweep
from launcher.folder import SweepFolder


def main() -> None:
    """Measure, print a table, and with --json the figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--peer-trials", type=int, default=1_000, help="of Optuna's storages")
    parser.add_argument("--folder", type=Path, help="on the disk to measure; default: temporary")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        figures = dict(measured(Path(folder), options.trials, options.peer_trials))
    if options.json:
        print(json.dumps(figures, indent=1))
    else:
        for name, figure in figures.items():
            print(f"{name:58} {figure:12.4g}")


def measured(folder: Path, trials: int, peer_trials: int) -> Iterator[tuple[str, float]]:
    """Yield named figures: seconds of the wall, and of CPU, which other work disturbs less."""
    yield "load average when it began", os.getloadavg()[0]
    wall, cpu = timed(lambda: swept(folder / "sweep", trials))
    yield f"{trials} trials, wall s", wall
    yield f"{trials} trials, CPU s", cpu
    per_trial = cpu / trials
    yield "one trial, CPU ms", 1e3 * per_trial
    yield "peak memory, MB", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    for name, work in {
        "read the state": lambda: sweep.read(SweepFolder(folder / "sweep")),
        "`status --json` as a process": lambda: status(folder / "sweep"),
        "resume up to the first look": lambda: resumed(folder / "sweep"),
    }.items():
        wall, cpu = timed(work)
        yield f"{name}, wall s", wall
        yield f"{name}, CPU s", cpu
    wall, cpu = timed(lambda: in_flight(folder / "wide", 1000))
    yield "1000 trials in flight at once, wall s", wall
    yield "1000 trials in flight at once, CPU s", cpu
    began = time.perf_counter()
    seconds = no_op_trials(folder / "local", 20)
    yield "20 local no-op trials one by one, wall s", time.perf_counter() - began
    yield "of it coordinator CPU per trial, ms", 1e3 * seconds / 20
    for name, run in PEERS.items():
        try:
            wall, cpu = timed(partial(run, folder / name, peer_trials))
        except ImportError:
            print(f"{name}: not installed (pip install 'protein-sky[benchmarks]')", file=sys.stderr)
            continue
        yield f"{name}: {peer_trials} trials, wall s", wall
        yield f"{name}: one trial, CPU ms", 1e3 * cpu / peer_trials
        yield f"{name}: its CPU per trial / ours", cpu / peer_trials / per_trial


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Return the seconds of wall and of CPU that some work takes, its ended children included."""
    wall, cpu = time.perf_counter(), cpu_seconds()
    work()
    return time.perf_counter() - wall, cpu_seconds() - cpu


def cpu_seconds() -> float:
    """Return the CPU that this process and its ended children have used."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def status(folder: Path) -> None:
    """Ask for a sweep's status as a user would."""
    with train_dir_of(folder) as environment:
        command = [sys.executable, "-m", "launcher", "status", folder.name, "--json"]
        subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)


@contextmanager
def train_dir_of(folder: Path) -> Iterator[dict[str, str]]:
    """Give an environment in which the command line finds this sweep."""
    with tempfile.TemporaryDirectory() as train_dir:
        (Path(train_dir) / "sweep").mkdir()
        (Path(train_dir) / "sweep" / folder.name).symlink_to(folder.resolve())
        yield {**os.environ, "PROTEIN_TRAIN_DIR": train_dir}


if __name__ == "__main__":
    main()
