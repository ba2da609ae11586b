# ruff: noqa: F722 - jaxtyping's shapes are strings, not forward references
"""What a trial is worth: log expected improvement, per cost, if it does not fail.

Everything is a logarithm, so that tiny values keep their order (Ament et al. 2023, "Unexpected
improvements to expected improvement", equation 8), and what is forbidden is -inf, never zero times
something.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from scipy.special import erfcx, log_ndtr

from protein.encoding import Encoding
from protein.surrogates import Surrogates

Array = NDArray[np.float64]

_LOG_SQRT_2PI = 0.5 * math.log(2.0 * math.pi)


def log_h(u: Float[Array, " m"]) -> Float[Array, " m"]:
    """Give log(phi(u) + u Phi(u)), the log of the expected improvement of N(u, 1) over 0."""
    phi = np.exp(-0.5 * u * u - _LOG_SQRT_2PI)
    with np.errstate(divide="ignore", invalid="ignore"):
        near = np.log(phi + u * np.exp(log_ndtr(u)))
        tail = math.sqrt(math.pi / 2) * erfcx(-u / math.sqrt(2)) * np.abs(u)
        far = -0.5 * u * u - _LOG_SQRT_2PI + np.log1p(-np.minimum(tail, 1.0 - 1e-16))
        very_far = -0.5 * u * u - _LOG_SQRT_2PI - 2.0 * np.log(np.abs(u))
    value: Array = np.where(u > -1.0, near, np.where(u > -1e3, far, very_far))
    return value


def d_log_h(u: Float[Array, " m"], value: Float[Array, " m"]) -> Float[Array, " m"]:
    """Give the derivative of log_h, Phi(u) / h(u)."""
    slope: Array = np.exp(log_ndtr(u) - value)
    return slope


@dataclass(frozen=True, slots=True)
class Acquisition:
    """log EI over `incumbent` - `cost_weight` * log cost + log P(feasible)."""

    encoding: Encoding
    surrogates: Surrogates
    incumbent: float
    cost_weight: float

    def __call__(self, U: Float[Array, "m d"]) -> Float[Array, " m"]:
        """Value snapped rows of the unit cube."""
        F = self.encoding.features(U)
        mean, variance = self.surrogates.score.predict(F)
        sd = np.sqrt(variance)
        value = np.log(sd) + log_h((mean - self.incumbent) / sd)
        if self.cost_weight:
            value = value - self.cost_weight * self.surrogates.predicted_log_cost(F)
        return value + np.log(self.surrogates.p_feasible(F))
