# ruff: noqa: F722 - jaxtyping's shapes are strings, not forward references
"""What a trial is worth: log expected improvement, if it does not fail, for its cost.

Everything is a logarithm, so that tiny values keep their order (Ament et al. 2023, "Unexpected
improvements to expected improvement", equation 8), and what is forbidden is -inf, never zero times
something.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from scipy.special import erfcx, log_ndtr

from protein.encoding import Encoding
from protein.surrogates import LogCost, Surrogates

Array = NDArray[np.float64]
Worth = Callable[[Float[Array, "m d"]], Float[Array, " m"]]

PATIENCE = 5.0
_BEYOND_BUDGET = -1e6  # below any logarithm of a probability or an improvement
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
    """Log expected improvement of the score over `incumbent`, plus log P(feasible)."""

    encoding: Encoding
    surrogates: Surrogates
    incumbent: float

    def __call__(self, U: Float[Array, "m d"]) -> Float[Array, " m"]:
        """Value snapped rows of the unit cube; -inf for rows that cannot be among the best.

        Feasibility only lowers a row's worth, so it is asked only for rows whose improvement alone
        would put them among the best, or within what thrift may trade.
        """
        F = self.encoding.features(U)
        mean, variance = self.surrogates.score.predict(F)
        sd = np.sqrt(variance)
        improvement: Array = np.log(sd) + log_h((mean - self.incumbent) / sd)
        if self.surrogates.feasibility is None:
            return improvement
        worth = np.full(len(F), -np.inf)
        first = improvement >= np.quantile(improvement, 0.75)
        worth[first] = improvement[first] + self.surrogates.log_p_feasible(F[first])
        best = np.sort(worth)[-ELITE:]
        rest = ~first & (improvement >= min(best[0], best[-1] - math.log(PATIENCE)))
        worth[rest] = improvement[rest] + self.surrogates.log_p_feasible(F[rest])
        return worth


@dataclass(frozen=True, slots=True)
class Affordable:
    """Worth, times the share of the budget that a trial leaves.

    Where much is left this changes little. In the end a dear trial must be worth the several
    cheaper ones that it displaces. Of what costs more than is left the cheapest is best.
    """

    worth: Worth
    encoding: Encoding
    log_cost: LogCost
    left: float

    def __call__(self, U: Float[Array, "m d"]) -> Float[Array, " m"]:
        """Value snapped rows of the unit cube."""
        over = self.log_cost.predict(self.encoding.features(U)) - math.log(self.left)
        fits = over < 0.0
        rest = np.log1p(-np.exp(np.where(fits, over, -1.0)))
        return np.where(fits, self.worth(U) + rest, _BEYOND_BUDGET * (1.0 + over))


@dataclass(frozen=True, slots=True)
class Thrift:
    """Of the rows worth at least `floor`, the worth per expected cost; the others -inf.

    Dividing by cost everywhere (expected improvement per unit cost) starves sweeps in which only
    dear trials score well: costs vary a thousandfold, an uncertain model's improvements do not.
    """

    worth: Worth
    encoding: Encoding
    log_cost: LogCost
    floor: float

    def __call__(self, U: Float[Array, "m d"]) -> Float[Array, " m"]:
        """Value snapped rows of the unit cube."""
        return self.of(U, self.worth(U))

    def of(self, U: Float[Array, "m d"], worth: Float[Array, " m"]) -> Float[Array, " m"]:
        """Value rows whose worth is known."""
        per_cost = worth - self.log_cost.predict(self.encoding.features(U))
        return np.where(worth >= self.floor, per_cost, -np.inf)


def patience(skill: float) -> float:
    """Give the factor of improvement that may be traded for a cheaper trial, 1 to PATIENCE.

    A model that does not predict scores cannot tell which cheap trial is worth its money: below a
    skill of 0.6 nothing is traded, from 0.9 on everything.
    """
    return 1.0 + (PATIENCE - 1.0) * min(max((skill - 0.6) / 0.3, 0.0), 1.0)
