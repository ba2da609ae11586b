"""A short form of the benchmark, for CI: is the optimizer as good as it was when last recorded?"""

import numpy as np

from benchmarks.optimizer.peers import PEERS
from benchmarks.optimizer.problems import FAMILIES
from benchmarks.optimizer.simulate import simulate
from benchmarks.optimizer.table import regret_after

TRIALS, SEEDS = 25, (100, 101)


def ratio_to_random(workers: int) -> float:
    """Give the mean regret after 25 trials as a share of random search's, over all families."""
    regrets: dict[str, list[float]] = {"protein": [], "random": []}
    for problems in FAMILIES.values():
        for seed in SEEDS:
            for problem in problems(seed):
                for peer, found in regrets.items():
                    trace, _ = simulate(
                        problem,
                        PEERS[peer](problem.space, seed),
                        workers=workers,
                        trials=TRIALS,
                        seed=seed,
                    )
                    rows = [(one.at, one.cost, one.score, one.truth) for one in trace]
                    line = {"trace": rows, "best": problem.best, "typical": problem.typical}
                    found.append(regret_after(line, lambda *_: False))
    return float(np.mean(regrets["protein"]) / np.mean(regrets["random"]))
