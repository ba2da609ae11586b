"""Observations as arrays, in an order of their own.

Inside, larger scores are better. Rows are sorted before anything is computed from them, so that
the order in which trials finished changes nothing.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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
    failed: Array  # [f, d]

    @classmethod
    def of(cls, encoding: Encoding, settings: Settings, observed: Sequence[Observation]) -> "Data":
        """Sort observations into successes and failures."""
        good = [o for o in observed if o.succeeded]
        U, kept = rows(encoding, [o.params for o in good])
        good = [good[index] for index in kept]
        score = np.array([sign(settings.goal) * float(o.score or 0.0) for o in good])
        score = np.clip(score, -_ENORMOUS, _ENORMOUS)
        cost = np.array([_cost(o, settings) for o in good])
        failed, _ = rows(encoding, [o.params for o in observed if not o.succeeded])
        order = np.lexsort((cost, score, *U.T)) if len(U) else np.empty(0, dtype=np.int64)
        return cls(U[order], score[order], cost[order], failed[np.lexsort(failed.T)])


def _cost(observation: Observation, settings: Settings) -> float:
    cost = observation.cost
    if cost is None and settings.cost_parameter is not None:
        value = observation.params.get(settings.cost_parameter)
        cost = None if isinstance(value, str) else value
    return math.nan if cost is None or not math.isfinite(cost) else float(cost)
