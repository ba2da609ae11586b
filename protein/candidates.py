# ruff: noqa: F722 - jaxtyping's shapes are strings, not forward references
"""Where to look for the next trial: everywhere, and around the best points known."""

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from protein.encoding import Encoding
from protein.initial import from_prior, stratified

Array = NDArray[np.float64]


def everywhere(encoding: Encoding, count: int, rng: np.random.Generator) -> Float[Array, "m d"]:
    """Draw rows that fill the cube, half of them bent to the user's prior."""
    U = stratified(count, encoding.dimension, rng)
    U[: count // 2] = from_prior(encoding, U[: count // 2])
    return encoding.snap(U)


def around(
    encoding: Encoding,
    centers: Float[Array, "c d"],
    count: int,
    width: float,
    rng: np.random.Generator,
) -> Float[Array, "m d"]:
    """Draw rows around centers: some coordinates take a normal step, reflected at the bounds.

    A step of a discrete coordinate is at least one cell; a categorical one jumps anywhere. Few
    coordinates move at once, more of them in low dimension.
    """
    d = encoding.dimension
    U = np.clip(centers, 0.0, 1.0)[rng.integers(len(centers), size=count)]
    moves = rng.random((count, d)) < rng.choice([1.0, 0.5, min(1.0, 2.0 / d)], size=(count, 1))
    moves[np.arange(count), rng.integers(d, size=count)] = True
    widths = width * rng.choice([1.0, 0.3, 0.1], size=(count, 1))
    step = rng.standard_normal((count, d)) * np.maximum(widths, 0.7 / encoding.cells)
    moved = reflect(U + np.where(moves, step, 0.0))
    jumps = moves & encoding.is_categorical & (rng.random((count, d)) < 0.5)
    moved = np.where(encoding.is_categorical, U, moved)
    return encoding.snap(np.where(jumps, rng.random((count, d)), moved))


def reflect(U: Float[Array, "m d"]) -> Float[Array, "m d"]:
    """Fold the line into [0, 1], as mirrors at both ends would; nothing piles up on the bounds."""
    folded: Array = 1.0 - np.abs(1.0 - np.mod(U, 2.0))
    return folded


def known_rows(taken: Float[Array, "k d"]) -> frozenset[bytes]:
    """Give what `unlike` compares with."""
    return frozenset(row.tobytes() for row in np.round(taken, 9) + 0.0)


def unlike(rows: Float[Array, "m d"], known: frozenset[bytes]) -> NDArray[np.bool_]:
    """Tell which rows differ from all those known."""
    return np.array([row.tobytes() not in known for row in np.round(rows, 9) + 0.0])
