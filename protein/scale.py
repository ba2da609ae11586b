# ruff: noqa: F722 - jaxtyping's shapes are strings, not forward references
"""The monotone map from scores to what a Gaussian process can model."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

Array = NDArray[np.float64]

_LOW_TAIL = 2.0  # robust deviations below the median from where on bad is just bad


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

    def deviation_of(
        self, scores: Float[Array, " n"], sd: Float[Array, " n"]
    ) -> Float[Array, " n"]:
        """Map the standard deviations of scores."""
        half: Array = 0.5 * (self.forward(scores + sd) - self.forward(scores - sd))
        return half

    def backward_with_sd(self, z: float, sd: float) -> tuple[float, float]:
        """Map a modelled mean and its standard deviation to a score's."""
        return self.backward(z), 0.5 * (self.backward(z + sd) - self.backward(z - sd))

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
