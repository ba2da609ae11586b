"""CPU time of a suggestion, fit included, on one thread: median over fresh histories."""

import time
from collections.abc import Mapping

import numpy as np

from protein import Observation, Settings, Space
from protein.observation import Value
from protein.suggest import Memo, seed_for, suggest


def history(n: int, d: int, seed: int) -> tuple[Space, list[Observation]]:
    """Give a space of d parameters and n observations of a noisy bowl, a tenth of them failed."""
    rng = np.random.default_rng(seed)
    space = Space.from_dict({f"x{i}": {"min": 0.0, "max": 1.0} for i in range(d)})
    observed = []
    for _ in range(n):
        u = rng.random(d)
        score = -float(((u - 0.3) ** 2).sum()) + 0.05 * rng.standard_normal()
        cost = float(np.exp(3 * u[0]))
        observed.append(Observation(space.from_unit(tuple(u)), score, cost, bool(u[1] > 0.9)))
    return space, observed


def speed(d: int = 10, repeats: int = 3) -> str:
    """Print the table of seconds for growing histories, and for a batch."""
    lines = ["| observations | suggestions | CPU seconds |", "|---|---|---|"]
    for n, batch in ((20, 1), (100, 1), (500, 1), (1000, 1), (5000, 1), (500, 64)):
        times = []
        for seed in range(repeats):
            space, observed = history(n, d, seed)
            memo = Memo()
            pending: list[Mapping[str, Value]] = []
            start = time.process_time()
            for k in range(batch):
                told = suggest(space, Settings(), observed, pending, seed_for(seed, k), memo=memo)
                pending.append(told.params)
            times.append(time.process_time() - start)
        lines.append(f"| {n} | {batch} | {np.median(times):.3f} |")
    return "\n".join(lines)
