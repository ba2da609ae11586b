"""Which trial to take home: the best by posterior, not the luckiest draw of the noise."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from protein.data import Data
from protein.encoding import Encoding
from protein.observation import Observation
from protein.pareto import sign
from protein.settings import Settings
from protein.space import Space
from protein.surrogates import learn
from protein.threads import one_thread

_UNEXPLAINED = 0.25  # of what a score is above its expectation, that which is not taken for luck


@dataclass(frozen=True, slots=True)
class Recommendation:
    """A trial, and beside the score it drew (`observation.score`) what is expected of a repeat.

    `promise` is what trials are chosen by: higher is better, whatever the goal. A rugged function
    looks noisy to a smooth process, so a quarter of what a trial scored above its expectation
    counts as its own.
    """

    observation: Observation
    score: float
    score_sd: float
    promise: float


def recommend(
    space: Space,
    settings: Settings,
    observed: Sequence[Observation],
    *,
    at_cost: float | None = None,
) -> Recommendation | None:
    """Give the finished trial whose repeat is expected to score best; None without a success.

    With `at_cost`, among those that are known to cost at most that. Of equals the cheapest.
    """
    known = [one for one in expected(space, settings, observed) if is_within(one, at_cost)]

    def rank(one: Recommendation) -> tuple[float, float]:
        cost = one.observation.cost
        return -one.promise, math.inf if cost is None else cost

    return min(known, key=rank, default=None)


def expected(
    space: Space, settings: Settings, observed: Sequence[Observation]
) -> list[Recommendation]:
    """Give each finished trial with what is expected of its repeat."""
    encoding = Encoding(space)
    done = [o for o in observed if o.succeeded and not o.is_stopped]
    pairs = [(o, encoding.locate(o.params)) for o in done]
    fitting = [(o, row) for o, row in pairs if row is not None]
    if not fitting:
        return []
    with one_thread():
        surrogates = learn(encoding, Data.of(encoding, settings, observed))
        F = encoding.features(np.array([row for _, row in fitting]))
        mean, variance = surrogates.score.predict(F)
    drawn = surrogates.scale.forward(np.array([_score(o, settings) for o, _ in fitting]))
    promise = np.round(mean + _UNEXPLAINED * (drawn - mean), 6)
    found = []
    for (o, _), m, v, p in zip(fitting, mean, variance, promise, strict=True):
        score, score_sd = surrogates.scale.backward_with_sd(float(m), float(v) ** 0.5)
        found.append(Recommendation(o, sign(settings.goal) * score, score_sd, float(p)))
    return found


def is_within(one: Recommendation, at_cost: float | None) -> bool:
    """Tell whether a trial is known to cost at most so much."""
    cost = one.observation.cost
    return at_cost is None or (cost is not None and cost <= at_cost)


def _score(observation: Observation, settings: Settings) -> float:
    assert observation.score is not None
    return sign(settings.goal) * observation.score
