# ruff: noqa: F722 - jaxtyping's shapes are strings, not forward references
"""Finding the row of the unit cube that is worth most.

Candidates are drawn everywhere and around the best rows known, then again around the most valuable
ones in ever narrower steps. A few hundred candidates do better than climbing to the very maximum:
expected improvement is highest at the edges of what is known, where it is most often wrong
(LOG.md has the figures).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from protein.acquisition import ELITE, Acquisition, Thrift, patience
from protein.candidates import around, everywhere, known_rows, unlike
from protein.data import Data
from protein.encoding import Encoding
from protein.surrogates import Surrogates

Array = NDArray[np.float64]
Allowed = Callable[[Float[Array, "m d"]], NDArray[np.bool_]]
Worth = Callable[[Float[Array, "m d"]], Float[Array, " m"]]

_EVERYWHERE, _AROUND, _NEAR = 512, 256, 128
_WIDE = 16  # pending trials from where on half as many candidates do: the batch itself explores
_ROUNDS = 4
_FIRST_WIDTH, _NARROWING = 0.1, 0.4


@dataclass(frozen=True, slots=True)
class Pool:
    """Candidates and what they are worth; -inf what was tried already or is not allowed."""

    U: Array
    worth: Array

    @property
    def best(self) -> Float[Array, " d"]:
        """The most valuable row."""
        row: Array = self.U[int(np.argmax(self.worth))]
        return row

    @property
    def elite(self) -> Float[Array, "e d"]:
        """The most valuable rows."""
        rows: Array = self.U[np.argsort(-self.worth, kind="stable")[:ELITE]]
        return rows


def search(
    encoding: Encoding,
    surrogates: Surrogates,
    data: Data,
    waiting: Float[Array, "p d"],
    allowed: Allowed,
    rng: np.random.Generator,
) -> Float[Array, " d"]:
    """Give the next row to try while the `waiting` ones run.

    Waiting rows are believed to score what is predicted. Where costs are known and scores
    predictable, a cheaper row of nearly the same worth is taken.
    """
    expecting = surrogates.expecting(encoding.features(waiting))
    acquisition = Acquisition(encoding, expecting, surrogates.incumbent)
    taken = known_rows(np.vstack([data.U, data.failed, waiting]))

    def new(U: Float[Array, "m d"]) -> NDArray[np.bool_]:
        return unlike(U, taken) & allowed(U)

    share = 1 if len(waiting) < _WIDE else 2
    best_known = surrogates.known[np.argsort(-surrogates.at_known, kind="stable")[:ELITE]]
    U = np.vstack(
        [
            everywhere(encoding, _EVERYWHERE // share, rng),
            around(encoding, best_known, _AROUND // share, 2 * _FIRST_WIDTH, rng),
        ]
    )
    pool = _refine(encoding, _valued(U, acquisition, new), acquisition, new, share, rng)
    if np.isneginf(pool.worth).all():  # all values of a small space were tried: repeat one
        pool = _refine(encoding, _valued(U, acquisition, allowed), acquisition, allowed, share, rng)
    trade = patience(surrogates.skill)
    if surrogates.log_cost is not None and trade > 1.0:
        floor = float(pool.worth.max()) - np.log(trade)
        thrift = Thrift(acquisition, surrogates.log_cost, floor)
        pool = Pool(pool.U, thrift.of(pool.U, pool.worth))
        if share == 1:
            pool = _refine(encoding, pool, thrift, new, share, rng)
    return pool.best


def _valued(U: Float[Array, "m d"], worth: Worth, new: Allowed) -> Pool:
    return Pool(U, np.where(new(U), worth(U), -np.inf))


def _refine(
    encoding: Encoding, pool: Pool, worth: Worth, new: Allowed, share: int, rng: np.random.Generator
) -> Pool:
    for index in range(_ROUNDS):
        width = _FIRST_WIDTH * _NARROWING**index
        near = _valued(around(encoding, pool.elite, _NEAR // share, width, rng), worth, new)
        pool = Pool(np.vstack([pool.U, near.U]), np.concatenate([pool.worth, near.worth]))
    return pool
