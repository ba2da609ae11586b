# ruff: noqa: F722 - jaxtyping's shapes are strings, not forward references
"""What the observations teach: a process for the score, one for log cost, one for feasibility."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from scipy.special import log_ndtr

from protein import gp
from protein.compress import merge, spread_by_rank
from protein.data import Data
from protein.encoding import Encoding
from protein.scale import Scale

Array = NDArray[np.float64]

_SCORE_ROWS = 150  # rows that the score's hyperparameters are fitted on
_OTHER_ROWS = 100  # the same for cost and feasibility, which are smoother
_ROWS = 1000  # rows that a process is conditioned on; of more, the worse are merged
_LABEL_VARIANCE = 0.25  # how soft the step from failing to succeeding is


@dataclass(frozen=True, slots=True)
class Feasibility:
    """P(a trial succeeds): a process on labels, +1 for a success and -1 for a failure.

    Least-squares classification (Rasmussen & Williams 2006, section 6.5): as good here as
    Laplace's approximation would be, at the price of a regression. Far from all data it returns
    to the share of successes seen.
    """

    process: gp.GP
    mean_label: float

    def log_p(self, F: Float[Array, "m D"]) -> Float[Array, " m"]:
        """Give the logarithm of the probability at rows F."""
        mean, variance = self.process.predict(F)
        log_p: Array = log_ndtr((mean + self.mean_label) / np.sqrt(_LABEL_VARIANCE + variance))
        return log_p


@dataclass(frozen=True, slots=True)
class LogCost:
    """The logarithm of a trial's cost."""

    process: gp.GP
    mean: float
    deviation: float

    def predict(self, F: Float[Array, "m D"]) -> Float[Array, " m"]:
        """Give the expected logarithm at rows F."""
        log_cost: Array = self.process.predict_mean(F) * self.deviation + self.mean
        return log_cost


@dataclass(frozen=True, slots=True)
class Surrogates:
    """The beliefs about score, log cost (None if unknown) and feasibility (None if certain).

    `skill` is the share of the scores' variance that the score process predicts for rows left out,
    at most 1, below 0 where it misleads. `at_known` [n] is what it expects at each success.
    """

    score: gp.GP
    scale: Scale
    log_cost: LogCost | None
    feasibility: Feasibility | None
    skill: float
    at_known: Array

    @property
    def incumbent(self) -> float:
        """The best score that is expected at a success: no lucky draw of the noise."""
        return float(self.at_known.max())

    def log_p_feasible(self, F: Float[Array, "m D"]) -> Float[Array, " m"]:
        """Give log P(a trial succeeds)."""
        return np.zeros(len(F)) if self.feasibility is None else self.feasibility.log_p(F)

    def expecting(self, F: Float[Array, "k D"]) -> "Surrogates":
        """Believe that pending trials will score what is predicted."""
        return replace(self, score=self.score.extend(F))


def learn(encoding: Encoding, data: Data) -> Surrogates:
    """Fit all surrogates to at least one success."""
    F = encoding.features(data.U)
    scale = Scale.of(data.score)
    y = scale.forward(data.score)
    score = _fitted(encoding, F, y, _SCORE_ROWS)
    return Surrogates(
        score,
        scale,
        _learn_cost(encoding, F, data.cost),
        _learn_feasibility(encoding, F, encoding.features(data.failed)),
        _skill(F, y, score),
        score.predict_mean(F),
    )


def _learn_feasibility(
    encoding: Encoding, good: Float[Array, "n D"], failed: Float[Array, "f D"]
) -> Feasibility | None:
    if len(failed) == 0:
        return None
    label = np.concatenate([np.ones(len(good)), -np.ones(len(failed))])
    mean = float(label.mean())
    process = _fitted(encoding, np.vstack([good, failed]), label - mean, _OTHER_ROWS)
    return Feasibility(process, mean)


def _learn_cost(
    encoding: Encoding, F: Float[Array, "n D"], cost: Float[Array, " n"]
) -> LogCost | None:
    """Learn from known costs; a cost of 0 counts as a tenth of the smallest positive one."""
    known = np.isfinite(cost)
    positive = cost[known & (np.nan_to_num(cost) > 0)]
    if len(positive) < 2 or positive.max() <= positive.min() * (1 + 1e-9):
        return None
    log_cost = np.log(np.maximum(cost[known], positive.min() / 10.0))
    mean, deviation = float(log_cost.mean()), float(log_cost.std())
    targets = np.round((log_cost - mean) / deviation, 9)
    return LogCost(_fitted(encoding, F[known], targets, _OTHER_ROWS), mean, deviation)


def _fitted(
    encoding: Encoding, F: Float[Array, "n D"], y: Float[Array, " n"], fit_rows: int
) -> gp.GP:
    prior = gp.Prior.for_dimension(encoding.dimension)
    chosen = spread_by_rank(y, fit_rows)
    theta = gp.fit(F[chosen], y[chosen], encoding.group, prior=prior)
    few = merge(F, y, F / np.exp(theta[:-2])[encoding.group], limit=_ROWS)
    return gp.condition(few.X, few.y, encoding.group, theta, few.weight)


def _skill(F: Float[Array, "n D"], y: Float[Array, " n"], score: gp.GP) -> float:
    chosen = spread_by_rank(y, _SCORE_ROWS)
    few = gp.condition(F[chosen], y[chosen], score.group, score.theta)
    variance = float(few.y.var())
    return 1.0 - float((few.leave_one_out() ** 2).mean()) / variance if variance > 0 else 0.0
