"""What a sweep's trials have taught so far: counts, and the best for their costs.

Kept trial by trial: to go through 10,000 trials before each start would cost more than the start.
"""

import math
from bisect import bisect_left
from dataclasses import dataclass, replace

from launcher.optimizer import observation
from launcher.state import State, Trial
from protein.observation import Observation
from protein.pareto import Goal, sign

Point = tuple[float, float, int]
"""A trial's cost in seconds (inf: unknown), its score with its sign turned so that larger is
better, and its number."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How many trials taught something, how many of them failed, and the Pareto front by cost.

    Of trials that are equal the first to end is on the front.
    """

    goal: Goal
    observations: int = 0
    failures: int = 0
    front: tuple[Point, ...] = ()

    @classmethod
    def of(cls, goal: Goal, state: State) -> "Standing":
        """Return the standing after all trials of a state."""
        standing = cls(goal)
        for trial in state.ordered:
            standing = standing.after(None, trial)
        return standing

    def after(self, before: Trial | None, trial: Trial) -> "Standing":
        """Return the standing after `trial`, which was `before` until now, has changed.

        A trial with a score keeps it for ever: only failures are tried again.
        """
        known = None if before is None else observation(before)
        new = observation(trial)
        if known == new:
            return self
        return replace(
            self,
            observations=self.observations + (new is not None) - (known is not None),
            failures=self.failures + _is_failure(new) - _is_failure(known),
            front=self.front if new is None else self._with(new, trial.number),
        )

    def _with(self, new: Observation, number: int) -> tuple[Point, ...]:
        if not new.succeeded:
            return self.front
        assert new.score is not None  # it succeeded
        cost = math.inf if new.cost is None else new.cost
        worth, front = sign(self.goal) * new.score, self.front
        at = bisect_left(front, (cost,))
        beaten = (at > 0 and front[at - 1][1] >= worth) or (
            at < len(front) and front[at][0] == cost and front[at][1] >= worth
        )
        if beaten:
            return front
        rest = at
        while rest < len(front) and front[rest][1] <= worth:
            rest += 1
        return (*front[:at], (cost, worth, number), *front[rest:])


def _is_failure(observation: Observation | None) -> bool:
    return observation is not None and observation.is_failure
