# ruff: noqa: F722 - jaxtyping's shapes are strings, not forward references
"""What a trial is worth: log expected improvement, if it does not fail, for its cost.

Everything is a logarithm, so that tiny values keep their order (Ament et al. 2023, "Unexpected
improvements to expected improvement", equation 8), and what is forbidden is -inf, never zero times
something.
"""

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from scipy.special import erfcx, log_ndtr

from protein.encoding import Encoding
from protein.parameter import AUTO_SCALE
from protein.surrogates import LogCost, Surrogates

Array = NDArray[np.float64]
Weight = Callable[[Float[Array, "m d"]], Float[Array, " m"]]

PATIENCE = 1.25
BELIEF = 10.0
_EXPECTED_WITHIN = AUTO_SCALE / 2  # of the range: what `scale: auto` says
_BEYOND_BUDGET = -1e12  # below any logarithm of a probability or an improvement
NO_FLOOR = -sys.float_info.max
ELITE = 8  # rows that a search goes on from
_LOG_SQRT_2PI = 0.5 * math.log(2.0 * math.pi)


def log_h(u: Float[Array, " m"]) -> Float[Array, " m"]:
    """Give log(phi(u) + u Phi(u)), the log of the expected improvement of N(u, 1) over 0."""
    phi = np.exp(-0.5 * u * u - _LOG_SQRT_2PI)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        near = np.log(phi + u * np.exp(log_ndtr(u)))
        tail = math.sqrt(math.pi / 2) * erfcx(-u / math.sqrt(2)) * np.abs(u)
        far = -0.5 * u * u - _LOG_SQRT_2PI + np.log1p(-np.minimum(tail, 1.0 - 1e-16))
        very_far = -0.5 * u * u - _LOG_SQRT_2PI - 2.0 * np.log(np.abs(u))
    value: Array = np.where(u > -1.0, near, np.where(u > -1e3, far, very_far))
    return value


@dataclass(frozen=True, slots=True)
class Acquisition:
    """What rows of the unit cube are worth: log expected improvement over `incumbent`.

    Added are log P(feasible) and `share`, the logarithm of a factor of at most 1: of what is left
    of the budget (see `Share`) and of what the user expects (see `Expected`).
    With a `price`, the logarithm of what a trial costs, the value is worth per price of the rows
    that are worth at least `least`, and -inf of the others. Dividing by price everywhere (expected
    improvement per unit cost) starves sweeps in which only dear trials score well: costs vary a
    thousandfold, an uncertain model's improvements do not.
    """

    encoding: Encoding
    surrogates: Surrogates
    incumbent: float
    share: Weight
    price: Weight | None = None
    least: float = -math.inf

    def __call__(self, U: Float[Array, "m d"], floor: float = NO_FLOOR) -> Float[Array, " m"]:
        """Value rows: the best ELITE exactly, others, or below the floor, by what they are at most.

        Variance and feasibility cost most of the time and only lower what a glance promises: they
        are asked where they decide.
        """
        F, share = self.encoding.features(U), self.share(U)
        price = np.zeros(len(U)) if self.price is None else self.price(U)
        score, log_p = self.surrogates.score, self.surrogates.log_p_feasible

        def valued(worth: Float[Array, " r"], rows: NDArray[np.int64]) -> Float[Array, " r"]:
            return np.where(worth >= self.least, worth - price[rows], -np.inf)

        value = valued(self._improvement(*score.glance(F)) + share, np.arange(len(U)))
        order = np.argsort(-value, kind="stable")
        for chosen in (order[: 2 * ELITE], order[2 * ELITE :]):
            rows = chosen[value[chosen] >= floor]
            if len(rows):
                worth = self._improvement(*score.predict(F[rows])) + share[rows]
                value[rows] = valued(worth, rows)
                likely = value[rows] >= floor
                rows, worth = rows[likely], worth[likely]
                value[rows] = valued(worth + log_p(F[rows]), rows)
            floor = max(floor, enough(value[chosen]))
        return value

    def _improvement(
        self, mean: Float[Array, " m"], variance: Float[Array, " m"]
    ) -> Float[Array, " m"]:
        sd = np.sqrt(variance)
        improvement: Array = np.log(sd) + log_h((mean - self.incumbent) / sd)
        return improvement


def enough(value: Float[Array, " m"]) -> float:
    """Give the least value among the best ELITE; less is of no use."""
    return NO_FLOOR if len(value) < ELITE else float(np.partition(value, -ELITE)[-ELITE])


@dataclass(frozen=True, slots=True)
class Share:
    """The logarithm of the share of the budget that a trial leaves, to be added to its worth.

    Where much is left this changes little. In the end a dear trial must be worth the several
    cheaper ones that it displaces. Of what costs more than is left the cheapest is best.
    """

    encoding: Encoding
    log_cost: LogCost
    left: float

    def __call__(self, U: Float[Array, "m d"]) -> Float[Array, " m"]:
        """Weigh snapped rows of the unit cube."""
        over = self.log_cost.predict(self.encoding.features(U)) - math.log(self.left)
        fits = over < 0.0
        rest = np.log1p(-np.exp(np.where(fits, over, -1.0)))
        return np.where(fits, rest, _BEYOND_BUDGET * (1.0 + over))


@dataclass(frozen=True, slots=True)
class Expected:
    """The logarithm of how much the user expects of a row, to be added to its worth.

    A normal around each ordered parameter's `mean`, `scale` wide and at least a quarter of the
    range, to the power of BELIEF over the number of trials known: a handful of trials lean on it,
    a hundred override it (Hvarfner et al. 2022, "piBO: Augmenting acquisition functions with user
    beliefs for Bayesian optimization", equation 6), and so do fewer where the process predicts
    scores. Who says nothing expects the middle: ranges are drawn around what is hoped for, and the
    corners of a cube are far from everything. Some optima lie there, though: every other trial
    expects nothing and takes the model at its word.
    """

    mean: Array  # [d]
    spread: Array  # [d], infinite where values have no order
    belief: float

    @classmethod
    def of(cls, encoding: Encoding, trials: int, skill: float) -> "Expected":
        """Ask the user's parameters; the more trials are known and predicted, the less it says.

        After an odd number of trials, running ones included, it says nothing.
        """
        spread = [max(p.spread or 0.0, _EXPECTED_WITHIN) for p in encoding.parameters]
        mean = np.array([p.center for p in encoding.parameters])
        leans = trials % 2 == 0
        belief = leans * BELIEF * (1.0 - min(max(skill, 0.0), 1.0)) / trials
        return cls(mean, np.where(encoding.is_categorical, math.inf, spread), belief)

    def __call__(self, U: Float[Array, "m d"]) -> Float[Array, " m"]:
        """Weigh snapped rows of the unit cube."""
        deviations = (U - self.mean) / self.spread
        weight: Array = -0.5 * self.belief * (deviations**2).sum(axis=1)
        return weight


def patience(skill: float) -> float:
    """Give the factor of improvement that may be traded for a cheaper trial, 1 to PATIENCE.

    A model that does not predict scores cannot tell which cheap trial is worth its money: below a
    skill of 0.6 nothing is traded, from 0.9 on everything.
    """
    return 1.0 + (PATIENCE - 1.0) * min(max((skill - 0.6) / 0.3, 0.0), 1.0)
