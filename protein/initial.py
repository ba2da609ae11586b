# ruff: noqa: F722 - jaxtyping's shapes are strings, not forward references
"""The first trials: the centre, then points that fill every projection of the space.

The criterion is that of MaxPro designs (Joseph, Gul, Ba 2015, "Maximum projection designs for
computer experiments"), on a torus, so that corners are not preferred, and greedy, so that it goes
on from whatever was tried already.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from protein.encoding import Encoding

Array = NDArray[np.float64]

_POOL, _LEAST = 512, 32
_COORDINATES = 5_000_000  # compared at most: after thousands of trials a smaller pool must do


def initial_row(
    encoding: Encoding,
    taken: Float[Array, "k d"],
    allowed: Callable[[Float[Array, "m d"]], NDArray[np.bool_]],
    rng: np.random.Generator,
    worth: Callable[[Float[Array, "m d"]], Float[Array, " m"]],
) -> Float[Array, " d"]:
    """Give the next row of a space-filling design beside the rows taken.

    `worth` is the logarithm of how much use rows promise (for their cost): more is preferred.
    ValueError if none of many rows is allowed.
    """
    if len(taken) == 0 and allowed(encoding.center[None])[0]:
        return encoding.center
    for size in (_POOL, 16 * _POOL):
        pool = encoding.snap(from_prior(encoding, stratified(size, encoding.dimension, rng)))
        pool = pool[allowed(pool)][: max(_LEAST, _COORDINATES // max(taken.size, 1))]
        if len(pool):
            row: Array = pool[np.argmin(crowding(encoding, pool, taken) - worth(pool))]
            return row
    raise ValueError(f"none of {17 * _POOL} parameters is accepted by the constraint")


def crowding(
    encoding: Encoding, pool: Float[Array, "m d"], taken: Float[Array, "k d"]
) -> Float[Array, " m"]:
    """Give the MaxPro criterion of each row of the pool against those taken; low is empty space."""
    if len(taken) == 0:
        return np.zeros(len(pool))
    gap = np.abs(pool[:, None, :] - taken)
    gap = np.minimum(gap, 1.0 - np.minimum(gap, 1.0))
    gap[..., encoding.is_categorical] = 0.5 * (gap[..., encoding.is_categorical] > 0)
    closeness = -np.log(gap**2 + (0.5 / (len(taken) + 1)) ** 2).sum(axis=-1)
    total: Array = np.logaddexp.reduce(closeness, axis=1)
    return total


def stratified(n: int, d: int, rng: np.random.Generator) -> Float[Array, "n d"]:
    """Draw a Latin hypercube."""
    strata = rng.permuted(np.tile(np.arange(n), (d, 1)), axis=1).T
    sample: Array = (strata + rng.random((n, d))) / n
    return sample


def from_prior(encoding: Encoding, U: Float[Array, "n d"]) -> Float[Array, "n d"]:
    """Bend uniform rows to the user's prior: a normal around `mean`, cut at the ends."""
    bent = U.copy()
    for index, parameter in enumerate(encoding.parameters):
        if parameter.spread is not None:
            m, s = parameter.center, parameter.spread
            low, high = ndtr((0.0 - m) / s), ndtr((1.0 - m) / s)
            bent[:, index] = m + s * ndtri(low + U[:, index] * (high - low))
    return np.clip(bent, 0.0, 1.0)
