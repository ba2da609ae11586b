"""What a user may set about the search."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from protein.pareto import Goal


@dataclass(frozen=True, slots=True)
class Budget:
    """What a sweep may spend, or what is left of it; None: no limit.

    `cost` is in the unit of observations' costs: of what is left, running trials are still to be
    paid. `trials` may be suggested still, the next one included.
    """

    cost: float | None = None
    trials: int | None = None


NO_LIMIT = Budget()


@dataclass(frozen=True, slots=True)
class Settings:
    """How to search.

    `num_random_samples` space-filling trials come before the first model, the centre of the space
    (the parameters' `mean`) first among them. `cost_parameter` names a parameter, such as
    `trainer.total_timesteps`, whose value is what a trial costs when it reports no cost. `method`
    is one of `protein.methods`, `options` its arguments.
    """

    goal: Goal = "maximize"
    num_random_samples: int = 5
    method: str = "protein"
    cost_parameter: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.goal not in ("maximize", "minimize"):
            raise ValueError(f"goal must be 'maximize' or 'minimize', is {self.goal!r}")
        if self.num_random_samples < 1:
            raise ValueError(f"num_random_samples must be 1 or more, is {self.num_random_samples}")
