"""The best scores for their costs."""

import math
from collections.abc import Iterable, Sequence
from typing import Literal

from protein.observation import Observation

Goal = Literal["maximize", "minimize"]


def sign(goal: Goal) -> float:
    """Give the factor that turns a score into "larger is better"."""
    return 1.0 if goal == "maximize" else -1.0


def pareto_front(observations: Iterable[Observation], goal: Goal) -> tuple[Observation, ...]:
    """Give the successful observations that none other beats at the same or a lower cost.

    Ordered by cost, so scores improve along the way. Of equal observations the first is kept. An
    observation without a known cost is taken as dearer than all others: it stays only when its
    score beats them all.
    """
    known = [o for o in observations if o.succeeded]
    front = unbeaten([(_score(o, goal), -_cost(o)) for o in known])
    return tuple([known[index] for index in reversed(front)])


def unbeaten(scores: Sequence[tuple[float, float]]) -> list[int]:
    """Give the indices of the front of pairs, better is higher, the best first one first.

    Of equal pairs the earliest is kept.
    """
    kept: list[int] = []
    highest = -math.inf
    for _, less, index in sorted([(-a, -b, index) for index, (a, b) in enumerate(scores)]):
        if -less > highest or not kept:
            kept.append(index)
            highest = -less
    return kept


def best(observations: Iterable[Observation], goal: Goal) -> Observation | None:
    """Give the successful observation with the best score, the cheapest of equals."""
    front = pareto_front(observations, goal)
    return front[-1] if front else None


def _score(observation: Observation, goal: Goal) -> float:
    assert observation.score is not None
    return sign(goal) * observation.score


def _cost(observation: Observation) -> float:
    return math.inf if observation.cost is None else observation.cost
