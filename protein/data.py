"""Observations as arrays, in an order of their own.

Inside, larger scores are better. Rows are sorted before anything is computed from them, so that
the order in which trials finished changes nothing. For trials that were stopped early stands what
their curves let expect of the end.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protein.curves import Finished
from protein.encoding import Encoding, rows
from protein.observation import Observation
from protein.pareto import sign
from protein.settings import Settings

Array = NDArray[np.float64]

_ENORMOUS = 1e100  # squares of scores must stay finite


@dataclass(frozen=True, slots=True)
class Data:
    """Observations as arrays; scores with larger better. All rows sorted."""

    U: Array  # [n, d] successes
    score: Array  # [n]
    cost: Array  # [n], NaN where unknown
    doubt: Array  # [n], standard deviation of a forecast score, 0 of one that was seen
    failed: Array  # [f, d]

    @classmethod
    def of(cls, encoding: Encoding, settings: Settings, observed: Sequence[Observation]) -> "Data":
        """Sort observations into successes and failures.

        A stopped trial that reported nothing on its way says nothing. What it cost says nothing of
        a whole one.
        """
        good = [o for o in observed if o.succeeded and (o.curve or not o.is_stopped)]
        U, kept = rows(encoding, [o.params for o in good])
        good = [good[index] for index in kept]
        expected, doubt = _scores(good)
        score = np.clip(sign(settings.goal) * expected, -_ENORMOUS, _ENORMOUS)
        cost = np.array([_cost(o, settings) for o in good])
        failed, _ = rows(encoding, [o.params for o in observed if not o.succeeded])
        order = np.lexsort((cost, score, *U.T)) if len(U) else np.empty(0, dtype=np.int64)
        failed = failed[np.lexsort(failed.T)]
        return cls(U[order], score[order], cost[order], doubt[order], failed)


def _scores(good: Sequence[Observation]) -> tuple[Array, Array]:
    """Give each trial's score, of a stopped one that which is to be expected, and its deviation."""
    seen = [(float(o.score or 0.0), 0.0) for o in good]
    if any(o.is_stopped for o in good):
        told = [(o.curve, float(o.score or 0.0)) for o in good if not o.is_stopped]
        finished = Finished.of(sorted(told))
        seen = [
            finished.forecast(o.curve) if o.is_stopped else one
            for o, one in zip(good, seen, strict=True)
        ]
    score, doubt = np.array(seen).reshape(-1, 2).T
    return score, doubt


def _cost(observation: Observation, settings: Settings) -> float:
    cost = None if observation.is_stopped else observation.cost
    if cost is None and settings.cost_parameter is not None:
        value = observation.params.get(settings.cost_parameter)
        cost = None if isinstance(value, str) else value
    return math.nan if cost is None or not math.isfinite(cost) else float(cost)
