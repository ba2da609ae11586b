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

from protein.acquisition import ELITE, Acquisition, Affordable, Thrift, Worth, patience
from protein.candidates import around, everywhere, known_rows, unlike
from protein.encoding import Encoding
from protein.surrogates import LogCost, Surrogates

Array = NDArray[np.float64]
Allowed = Callable[[Float[Array, "m d"]], NDArray[np.bool_]]

_EVERYWHERE, _AROUND, _NEAR = 512, 256, 128
_WIDE = 16  # pending trials from where on half as many candidates do: the batch itself explores
_ROUNDS = 4
_NOTHING = 1e-300  # what is left when all is spent
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
    waiting: Float[Array, "p d"],
    tried: frozenset[bytes],
    allowed: Allowed,
    rng: np.random.Generator,
    cost_left: float | None = None,
) -> tuple[Float[Array, " d"], float]:
    """Give the next row to try while the `waiting` ones run, and the most that any is worth.

    Rows among those `tried` (`known_rows`) are not given again. Waiting rows are believed to score
    what is predicted. Where costs are known and scores predictable, a cheaper row of nearly the
    same worth is taken. What costs more than `cost_left` is not tried unless nothing costs less:
    then the cheapest is.
    """
    expecting = surrogates.expecting(encoding.features(waiting))
    log_cost = surrogates.log_cost
    acquisition = affordable(
        Acquisition(encoding, expecting, surrogates.incumbent),
        encoding,
        log_cost,
        waiting,
        cost_left,
    )
    taken = tried | known_rows(waiting)

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
    most = float(pool.worth.max())
    trade = patience(surrogates.skill)
    if log_cost is not None and trade > 1.0:
        floor = most - np.log(trade)
        thrift = Thrift(acquisition, encoding, log_cost, floor)
        pool = Pool(pool.U, thrift.of(pool.U, pool.worth))
        if share == 1:
            pool = _refine(encoding, pool, thrift, new, share, rng)
    return pool.best, most


def affordable(
    worth: Worth,
    encoding: Encoding,
    log_cost: LogCost | None,
    waiting: Float[Array, "p d"],
    cost_left: float | None,
) -> Worth:
    """Weigh worth by what is left of the budget once the waiting trials are paid."""
    if log_cost is None or cost_left is None:
        return worth
    promised = float(np.exp(log_cost.predict(encoding.features(waiting))).sum())
    return Affordable(worth, encoding, log_cost, max(cost_left - promised, _NOTHING))


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
