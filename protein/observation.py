"""What was tried, and what should be tried next."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Value = str | int | float | bool
"""The value of one parameter."""


@dataclass(frozen=True, slots=True)
class Observation:
    """One trial that is over.

    `score` is None when the trial reported none; `cost` (any positive unit, the same for all
    observations) is None when unknown, which is not the same as free. `is_failure` says that the
    parameters are to blame: it teaches which parameters fail and never what they score.

    `curve` is what the trial reported on its way, (resource, value) in order, such as steps and
    the score by then. `is_stopped` says that it was ended before it was done, `score` being what
    it had come to: what it would have scored is then forecast from its curve and the finished ones.
    """

    params: Mapping[str, Value]
    score: float | None
    cost: float | None = None
    is_failure: bool = False
    suggestion_id: str | None = None
    curve: tuple[tuple[float, float], ...] = ()
    is_stopped: bool = False

    @property
    def succeeded(self) -> bool:
        """Whether there is a finite score to learn from."""
        return not self.is_failure and self.score is not None and math.isfinite(self.score)


@dataclass(frozen=True, slots=True)
class Suggestion:
    """Parameters to try, fixed values included, and as `info` (JSON-able) why.

    `info["origin"]` is "initial", "explore" or "exploit"; where a model was asked it also holds
    `predicted_score`, `predicted_score_sd`, `predicted_cost` (absent while costs are unknown) and
    `p_feasible`.
    """

    params: Mapping[str, Value]
    info: Mapping[str, Any] = field(default_factory=dict)
