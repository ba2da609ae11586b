# ruff: noqa: F722 - jaxtyping's shapes are strings, not forward references
"""What the observations teach: a process for the score, one for log cost, one for feasibility.

Inside, larger scores are better. Rows are sorted before anything is computed from them, so that
the order in which trials finished changes nothing.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from scipy.special import ndtr

from protein import gp
from protein.encoding import Encoding, rows
from protein.observation import Observation
from protein.pareto import sign
from protein.settings import Settings

Array = NDArray[np.float64]

_LOW_TAIL = 2.0  # robust deviations below the median from where on bad is just bad
_FIT_ROWS = 200  # rows that theta is fitted on; all rows are conditioned on


@dataclass(frozen=True, slots=True)
class Scale:
    """The monotone map from scores (larger is better) to what the score process models.

    Standardised by median and interquartile range, the low tail compressed logarithmically: a
    diverged run says "bad", not how bad. Then standardised again by mean and deviation.
    """

    median: float
    spread: float
    mean: float
    deviation: float

    @classmethod
    def of(cls, scores: Float[Array, " n"]) -> "Scale":
        """Learn the map. Equal scores map to 0."""
        low, median, high = np.quantile(scores, [0.25, 0.5, 0.75])
        spread = (high - low) / 1.349 or float(scores.std()) or 1.0
        squeezed = _squeeze((scores - median) / spread)
        return cls(median, spread, float(squeezed.mean()), float(squeezed.std()) or 1.0)

    def forward(self, scores: Float[Array, " n"]) -> Float[Array, " n"]:
        """Map scores; rounded, so that an affine change of all scores changes nothing."""
        squeezed = _squeeze((scores - self.median) / self.spread)
        rounded: Array = np.round((squeezed - self.mean) / self.deviation, 9)
        return rounded

    def backward(self, z: float) -> float:
        """Map a modelled value to a score."""
        t = z * self.deviation + self.mean
        if t < -_LOW_TAIL:
            t = -_LOW_TAIL - math.expm1(min(-_LOW_TAIL - t, 50.0))
        return float(t * self.spread + self.median)


def _squeeze(t: Float[Array, " n"]) -> Float[Array, " n"]:
    beyond = np.maximum(-_LOW_TAIL - t, 0.0)
    squeezed: Array = np.where(t < -_LOW_TAIL, -_LOW_TAIL - np.log1p(beyond), t)
    return squeezed


@dataclass(frozen=True, slots=True)
class Data:
    """Observations as arrays; scores with larger better. All rows sorted."""

    U: Array  # [n, d] successes
    score: Array  # [n]
    cost: Array  # [n], NaN where unknown
    failed: Array  # [f, d]

    @classmethod
    def of(cls, encoding: Encoding, settings: Settings, observed: Sequence[Observation]) -> "Data":
        """Sort observations into successes and failures."""
        good = [o for o in observed if o.succeeded]
        U, kept = rows(encoding, [o.params for o in good])
        good = [good[index] for index in kept]
        score = np.array([sign(settings.goal) * float(o.score or 0.0) for o in good])
        cost = np.array([_cost(o, settings) for o in good])
        failed, _ = rows(encoding, [o.params for o in observed if not o.succeeded])
        order = np.lexsort((cost, score, *U.T)) if len(U) else np.empty(0, dtype=np.int64)
        return cls(U[order], score[order], cost[order], failed[np.lexsort(failed.T)])

    @property
    def key(self) -> tuple[bytes, ...]:
        """What the surrogates are a function of."""
        return tuple(a.tobytes() for a in (self.U, self.score, self.cost, self.failed))


def _cost(observation: Observation, settings: Settings) -> float:
    cost = observation.cost
    if cost is None and settings.cost_parameter is not None:
        value = observation.params.get(settings.cost_parameter)
        cost = None if isinstance(value, str) else value
    return math.nan if cost is None or not math.isfinite(cost) else float(cost)


@dataclass(frozen=True, slots=True)
class Surrogates:
    """The beliefs about score, log cost (None if unknown) and feasibility (None if certain)."""

    score: gp.GP
    scale: Scale
    log_cost: gp.GP | None
    cost_scale: tuple[float, float]
    feasible: gp.GP | None
    prevalence: float

    def p_feasible(self, F: Float[Array, "m D"]) -> Float[Array, " m"]:
        """Give the probability that a trial succeeds."""
        if self.feasible is None:
            return np.ones(len(F))
        mean, variance = self.feasible.predict(F)
        p: Array = ndtr((mean + self.prevalence) / np.sqrt(0.25 + variance))
        return np.clip(p, 1e-6, 1.0)

    def predicted_log_cost(self, F: Float[Array, "m D"]) -> Float[Array, " m"]:
        """Give the expected logarithm of the cost, 0 where costs are unknown."""
        if self.log_cost is None:
            return np.zeros(len(F))
        mean, deviation = self.cost_scale
        return self.log_cost.predict_mean(F) * deviation + mean

    def expecting(self, F: Float[Array, "k D"]) -> "Surrogates":
        """Believe that pending trials will score what is predicted."""
        return replace(self, score=self.score.extend(F))


def learn(encoding: Encoding, data: Data) -> Surrogates:
    """Fit all surrogates to at least one success."""
    F = encoding.features(data.U)
    scale = Scale.of(data.score)
    score = _fitted(encoding, F, scale.forward(data.score))
    log_cost, cost_scale = _learn_cost(encoding, F, data.cost)
    feasible, prevalence = None, 0.0
    if len(data.failed):
        both = np.vstack([F, encoding.features(data.failed)])
        label = np.concatenate([np.ones(len(F)), -np.ones(len(data.failed))])
        prevalence = float(label.mean())
        feasible = _fitted(encoding, both, label - prevalence)
    return Surrogates(score, scale, log_cost, cost_scale, feasible, prevalence)


def _learn_cost(
    encoding: Encoding, F: Float[Array, "n D"], cost: Float[Array, " n"]
) -> tuple[gp.GP | None, tuple[float, float]]:
    known = np.isfinite(cost)
    positive = cost[known & (cost > 0)] if known.any() else cost[known]
    if len(positive) < 2 or positive.max() <= positive.min() * (1 + 1e-9):
        return None, (0.0, 1.0)
    log_cost = np.log(np.maximum(cost[known], positive.min() / 10.0))
    mean, deviation = float(log_cost.mean()), float(log_cost.std())
    targets = np.round((log_cost - mean) / deviation, 9)
    return _fitted(encoding, F[known], targets), (mean, deviation)


def _fitted(encoding: Encoding, F: Float[Array, "n D"], y: Float[Array, " n"]) -> gp.GP:
    group = encoding.group
    prior = gp.Prior.for_dimension(encoding.dimension)
    chosen = _spread_of(len(y), y)
    theta = gp.fit(F[chosen], y[chosen], group, prior=prior)
    return gp.condition(F, y, group, theta)


def _spread_of(n: int, y: Float[Array, " n"]) -> NDArray[np.int64]:
    """Choose at most _FIT_ROWS rows: the best third, and evenly over the rest by rank."""
    if n <= _FIT_ROWS:
        return np.arange(n)
    order = np.argsort(-y, kind="stable")
    best = _FIT_ROWS // 3
    rest = order[best:][np.linspace(0, n - best - 1, _FIT_ROWS - best).astype(np.int64)]
    return np.sort(np.concatenate([order[:best], rest]))
