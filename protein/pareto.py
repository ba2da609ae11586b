"""The best scores for their costs."""

import math
from collections.abc import Iterable
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
    front: list[Observation] = []
    for observation in sorted(
        (o for o in observations if o.succeeded),
        key=lambda o: (_cost(o), -_score(o, goal)),
    ):
        if not front or _score(observation, goal) > _score(front[-1], goal):
            front.append(observation)
    return tuple(front)


def best(observations: Iterable[Observation], goal: Goal) -> Observation | None:
    """Give the successful observation with the best score, the cheapest of equals."""
    front = pareto_front(observations, goal)
    return front[-1] if front else None


def _score(observation: Observation, goal: Goal) -> float:
    assert observation.score is not None
    return sign(goal) * observation.score


def _cost(observation: Observation) -> float:
    return math.inf if observation.cost is None else observation.cost
