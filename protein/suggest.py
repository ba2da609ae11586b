# ruff: noqa: F722 - jaxtyping's shapes are strings, not forward references
"""From what is known to what should be tried: the optimizer as one pure function."""

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import is_
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from protein.candidates import known_rows
from protein.data import Data
from protein.encoding import Encoding
from protein.initial import initial_row
from protein.methods import method_named
from protein.observation import Observation, Suggestion, Value
from protein.pareto import sign
from protein.search import search, share_left
from protein.settings import NO_LIMIT, Budget, Settings
from protein.space import Space
from protein.surrogates import Surrogates, helpful, is_enough, learn, learn_cost
from protein.threads import one_thread

Array = NDArray[np.float64]
Constraint = Callable[[Mapping[str, Value]], bool]

_MODEL_NEEDS = 2  # successes before a model says more than a space-filling design
_LAST = 0.1  # share of trials that look for the best only
_FILLING = 0.5  # share of trials that fill the space while the model does not know where to look
_LITTLE = 1e-3  # improvement, in deviations of the scores, that is not worth a trial
_IN_NOISE = 0.3  # nor is one of so many deviations of the noise: many repeats would have to show it


@dataclass(slots=True)
class Memo:
    """Keeps what the last history taught, so that a batch of suggestions learns it once.

    Observations are known again by identity. What the memo holds is a function of them: with
    or without it, suggestions are the same.
    """

    setup: tuple[Space, Settings] | None = None
    history: tuple[Observation | None, ...] = field(default=(), repr=False)
    data: tuple[Data, ...] = field(default=(), repr=False)  # of the sweep and of the earlier ones
    tried: frozenset[bytes] = field(default=frozenset(), repr=False)
    learned: tuple[Encoding, Surrogates] | None = field(default=None, repr=False)
    located: dict[int, tuple[Mapping[str, Value], Array | None]] = field(
        default_factory=dict, repr=False
    )

    def recall(
        self,
        plain: Encoding,
        settings: Settings,
        observed: Sequence[Observation],
        earlier: Sequence[Sequence[Observation]],
    ) -> None:
        """Make the memo one of this history."""
        sweeps = (observed, *earlier)
        history = tuple(one for sweep in sweeps for one in (None, *sweep))
        setup = plain.space, settings
        same = len(history) == len(self.history) and all(map(is_, history, self.history))
        if same and self.setup == setup:
            return
        self.history, self.setup = history, setup
        self.data = tuple(Data.of(plain, settings, sweep) for sweep in sweeps)
        self.tried = known_rows(np.vstack([self.data[0].U, self.data[0].failed]))
        self.learned, self.located = None, {}

    def rows(self, plain: Encoding, pending: Sequence[Mapping[str, Value]]) -> Float[Array, "p d"]:
        """Give the rows of pending trials that fit the space, in an order of their own."""
        known = self.located
        self.located = {
            id(one): known[id(one)] if id(one) in known else (one, plain.locate(one))
            for one in pending
        }
        found = [self.located[id(one)][1] for one in pending]
        rows = np.array([row for row in found if row is not None]).reshape(-1, plain.dimension)
        return rows[np.lexsort(rows.T)]

    def learn(self, plain: Encoding) -> tuple[Encoding, Surrogates]:
        """Give what the history teaches; fit it if that was not done yet."""
        if self.learned is None:
            data, *told = self.data
            earlier = helpful(plain, data, told)
            encoding = Encoding(plain.space, earlier=len(earlier))
            self.learned = encoding, learn(encoding, data, earlier)
        return self.learned


def seed_for(sweep_seed: int, number: int) -> int:
    """Give the seed of a sweep's suggestion number `number`."""
    digest = hashlib.blake2b(f"{sweep_seed}/{number}".encode(), digest_size=7).digest()
    return int.from_bytes(digest, "big")


def suggest(
    space: Space,
    settings: Settings,
    observed: Sequence[Observation],
    pending: Sequence[Mapping[str, Value]],
    seed: int,
    *,
    constraint: Constraint | None = None,
    earlier: Sequence[Sequence[Observation]] = (),
    left: Budget = NO_LIMIT,
    memo: Memo | None = None,
) -> Suggestion:
    """Suggest the next trial. The same arguments give the same suggestion; `memo` saves time only.

    `pending` are the parameters of trials that run now. Only parameters (fixed values included)
    that `constraint` accepts are suggested; ValueError if none are found. Observations whose values
    do not fit the space (an unknown category) are left out. `earlier` are the observations of other
    sweeps, of the same or an overlapping space, each in its own units of score; how far to trust
    them is learned. What is `left` of the budget bounds what a trial may cost. Linear algebra runs
    on one thread, so that the number of cores does not change the last bits.
    """
    if not space.parameters:
        return Suggestion(dict(space.fixed), {"origin": "initial"})
    if settings.method != "protein":
        return method_named(settings.method)(space, settings, observed, pending, seed)
    with one_thread():
        return _suggest(
            space, settings, observed, pending, seed, constraint, earlier, left, memo or Memo()
        )


def _suggest(
    space: Space,
    settings: Settings,
    observed: Sequence[Observation],
    pending: Sequence[Mapping[str, Value]],
    seed: int,
    constraint: Constraint | None,
    earlier: Sequence[Sequence[Observation]],
    left: Budget,
    memo: Memo,
) -> Suggestion:
    plain = Encoding(space)
    memo.recall(plain, settings, observed, earlier)
    data, *told = memo.data
    rng = np.random.default_rng(seed)
    waiting = memo.rows(plain, pending)

    def allowed(U: Float[Array, "m d"]) -> NDArray[np.bool_]:
        if constraint is None:
            return np.ones(len(U), dtype=bool)
        return np.array([bool(constraint(plain.decode(row))) for row in U])

    taken = np.vstack([data.U, data.failed, waiting])
    few = len(taken) < settings.num_random_samples or len(data.U) < _MODEL_NEEDS
    warm = any(is_enough(one) for one in told)
    if few and not (warm and len(taken) % 2 == 0):  # with earlier sweeps, every other trial
        log_cost = learn_cost(plain, plain.features(data.U), data.cost)
        affordable = share_left(plain, log_cost, waiting, left.cost)

        def per_cost(U: Float[Array, "m d"]) -> Float[Array, " m"]:
            price = 0.0 if log_cost is None else log_cost.predict(plain.features(U))
            return affordable(U) - price

        row = initial_row(plain, taken, allowed, rng, per_cost)
        return Suggestion(plain.decode(row), {"origin": "initial"})
    encoding, surrogates = memo.learn(plain)

    def fills() -> bool:
        return rng.random() < _FILLING and not _is_the_end(left, len(taken))

    is_blind, most = surrogates.skill < 0.0 and fills(), -np.inf
    if not is_blind:
        row, most = search(encoding, surrogates, waiting, memo.tried, allowed, rng, left.cost)
    little = max(_LITTLE, _IN_NOISE * surrogates.score.noise**0.5)
    if is_blind or (most < math.log(little) and fills()):
        affordable = share_left(encoding, surrogates.log_cost, waiting, left.cost)

        def useful(U: Float[Array, "m d"]) -> Float[Array, " m"]:
            return surrogates.log_p_feasible(encoding.features(U)) + affordable(U)

        row = initial_row(plain, taken, allowed, rng, useful)
    if not allowed(row[None])[0]:
        raise ValueError("no parameters were found that the constraint accepts")
    return Suggestion(encoding.decode(row), explain(encoding, settings, surrogates, row))


def _is_the_end(left: Budget, tried: int) -> bool:
    """Tell whether the last tenth of the trials has begun: what they find out comes too late."""
    return left.trials is not None and left.trials <= _LAST * (tried + left.trials)


def explain(
    encoding: Encoding,
    settings: Settings,
    surrogates: Surrogates,
    row: Float[Array, " d"],
) -> dict[str, Any]:
    """Say why a row is tried: "exploit" if it is expected to be the best yet, else "explore"."""
    F = encoding.features(row[None])
    mean, variance = (float(x[0]) for x in surrogates.score.predict(F))
    score, score_sd = surrogates.scale.backward_with_sd(mean, variance**0.5)
    info: dict[str, Any] = {
        "origin": "exploit" if mean >= surrogates.incumbent else "explore",
        "predicted_score": sign(settings.goal) * score,
        "predicted_score_sd": score_sd,
        "p_feasible": float(np.exp(surrogates.log_p_feasible(F)[0])),
    }
    if surrogates.log_cost is not None:
        info["predicted_cost"] = float(np.exp(surrogates.log_cost.predict(F)[0]))
    return info
