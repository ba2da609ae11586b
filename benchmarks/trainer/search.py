"""Protein against random search, where each trial is a real training: best score for what it cost.

Sweeps of a shipped sweep file, one trial after the other in one process, so that importing torch,
the same for both, is paid once. The cost of a trial is the CPU time of its training and scoring;
to it comes the CPU time in which the method made up its mind. Sweep s trains with seed s: the two
methods meet the same luck. Each finished trial is a line in FILE, and the same command goes on
where it was stopped. `figure` draws what FILE holds, and prints the table beside it.

    pip install -e '.[trainer,benchmarks]'
    OMP_NUM_THREADS=1 python -m benchmarks.trainer.search run FILE
    python -m benchmarks.trainer.search figure FILE docs/protein-against-random.svg
"""

import argparse
import bisect
import contextlib
import itertools
import json
import math
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.chart import Line, Panel, draw
from launcher.config import SweepConfig, load, trial_parameters
from protein.observation import Observation
from protein.settings import Settings
from protein.space import Space
from protein.suggest import seed_for, suggest

METHODS = ("protein", "random")


@dataclass(frozen=True)
class Trial:
    """One line of the file. `score` is None where the training diverged; costs are CPU seconds."""

    method: str
    seed: int
    number: int
    params: dict[str, Any]
    score: float | None
    cost: float
    thinking: float


def train_once(values: Mapping[str, Any]) -> tuple[float | None, float]:
    """Score and CPU seconds of one training, in this process, without its files."""
    import torch

    from trainer.checkpoint import Checkpoints
    from trainer.errors import DivergedError
    from trainer.parse import parse
    from trainer.ranks import Place, Ranks
    from trainer.train import Surroundings, train
    from trainer.tree import Leaf

    config = parse([Leaf(key, value, key) for key, value in values.items()])
    device = torch.device("cpu")
    ranks = Ranks(Place(), run_id="", device=device)
    started = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        checkpoints = Checkpoints(Path(folder), keep=1)
        around = Surroundings(device, ranks, checkpoints, lambda _step, _metrics: None, lambda: "")
        try:
            score: float | None = train(config, around)["reward"]
        except DivergedError:
            score = None
    return score, time.process_time() - started


def next_trial(config: SweepConfig, method: str, seed: int, known: Sequence[Trial]) -> Trial:
    """The trial that follows `known`, the sweep's trials so far."""
    observed = [Observation(t.params, t.score, t.cost, is_failure=t.score is None) for t in known]
    settings = Settings(
        goal=config.sweep.goal, num_random_samples=config.sweep.num_random_samples, method=method
    )
    number = len(known) + 1
    began = time.process_time()
    space = Space.from_dict(config.sweep.tuned)
    params = dict(suggest(space, settings, observed, [], seed_for(seed, number)).params)
    thinking = time.process_time() - began
    values = {**trial_parameters(config, params), "seed": seed}
    return Trial(method, seed, number, params, *train_once(values), thinking)


def read(file: Path) -> list[Trial]:
    """The trials in a file; a line that a kill cut off is none."""
    trials = []
    for line in file.read_text().splitlines() if file.exists() else ():
        with contextlib.suppress(ValueError):
            trials.append(Trial(**json.loads(line)))
    return trials


def run(file: Path, config: SweepConfig, seeds: Sequence[int], count: int) -> None:
    """Run what the file lacks, seed after seed, the two methods in turn."""
    done: dict[tuple[str, int], list[Trial]] = {}
    for trial in read(file):
        done.setdefault((trial.method, trial.seed), []).append(trial)
    for seed, number, method in itertools.product(seeds, range(1, count + 1), METHODS):
        known = done.setdefault((method, seed), [])
        if number > len(known):
            known.append(next_trial(config, method, seed, known))
            with file.open("a") as out:
                out.write(json.dumps(asdict(known[-1])) + "\n")


@dataclass(frozen=True)
class Curve:
    """Best score so far of one sweep after so many CPU seconds, both rising."""

    seconds: Sequence[float]
    best: Sequence[float]

    @classmethod
    def of(cls, trials: Sequence[Trial]) -> "Curve":
        """Thinking counts as training does; a training that diverged scores 0, the task's worst."""
        scores = (0.0 if t.score is None else t.score for t in trials)
        seconds = itertools.accumulate(t.cost + t.thinking for t in trials)
        return cls(list(seconds), list(itertools.accumulate(scores, max)))

    def at(self, seconds: float) -> float:
        """The best score by then; that of the first trial before it is over."""
        return self.best[max(0, bisect.bisect_right(self.seconds, seconds) - 1)]

    def seconds_to(self, score: float) -> float:
        """When the best score came to be this good; infinite if it never did."""
        reached = (s for s, b in zip(self.seconds, self.best, strict=True) if b >= score)
        return next(reached, math.inf)


def curves(trials: Sequence[Trial]) -> dict[str, list[Curve]]:
    """Curves of each method, in the order of seeds that both have."""
    by: dict[tuple[str, int], list[Trial]] = {}
    for trial in trials:
        by.setdefault((trial.method, trial.seed), []).append(trial)
    seeds = sorted(seed for method, seed in by if method == METHODS[0])
    seeds = [seed for seed in seeds if all((method, seed) in by for method in METHODS)]
    return {m: [Curve.of(by[m, seed]) for seed in seeds] for m in METHODS}


def table(found: Mapping[str, Sequence[Curve]], target: float) -> str:
    """Best scores at equal cost, seed against seed, and what it cost to come to `target`.

    ±: the standard error of the mean of the differences.
    """
    end = min(curve.seconds[-1] for each in found.values() for curve in each)
    lines = [
        "| CPU seconds | " + " | ".join(found) + " | difference | Protein ahead |",
        "|---|---|---|---|---|",
    ]
    for share in (0.1, 0.25, 0.5, 1.0):
        best = {m: [curve.at(share * end) for curve in each] for m, each in found.items()}
        told = [f"{statistics.mean(b):.0f} ({min(b):.0f} – {max(b):.0f})" for b in best.values()]
        gains = [a - b for a, b in zip(*(best[m] for m in METHODS), strict=True)]
        error = statistics.stdev(gains) / len(gains) ** 0.5
        lines.append(
            f"| {share * end:.0f} | {' | '.join(told)} | {statistics.mean(gains):.0f} ± {error:.0f}"
            f" | {sum(gain > 0 for gain in gains)} of {len(gains)} |"
        )
    for method, each in found.items():
        reached = sorted(curve.seconds_to(target) for curve in each)
        lines.append(
            f"{method}: CPU seconds to {target:g}: {', '.join(f'{s:.0f}' for s in reached)}"
        )
    return "\n".join(lines)


def panel(found: Mapping[str, Sequence[Curve]]) -> Panel:
    """Mean best score over cost, with the range of the sweeps behind each line.

    Lines begin where each sweep has a score, and end where the first has spent what it cost.
    """
    begin = max(curve.seconds[0] for each in found.values() for curve in each)
    end = min(curve.seconds[-1] for each in found.values() for curve in each)
    grid = [begin + (end - begin) * n / 300 for n in range(301)]
    lines = []
    for method, each in found.items():
        rows = [[curve.at(x) for curve in each] for x in grid]
        name = f"{method}: mean and range of {len(each)} sweeps"
        mean = [statistics.mean(row) for row in rows]
        lines.append(Line(name, grid, mean, [min(row) for row in rows], [max(row) for row in rows]))
    return Panel("CPU seconds of training, scoring and suggesting", "best reward so far", lines)


def main() -> None:
    """Run sweeps, or draw them."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    running = commands.add_parser("run")
    running.add_argument("file", type=Path)
    running.add_argument("--sweep", default="demo_sweep")
    running.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    running.add_argument("--trials", type=int, default=60)
    running.add_argument("--set", action="append", default=[], metavar="key=value")
    drawing = commands.add_parser("figure")
    drawing.add_argument("file", type=Path)
    drawing.add_argument("picture", type=Path)
    drawing.add_argument("--target", type=float, default=450.0)
    options = parser.parse_args()
    if options.command == "figure":
        found = curves(read(options.file))
        draw(options.picture, "Protein against random search", [panel(found)])
        print(table(found, options.target))
        return
    import torch

    torch.set_num_threads(1)
    config = load(options.sweep, overrides=options.set)
    if config.sweep.goal != "maximize":
        raise SystemExit("the figure shows sweeps that maximise")
    run(options.file, config, options.seeds, options.trials)


if __name__ == "__main__":
    main()
