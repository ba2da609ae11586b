"""Which trial to take home: the best by posterior, not the luckiest draw of the noise."""

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
    """A trial, and beside the score it drew (`observation.score`) what is expected of a repeat."""

    observation: Observation
    score: float
    score_sd: float


def recommend(
    space: Space,
    settings: Settings,
    observed: Sequence[Observation],
    *,
    at_cost: float | None = None,
) -> Recommendation | None:
    """Give the finished trial whose repeat is expected to score best; None without a success.

    A rugged function looks noisy to a smooth process, so a quarter of what a trial scored above its
    expectation counts as its own. With `at_cost`, among those that are known to cost at most that.
    Of equals the cheapest.
    """
    encoding = Encoding(space)
    done = [o for o in observed if o.succeeded and not o.is_stopped]
    pairs = [(o, encoding.locate(o.params)) for o in done]
    fitting = [(o, row) for o, row in pairs if row is not None and _affordable(o, at_cost)]
    if not fitting:
        return None
    with one_thread():
        surrogates = learn(encoding, Data.of(encoding, settings, observed))
        F = encoding.features(np.array([row for _, row in fitting]))
        mean, variance = surrogates.score.predict(F)
    drawn = surrogates.scale.forward(np.array([_score(o, settings) for o, _ in fitting]))
    promise = np.round(mean + _UNEXPLAINED * (drawn - mean), 6)
    cost = np.array([np.inf if o.cost is None else o.cost for o, _ in fitting])
    best = int(np.lexsort((cost, -promise))[0])
    sd = float(variance[best]) ** 0.5
    score, score_sd = surrogates.scale.backward_with_sd(float(mean[best]), sd)
    return Recommendation(fitting[best][0], sign(settings.goal) * score, score_sd)


def _score(observation: Observation, settings: Settings) -> float:
    assert observation.score is not None
    return sign(settings.goal) * observation.score


def _affordable(observation: Observation, at_cost: float | None) -> bool:
    return at_cost is None or (observation.cost is not None and observation.cost <= at_cost)
