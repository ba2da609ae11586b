"""Protein for a loop of one's own: ask for parameters, tell what they scored."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from protein import pareto
from protein.observation import Observation, Value
from protein.pareto import Goal
from protein.settings import NO_LIMIT, Budget, Settings
from protein.space import Space

if TYPE_CHECKING:  # scipy takes half a second to import: it waits for the first suggestion
    from protein.importance import Importance
    from protein.recommend import Recommendation
    from protein.suggest import Constraint, Memo


class Protein:
    """Asks `suggest` with everything told so far.

    >>> space = Space.from_dict({"lr": {"distribution": "log_normal", "min": 1e-5, "max": 1e-2}})
    >>> protein = Protein(space, goal="maximize", seed=0)
    >>> params, info = protein.suggest()
    >>> protein.observe(params, score=0.7, cost=12.5)
    >>> protein.best.params == params
    True
    """

    def __init__(
        self,
        space: Space,
        *,
        goal: Goal = "maximize",
        seed: int = 0,
        num_random_samples: int = 5,
        cost_parameter: str | None = None,
        method: str = "protein",
        constraint: "Constraint | None" = None,
        earlier: Sequence[Sequence[Observation]] = (),
        budget: Budget = NO_LIMIT,
    ) -> None:
        self.space = space
        self.settings = Settings(
            goal=goal,
            num_random_samples=num_random_samples,
            cost_parameter=cost_parameter,
            method=method,
        )
        self.seed = seed
        self.constraint = constraint
        self.earlier = earlier
        self.budget = budget
        self._observed: list[Observation] = []
        self._pending: dict[str, Mapping[str, Value]] = {}
        self._count = 0
        self._memo: Memo | None = None

    def suggest(self) -> tuple[dict[str, Value], dict[str, Any]]:
        """Give parameters to try, and why; they are pending until they are observed."""
        from protein.suggest import Memo, seed_for, suggest

        self._memo = self._memo or Memo()
        suggestion = suggest(
            self.space,
            self.settings,
            self._observed,
            list(self._pending.values()),
            seed_for(self.seed, self._count),
            constraint=self.constraint,
            earlier=self.earlier,
            left=self.left,
            memo=self._memo,
        )
        suggestion_id = f"{self._count:06d}"
        self._count += 1
        self._pending[suggestion_id] = suggestion.params
        return dict(suggestion.params), {**suggestion.info, "suggestion_id": suggestion_id}

    def observe(
        self,
        params_or_suggestion_id: Mapping[str, Value] | str,
        score: float | None,
        cost: float | None = None,
        is_failure: bool = False,
        *,
        curve: Iterable[tuple[float, float]] = (),
        is_stopped: bool = False,
    ) -> None:
        """Tell what came of a suggestion, or of parameters from anywhere else.

        Without a cost, that of the cost parameter counts. `curve` is what was reported on the way,
        (resource, value) in order; `is_stopped`: the trial was ended before it was done; see
        `Observation`. KeyError if a suggestion id is not pending.
        """
        if isinstance(params_or_suggestion_id, str):
            suggestion_id: str | None = params_or_suggestion_id
            params = self._pending.pop(params_or_suggestion_id)
        else:
            params = dict(params_or_suggestion_id)
            suggestion_id = self._pending_like(params)
            if suggestion_id is not None:
                del self._pending[suggestion_id]
        parameter = self.settings.cost_parameter
        if cost is None and parameter is not None:
            value = params.get(parameter)
            cost = None if isinstance(value, str) else value
        told = Observation(params, score, cost, is_failure, suggestion_id, tuple(curve), is_stopped)
        self._observed.append(told)

    def _pending_like(self, params: Mapping[str, Value]) -> str | None:
        return next((key for key, known in self._pending.items() if known == params), None)

    @property
    def left(self) -> Budget:
        """What is left of the budget. Trials of unknown cost count as the mean of the others."""
        cost, trials = self.budget.cost, self.budget.trials
        if cost is not None:
            known = [o.cost for o in self._observed if o.cost is not None]
            cost -= sum(known) / max(len(known), 1) * len(self._observed)
        return Budget(cost, None if trials is None else trials - self._count)

    @property
    def observations(self) -> tuple[Observation, ...]:
        """Everything told so far."""
        return tuple(self._observed)

    @property
    def best(self) -> Observation | None:
        """The trial to take home, None before the first success; see `recommendation`."""
        recommended = self.recommendation()
        return None if recommended is None else recommended.observation

    def recommendation(self, at_cost: float | None = None) -> "Recommendation | None":
        """Give the best trial by posterior, of those that cost at most `at_cost` if that is given.

        Beside the score that it drew stands the one expected of a repeat.
        """
        from protein.recommend import recommend

        return recommend(self.space, self.settings, self._observed, at_cost=at_cost)

    def importance(self) -> "tuple[Importance, ...]":
        """Tell which parameters matter, the most important first."""
        from protein.importance import importance

        return importance(self.space, self.settings, self._observed)

    @property
    def pareto_front(self) -> tuple[Observation, ...]:
        """The best scores for their costs, ordered by cost."""
        return pareto.pareto_front(self._observed, self.settings.goal)
