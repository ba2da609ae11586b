"""What an optimizer is measured on."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

Params = Mapping[str, Any]


@dataclass(frozen=True)
class Trial:
    """What one trial gave: a noisy score (None if it failed) and its cost."""

    score: float | None
    cost: float


@dataclass(frozen=True)
class Problem:
    """A function to maximise.

    `truth` is its score without noise, `cost` what a trial costs and `fails` whether it fails.
    `best` is the highest truth that does not fail; `typical` is the median of random trials, so
    that regret is 1 there and 0 at the best. Real data has `draw`, a trial's outcome as it was
    measured, in the place of `noise`, `cost` and `fails`.
    """

    name: str
    family: str
    space: Mapping[str, Any]
    truth: Callable[[Params], float]
    best: float
    typical: float
    noise: float = 0.0
    cost: Callable[[Params], float] = lambda _: 1.0
    fails: Callable[[Params], bool] = lambda _: False
    draw: Callable[[Params, np.random.Generator], Trial] | None = None

    def run(self, params: Params, rng: np.random.Generator) -> Trial:
        """Run one trial."""
        if self.draw is not None:
            return self.draw(params, rng)
        noise = self.noise * rng.standard_normal()
        if self.fails(params):
            return Trial(None, self.cost(params) * rng.uniform(0.1, 1.0))
        return Trial(self.truth(params) + noise, self.cost(params))

    def regret(self, truth: float) -> float:
        """Scale a true score: 0 is the best there is, 1 the median of random trials."""
        return max(0.0, (self.best - truth) / (self.best - self.typical))
