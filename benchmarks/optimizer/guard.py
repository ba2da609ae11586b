"""A short form of the benchmark, for CI: is the optimizer as good as it was when last recorded?"""

from collections.abc import Iterator

import numpy as np

from benchmarks.optimizer.peers import PEERS
from benchmarks.optimizer.problem import Problem
from benchmarks.optimizer.problems import FAMILIES
from benchmarks.optimizer.simulate import simulate
from benchmarks.optimizer.table import regret_after

TRIALS, SEEDS, RANDOM_SWEEPS = 25, (100, 101), 8


def ratio_to_random(workers: int, *, draw: int = 0) -> float:
    """Give the mean regret after 25 trials as a share of random search's, over all families.

    `draw` seeds the optimizer, not the problems: over it the ratio varies as it does between
    machines, whose last digits differ.
    """
    ours, chance = [], []
    for problem, seed in _problems():
        ours.append(_regret("protein", problem, workers, seed + 1000 * draw))
        chance += [
            _regret("random", problem, workers, seed + 1000 * k) for k in range(RANDOM_SWEEPS)
        ]
    return float(np.mean(ours) / np.mean(chance))


def _problems() -> Iterator[tuple[Problem, int]]:
    for problems in FAMILIES.values():
        for seed in SEEDS:
            for problem in problems(seed):
                yield problem, seed


def _regret(peer: str, problem: Problem, workers: int, seed: int) -> float:
    optimizer = PEERS[peer](problem.space, seed)
    trace, _ = simulate(problem, optimizer, workers=workers, trials=TRIALS, seed=seed)
    rows = [(one.at, one.cost, one.score, one.truth) for one in trace]
    line = {"trace": rows, "best": problem.best, "typical": problem.typical}
    return regret_after(line, lambda *_: False)
