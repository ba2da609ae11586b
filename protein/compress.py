# ruff: noqa: F722 - jaxtyping's shapes are strings, not forward references
"""Thousands of observations as a thousand rows, none of them forgotten.

The best rows stay as they are; the others are merged, with their neighbours, into means that weigh
as much as the rows they stand for.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Rows:
    """Features, targets, how many observations each row stands for, and how doubtful it is."""

    X: Array
    y: Array
    weight: Array
    doubt: Array  # variance beyond the noise


def spread_by_rank(y: Float[Array, " n"], count: int) -> NDArray[np.int64]:
    """Choose at most `count` rows: the best third of them, the others evenly over the ranks."""
    n = len(y)
    if n <= count:
        return np.arange(n)
    order = np.argsort(-y, kind="stable")
    best = count // 3
    rest = order[best:][np.linspace(0, n - best - 1, count - best).astype(np.int64)]
    return np.sort(np.concatenate([order[:best], rest]))


def merge(
    X: Float[Array, "n D"],
    y: Float[Array, " n"],
    scaled: Float[Array, "n D"],
    *,
    limit: int,
    doubt: Float[Array, " n"] | None = None,
) -> Rows:
    """Keep the best 2/5 of `limit` rows and merge the others into at most 3/5 of it.

    Neighbours are the cells of a k-d tree over `scaled`, features in units of lengthscales.
    """
    doubt = np.zeros(len(y)) if doubt is None else doubt
    if len(y) <= limit:
        return Rows(X, y, np.ones(len(y)), doubt)
    order = np.argsort(-y, kind="stable")
    kept, others = np.sort(order[: 2 * limit // 5]), np.sort(order[2 * limit // 5 :])
    cells = [others]
    while 2 * len(cells) <= 3 * limit // 5:
        cells = [half for cell in cells for half in _halves(cell, scaled)]
    return Rows(
        np.vstack([X[kept], *(X[cell].mean(axis=0, keepdims=True) for cell in cells)]),
        np.concatenate([y[kept], [y[cell].mean() for cell in cells]]),
        np.concatenate([np.ones(len(kept)), [float(len(cell)) for cell in cells]]),
        np.concatenate([doubt[kept], [doubt[cell].mean() / len(cell) for cell in cells]]),
    )


def _halves(cell: NDArray[np.int64], scaled: Float[Array, "n D"]) -> list[NDArray[np.int64]]:
    if len(cell) < 2:
        return [cell]
    block = scaled[cell]
    widest = int(np.argmax(block.max(axis=0) - block.min(axis=0)))
    order = np.argsort(block[:, widest], kind="stable")
    middle = len(cell) // 2
    return [cell[order[:middle]], cell[order[middle:]]]
