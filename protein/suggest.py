# ruff: noqa: F722 - jaxtyping's shapes are strings, not forward references
"""From what is known to what should be tried: the optimizer as one pure function."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from protein.acquisition import Acquisition
from protein.candidates import around, everywhere, unlike
from protein.encoding import Encoding, rows
from protein.initial import initial_row
from protein.observation import Observation, Suggestion, Value
from protein.pareto import sign
from protein.settings import Settings
from protein.space import Space
from protein.surrogates import Data, Surrogates, learn

Array = NDArray[np.float64]

_MODEL_NEEDS = 2  # successes before a model says more than a space-filling design
_EVERYWHERE = 512
_AROUND = 256
_ROUNDS = 4
_ELITE = 8


@dataclass(slots=True)
class Memo:
    """Keeps the surrogates of the last history, so that a batch of suggestions fits them once.

    What it holds is a function of the observations: with or without it, suggestions are the same.
    """

    key: object = None
    surrogates: Surrogates | None = field(default=None, repr=False)


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
    memo: Memo | None = None,
) -> Suggestion:
    """Suggest the next trial. The same arguments give the same suggestion; `memo` saves time only.

    `pending` are the parameters of trials that run now. Observations whose values do not fit the
    space (an unknown category) are left out.
    """
    encoding = Encoding(space)
    if not space.parameters:
        return Suggestion(dict(space.fixed), {"origin": "initial"})
    rng = np.random.default_rng(seed)
    data = Data.of(encoding, settings, observed)
    waiting, _ = rows(encoding, pending)
    waiting = waiting[np.lexsort(waiting.T)]
    taken = np.vstack([data.U, data.failed, waiting])
    if len(taken) < settings.num_random_samples or len(data.U) < _MODEL_NEEDS:
        row = initial_row(encoding, taken, rng)
        return Suggestion(encoding.decode(row), {"origin": "initial"})
    surrogates = _learned(encoding, data, settings, memo)
    row, info = _search(encoding, surrogates, data, waiting, taken, rng)
    if "predicted_score" in info:
        info["predicted_score"] *= sign(settings.goal)
    return Suggestion(encoding.decode(row), info)


def _learned(encoding: Encoding, data: Data, settings: Settings, memo: Memo | None) -> Surrogates:
    key = (encoding.space.to_dict(), settings, data.key)
    if memo is not None and memo.key == key and memo.surrogates is not None:
        return memo.surrogates
    surrogates = learn(encoding, data)
    if memo is not None:
        memo.key, memo.surrogates = key, surrogates
    return surrogates


def _search(
    encoding: Encoding,
    surrogates: Surrogates,
    data: Data,
    waiting: Float[Array, "p d"],
    taken: Float[Array, "t d"],
    rng: np.random.Generator,
) -> tuple[Array, dict[str, Any]]:
    expecting = surrogates.expecting(encoding.features(waiting))
    at_known = surrogates.score.predict_mean(encoding.features(data.U))
    acquisition = Acquisition(encoding, expecting, float(at_known.max()), cost_weight=0.0)
    best_known = data.U[np.argsort(-at_known, kind="stable")[:_ELITE]]
    pool = np.vstack(
        [
            everywhere(encoding, _EVERYWHERE, rng),
            around(encoding, best_known, _AROUND, 0.2, rng),
        ]
    )
    value = np.where(unlike(pool, taken), acquisition(pool), -np.inf)
    width = 0.1
    for _ in range(_ROUNDS):
        elite = pool[np.argsort(-value, kind="stable")[:_ELITE]]
        near = around(encoding, elite, _AROUND // 2, width, rng)
        pool = np.vstack([pool, near])
        value = np.concatenate([value, np.where(unlike(near, taken), acquisition(near), -np.inf)])
        width *= 0.4
    if np.isneginf(value).all():  # every value of a small space was tried
        value = acquisition(pool)
    row = pool[int(np.argmax(value))]
    return row, _explain(encoding, surrogates, row, float(at_known.max()))


def _explain(
    encoding: Encoding, surrogates: Surrogates, row: Float[Array, " d"], incumbent: float
) -> dict[str, Any]:
    F = encoding.features(row[None])
    mean, variance = (float(x[0]) for x in surrogates.score.predict(F))
    sd = variance**0.5
    low, middle, high = (surrogates.scale.backward(mean + k * sd) for k in (-1, 0, 1))
    info: dict[str, Any] = {
        "origin": "exploit" if mean >= incumbent else "explore",
        "predicted_score": middle,
        "predicted_score_sd": 0.5 * (high - low),
        "p_feasible": float(surrogates.p_feasible(F)[0]),
    }
    if surrogates.log_cost is not None:
        info["predicted_cost"] = float(np.exp(surrogates.predicted_log_cost(F)[0]))
    return info
