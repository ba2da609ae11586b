"""A sweep on a simulated clock: workers ask when free, trials take as long as they cost."""

import heapq
import time
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from benchmarks.optimizer.problem import Params, Problem, Trial


class Optimizer(Protocol):
    """A peer: ask for params, tell what came of them. Larger scores are better."""

    def ask(self) -> tuple[Any, Params]: ...

    def tell(self, token: Any, trial: Trial) -> None: ...


@dataclass(frozen=True)
class Finished:
    """One trial as the simulated sweep saw it end. `truth` is None if it failed."""

    at: float
    cost: float
    score: float | None
    truth: float | None


def simulate(
    problem: Problem, optimizer: Optimizer, *, workers: int, trials: int, seed: int
) -> tuple[list[Finished], float]:
    """Run a sweep; give its trials in the order of their ends, and the CPU seconds of asking."""
    noise = [np.random.default_rng([seed, 99, number]) for number in range(trials)]
    running: list[tuple[float, int, Any, Params, Trial]] = []
    finished: list[Finished] = []
    now, started, cpu = 0.0, 0, 0.0
    while started < trials or running:
        while started < trials and len(running) < workers:
            before = time.process_time()
            token, params = optimizer.ask()
            cpu += time.process_time() - before
            trial = problem.run(params, noise[started])
            heapq.heappush(running, (now + trial.cost, started, token, params, trial))
            started += 1
        now, _, token, params, trial = heapq.heappop(running)
        before = time.process_time()
        optimizer.tell(token, trial)
        cpu += time.process_time() - before
        truth = None if trial.score is None else problem.truth(params)
        finished.append(Finished(now, trial.cost, trial.score, truth))
    return finished, cpu
