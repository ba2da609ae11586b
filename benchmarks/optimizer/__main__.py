"""The command: `python -m benchmarks.optimizer run|table|figure|speed|warm|guard`."""

import argparse
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.optimizer.bbob import bbob
from benchmarks.optimizer.classic import classic, paths
from benchmarks.optimizer.figure import figure
from benchmarks.optimizer.guard import ratio_to_random
from benchmarks.optimizer.live import live
from benchmarks.optimizer.peers import PEERS
from benchmarks.optimizer.problems import FAMILIES
from benchmarks.optimizer.simulate import simulate
from benchmarks.optimizer.speed import speed
from benchmarks.optimizer.table import TRIALS, table
from benchmarks.optimizer.tabular import tabular
from benchmarks.optimizer.warm import warm
from benchmarks.optimizer.yahpo import DATA, yahpo

HELD_OUT = {"bbob": bbob, "classic": classic, "paths": paths, "tabular": tabular, "live": live}
EVERY = FAMILIES | HELD_OUT | {"yahpo": yahpo}
AT_HAND = [family for family in EVERY if family != "yahpo" or DATA in os.environ]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.optimizer", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="run sweeps; those already in the file are left out")
    run.add_argument("--peers", nargs="+", default=["protein", "random"], choices=PEERS)
    run.add_argument("--label", help="a name for the only peer, in place of its own")
    run.add_argument("--families", nargs="+", default=AT_HAND, choices=EVERY)
    run.add_argument("--problems", nargs="+", help="only those whose names begin so")
    run.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    run.add_argument("--trials", type=int, default=max(TRIALS))
    run.add_argument("--workers", type=int, nargs="+", default=[1])
    show = commands.add_parser("table", help="print the table of a file")
    show.add_argument("--by-problem", action="store_true", help="each problem, not each family")
    picture = commands.add_parser("figure", help="draw regret over trials and over cost")
    picture.add_argument("picture", type=Path, help="the SVG file to write")
    for command in (show, picture):
        command.add_argument("--peers", nargs="+", help="only these")
        command.add_argument("--trials", type=int, default=max(TRIALS), help="of sweeps of so many")
    commands.add_parser("speed", help="print the CPU time of suggestions")
    guard = commands.add_parser("guard", help="print regret as a share of random search's")
    guard.add_argument("--draws", type=int, default=1, help="of the optimizer's seed: the noise")
    commands.add_parser("warm", help="print what earlier sweeps are worth")
    for command in (run, show, picture):
        default = Path("benchmarks/results/sweeps.jsonl")
        command.add_argument(
            "--file", type=Path, nargs=None if command is run else "+", default=default
        )
    arguments = parser.parse_args()
    if arguments.command == "run":
        _run(arguments)
    elif arguments.command == "speed":
        print(speed())
    elif arguments.command == "guard":
        for workers in (1, 8):
            shares = [ratio_to_random(workers, draw=draw) for draw in range(arguments.draws)]
            print(f"{workers} workers:", *(f"{share:.3f}" for share in shares), flush=True)
    elif arguments.command == "warm":
        print(warm())
    else:
        files = arguments.file if isinstance(arguments.file, list) else [arguments.file]
        lines = [line for file in files for line in _read(file)]
        peers = arguments.peers or sorted({line["peer"] for line in lines})
        chosen = [line for line in lines if line["peer"] in peers]
        if arguments.command == "figure":
            figure(arguments.picture, chosen, trials=arguments.trials)
        else:
            print(table(chosen, trials=arguments.trials, by_problem=arguments.by_problem))


def _read(file: Path) -> list[dict[str, Any]]:
    if not file.exists():
        return []
    return [json.loads(line) for line in file.read_text().splitlines()]


def _run(arguments: argparse.Namespace) -> None:
    keys = ("peer", "family", "problem", "seed", "workers", "trials")
    done = {tuple(line[key] for key in keys) for line in _read(arguments.file)}
    arguments.file.parent.mkdir(parents=True, exist_ok=True)
    for family, seed, problem, workers, peer in _plan(arguments):
        label = arguments.label or peer
        if (label, family, problem.name, seed, workers, arguments.trials) in done:
            continue
        optimizer = PEERS[peer](problem.space, seed)
        trace, cpu = simulate(
            problem, optimizer, workers=workers, trials=arguments.trials, seed=seed
        )
        line = {
            "peer": label, "family": family, "problem": problem.name, "seed": seed,
            "workers": workers, "trials": arguments.trials, "cpu_seconds": round(cpu, 3),
            "best": problem.best, "typical": problem.typical,
            "trace": [list(asdict(one).values()) for one in trace],
        }  # fmt: skip
        with arguments.file.open("a") as out:
            out.write(json.dumps(line) + "\n")
        print(f"{label} {problem.name} seed {seed} workers {workers}: {cpu:.1f} s", file=sys.stderr)


def _plan(arguments: argparse.Namespace) -> Iterator[tuple[str, int, Any, int, str]]:
    for seed in arguments.seeds:
        for family in arguments.families:
            for problem in EVERY[family](seed):
                if not problem.name.startswith(tuple(arguments.problems or [""])):
                    continue
                for workers in arguments.workers:
                    for peer in arguments.peers:
                        yield family, seed, problem, workers, peer


if __name__ == "__main__":
    main()
