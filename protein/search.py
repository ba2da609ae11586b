# ruff: noqa: F722 - jaxtyping's shapes are strings, not forward references
"""Finding the row of the unit cube that is worth most.

Candidates are drawn everywhere and around the best rows known, then again around the most valuable
ones in ever narrower steps. A few hundred candidates do better than climbing to the very maximum:
expected improvement is highest at the edges of what is known, where it is most often wrong
(LOG.md has the figures).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from protein.acquisition import (
    ELITE,
    NO_FLOOR,
    Acquisition,
    Expected,
    Share,
    Weight,
    enough,
    patience,
)
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
    """Candidates and their values; -inf what was tried already or is not allowed.

    The best ELITE are valued exactly, others may stand with what they are at most.
    """

    U: Array
    value: Array

    @property
    def best(self) -> Float[Array, " d"]:
        """The most valuable row."""
        row: Array = self.U[int(np.argmax(self.value))]
        return row

    @property
    def elite(self) -> Float[Array, "e d"]:
        """The most valuable rows."""
        rows: Array = self.U[np.argsort(-self.value, kind="stable")[:ELITE]]
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
    affordable = share_left(encoding, log_cost, waiting, cost_left)
    trials = len(tried) + len(waiting) + len(surrogates.known) - surrogates.own
    expected = Expected.of(encoding, trials, surrogates.skill)

    def share_of(U: Float[Array, "m d"]) -> Float[Array, " m"]:
        return affordable(U) + expected(U)

    acquisition = Acquisition(encoding, expecting, surrogates.incumbent, share_of)
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
    if np.isneginf(pool.value).all():  # all values of a small space were tried: repeat one
        pool = _valued(U, acquisition, allowed)
        pool = _refine(encoding, pool, acquisition, allowed, share, rng)
    most = float(pool.value.max())
    trade = patience(surrogates.skill)
    if log_cost is not None and trade > 1.0:
        least = most - np.log(trade)

        def price(U: Float[Array, "m d"]) -> Float[Array, " m"]:
            return log_cost.predict(encoding.features(U))

        thrift = replace(acquisition, price=price, least=least)
        U = pool.U[pool.value >= least]
        pool = Pool(U, thrift(U))
        if share == 1:
            pool = _refine(encoding, pool, thrift, new, share, rng)
    return pool.best, most


def share_left(
    encoding: Encoding,
    log_cost: LogCost | None,
    waiting: Float[Array, "p d"],
    cost_left: float | None,
) -> Weight:
    """Give how to weigh rows by what is left of the budget once the waiting trials are paid."""
    if log_cost is None or cost_left is None:
        return lambda U: np.zeros(len(U))
    promised = float(np.exp(log_cost.predict(encoding.features(waiting))).sum())
    return Share(encoding, log_cost, max(cost_left - promised, _NOTHING))


def _valued(
    U: Float[Array, "m d"], acquisition: Acquisition, new: Allowed, floor: float = NO_FLOOR
) -> Pool:
    value, is_new = np.full(len(U), -np.inf), new(U)
    if is_new.any():
        value[is_new] = acquisition(U[is_new], floor)
    return Pool(U, value)


def _refine(
    encoding: Encoding,
    pool: Pool,
    acquisition: Acquisition,
    new: Allowed,
    share: int,
    rng: np.random.Generator,
) -> Pool:
    for index in range(_ROUNDS):
        width = _FIRST_WIDTH * _NARROWING**index
        U = around(encoding, pool.elite, _NEAR // share, width, rng)
        near = _valued(U, acquisition, new, enough(pool.value))
        pool = Pool(np.vstack([pool.U, near.U]), np.concatenate([pool.value, near.value]))
    return pool
