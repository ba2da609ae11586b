# ruff: noqa: F722 - jaxtyping's shapes are strings, not forward references
"""What a trial that was ended early would have come to, judged by those that were not.

Notation and shapes
    curve      (resource, value) in order, such as steps and the reward by then
    r          the resource at which a trial was ended
    late       the mean of its values in [r/2, r]
    gain       late minus the mean of its values before r/2; 0 without any
    f          finished curves that went as far as r

Each finished curve says what late and gain were at r and what came of it in the end. Bayesian
linear regression (Bishop 2006, section 3.3) of final - late on 1, late and gain gives the mean,
and how far it can be trusted. Curves that follow a power law of the same exponent to the same end
are met exactly: what is still to come is a fixed multiple of the gain.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray

Array = NDArray[np.float64]
Curve = Sequence[tuple[float, float]]

_WEIGHT_VARIANCE = 10.0  # of a coefficient a priori, in units of the noise variance
_SHAPE, _RATE = 1.5, 0.125  # inverse gamma: noise variance a quarter of the spread, worth one trial


@dataclass(frozen=True, slots=True)
class Finished:
    """The curves of finished trials, and what each came to."""

    at: Array  # [f, p], NaN beyond a curve's end
    value: Array  # [f, p]
    final: Array  # [f]

    @classmethod
    def of(cls, finished: Sequence[tuple[Curve, float]]) -> "Finished":
        """Put curves side by side; of those without a point the final score alone is known."""
        at = np.full((len(finished), max((len(curve) for curve, _ in finished), default=0)), np.nan)
        value = at.copy()
        for row, (curve, _) in enumerate(finished):
            points = np.array(curve, dtype=np.float64).reshape(-1, 2)
            at[row, : len(points)], value[row, : len(points)] = points.T
        return cls(at, value, np.array([final for _, final in finished], dtype=np.float64))

    def forecast(self, curve: Curve) -> tuple[float, float]:
        """Give mean and standard deviation of what a trial with this curve would have come to.

        The curve has at least one point. Where no finished trial went as far, its own last values
        are the mean, with a deviation above what is between them.
        """
        at, value = np.array(curve, dtype=np.float64).T
        reached = float(at[-1])
        (late,), (gain,), _ = _summary(at[None], value[None], reached)
        lates, gains, known = _summary(self.at, self.value, reached)
        spread = float(np.concatenate([value, self.value[~np.isnan(self.value)], self.final]).std())
        finals, lates, gains = self.final[known], lates[known], gains[known]
        if spread == 0.0:
            return float(late), 0.0
        center = float(lates.mean()) if len(lates) else float(late)
        design = np.stack([np.ones(len(lates)), (lates - center) / spread, gains / spread], axis=1)
        asked = np.array([1.0, (late - center) / spread, gain / spread])
        mean, sd = _regress(design, (finals - lates) / spread, asked)
        return float(late) + spread * mean, spread * sd


def _summary(
    at: Float[Array, "f p"], value: Float[Array, "f p"], reached: float
) -> tuple[Float[Array, " f"], Float[Array, " f"], Bool[NDArray[np.bool_], " f"]]:
    """Give late and gain at a resource, and which curves went as far and have a late value."""
    is_late, is_early = (at >= reached / 2) & (at <= reached), at < reached / 2
    late, early = _mean(value, is_late), _mean(value, is_early)
    gain = np.where(is_early.any(axis=1), late - early, 0.0)
    known = np.any(at >= reached, axis=1) & np.any(is_late, axis=1)
    return late, gain, known


def _mean(value: Float[Array, "f p"], chosen: Bool[NDArray[np.bool_], "f p"]) -> Float[Array, " f"]:
    total = np.where(chosen, value, 0.0).sum(axis=1)
    mean: Array = total / np.maximum(chosen.sum(axis=1), 1)
    return mean


def _regress(
    design: Float[Array, "f k"], target: Float[Array, " f"], asked: Float[Array, " k"]
) -> tuple[float, float]:
    """Give mean and deviation of the predictive Student distribution, noise included."""
    precision = np.eye(len(asked)) / _WEIGHT_VARIANCE + design.T @ design
    weights = np.linalg.solve(precision, design.T @ target)
    shape = _SHAPE + 0.5 * len(target)
    rate = _RATE + 0.5 * float(target @ target - weights @ precision @ weights)
    leverage = float(asked @ np.linalg.solve(precision, asked))
    variance = max(rate, 0.0) / (shape - 1.0) * (1.0 + leverage)
    return float(asked @ weights), variance**0.5
