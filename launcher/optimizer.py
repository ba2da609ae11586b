"""Where the coordinator meets Protein: a sweep's state in, the next suggestion out.

A pure function of config and state, so that a resumed sweep suggests what an undisturbed one
would have.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from launcher.budget import active_seconds
from launcher.config import SweepConfig
from launcher.edits import project
from launcher.errors import ProteinSkyError
from launcher.objectives import both, contributions, scalarised
from launcher.state import State, Trial, TrialState
from launcher.sweepfile.constraints import Constraint, all_hold, parse
from protein.observation import Observation, Suggestion
from protein.pareto import unbeaten
from protein.settings import Budget, Settings
from protein.space import Space

if TYPE_CHECKING:  # numpy and scipy take half a second: who only looks at a sweep does without
    from protein.importance import Importance
    from protein.recommend import Recommendation


@dataclass(frozen=True, slots=True)
class Optimizer:
    """Protein, set up for one version of a sweep's config; a trial has so many `gpus`."""

    space: Space
    settings: Settings
    config: SweepConfig
    constraints: tuple[Constraint, ...] = ()
    gpus: int = 0

    @classmethod
    def of(cls, config: SweepConfig, *, gpus: int = 0) -> "Optimizer":
        """Set Protein up as the sweep file says."""
        sweep = config.sweep
        settings = Settings(
            goal="maximize" if sweep.second_objective is not None else sweep.goal,
            num_random_samples=sweep.num_random_samples,
            method=sweep.method,
            cost_parameter=sweep.cost_parameter,
        )
        constraints = tuple(parse(text) for text in sweep.constraints)
        return cls(Space.from_dict(sweep.parameters), settings, config, constraints, gpus)

    def suggest(self, state: State, recall: "Recall") -> Suggestion:
        """Return the parameters of the sweep's next trial.

        Raises ProteinSkyError if no parameters fulfil the sweep's constraints.
        """
        from protein.suggest import seed_for, suggest

        seed = seed_for(self.config.sweep.seed, len(state.trials) + 1)
        observed = observations(self.space, state, recall)
        if self.config.sweep.second_objective is not None:
            observed = self._weighed(state, observed, seed)
        pending = [trial.params for trial in state.open_trials]
        constraint = all_hold(self.constraints)
        ask = partial(suggest, self.space, self.settings, observed, pending)
        try:
            if self.settings.method == "random" and constraint is not None:
                return _first_that(constraint, (ask(seed_for(seed, n)) for n in range(MAX_DRAWS)))
            return ask(
                seed,
                constraint=constraint,
                earlier=recall.earlier,
                left=self.left(state),
                memo=recall.memo,
            )
        except ValueError as error:
            raise ProteinSkyError(
                f"no parameters fulfil the constraints: {error}",
                hint="loosen sweep.constraints, or widen the ranges: protein-sky edit",
            ) from error

    def left(self, state: State) -> Budget:
        """Return what is left of the sweep's budget.

        Dollars, hours and GPU hours count as costs at what they have bought until now: trials may
        measure their costs themselves, machines have their prices, and several trials share an
        hour.
        """
        over = [t for t in state.ordered if t.state.is_over and t.cost_seconds]
        paid = [t for t in over if t.cost_usd]
        limits, worked, lefts = self.config.budget, active_seconds(state, state.at) / 3600, []
        if limits.usd is not None and paid:
            per_usd = _costs(paid) / sum(t.cost_usd for t in paid)
            lefts.append((limits.usd - state.settled_usd) * per_usd)
        if limits.hours is not None and over and worked > 0.0:
            lefts.append((limits.hours - worked) * _costs(over) / worked)
        gpu_hours = state.machine_seconds / 3600 * self.gpus
        if limits.gpu_hours is not None and over and gpu_hours > 0.0:
            lefts.append((limits.gpu_hours - gpu_hours) * _costs(over) / gpu_hours)
        trials_left = self.config.total_trials - len(state.trials)
        return Budget(cost=min(lefts, default=None), trials=trials_left)

    def _weighed(
        self, state: State, observed: Sequence[Observation], seed: int
    ) -> list[Observation]:
        """Return the observations with one score for both objectives; see `objectives`."""
        pairs = [(o, both(self.config.sweep, _trial_of(state, o))) for o in observed]
        known = [(o, scores) for o, scores in pairs if scores is not None]
        scores = scalarised([pair for _, pair in known], seed)
        failures = [o for o in observed if o.is_failure]
        weighed = [replace(o, score=s) for (o, _), s in zip(known, scores, strict=True)]
        return weighed + failures


def _costs(trials: Sequence[Trial]) -> float:
    return sum(trial.cost_seconds or 0.0 for trial in trials)


MAX_DRAWS = 10_000
"""Random draws after which constraints count as impossible."""


def _first_that(
    constraint: Callable[[Mapping[str, Any]], bool], drawn: Iterable[Suggestion]
) -> Suggestion:
    for suggestion in drawn:
        if constraint(suggestion.params):
            return suggestion
    raise ValueError(f"none of {MAX_DRAWS} random draws does")


class Recall:
    """What an optimizer need not work out again. It saves time and changes no suggestion.

    `earlier` are the observations of the sweeps that this one starts warm from.
    """

    def __init__(self, earlier: Sequence[Sequence[Observation]] = ()) -> None:
        from protein.suggest import Memo

        self.earlier = earlier
        self.memo: Memo = Memo()
        self._known: dict[int, tuple[Trial, Observation | None]] = {}

    def observation(self, trial: Trial) -> Observation | None:
        """Return `observation(trial)`, the very same object each time."""
        known = self._known.get(trial.number)
        if known is None or known[0] is not trial:
            known = self._known[trial.number] = (trial, observation(trial))
        return known[1]


def observations(space: Space, state: State, recall: Recall) -> list[Observation]:
    """Return what all trials teach about the present space; see `edits.project`."""
    known = [o for o in map(recall.observation, state.ordered) if o is not None]
    if state.config_version == 1:
        return known
    projected = ((o, project(space, o.params)) for o in known)
    return [replace(o, params=params) for o, params in projected if not isinstance(params, str)]


def observation(trial: Trial) -> Observation | None:
    """Return what a trial teaches; None if it is not over, or ended by no fault of its own.

    Its `suggestion_id` is the trial's number.
    """
    number = str(trial.number)
    is_stopped, score = trial.state is TrialState.STOPPED, trial.score
    if is_stopped and score is None and trial.curve:
        score = trial.curve[-1][1]  # of another metric: what counts is what the curve lets expect
    if trial.state is TrialState.SUCCEEDED or (is_stopped and score is not None):
        return Observation(
            trial.params,
            score,
            trial.cost_seconds,
            suggestion_id=number,
            curve=trial.curve,
            is_stopped=is_stopped,
        )
    if trial.failure is not None and trial.failure.is_parameters_fault and trial.state.is_over:
        return Observation(trial.params, None, trial.cost_seconds, True, number)
    return None


def _trial_of(state: State, observation: Observation) -> Trial:
    assert observation.suggestion_id is not None  # `observation` made it
    return state.trials[int(observation.suggestion_id)]


def complete(space: Space, params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the user's own parameters with the fixed values beside them."""
    return {**space.fixed, **params}


Ask = Callable[[SweepConfig, State], Suggestion]


def asking(earlier: Sequence[Sequence[Observation]] = (), *, gpus: int = 0) -> Ask:
    """Return what answers `ask` for one sweep again and again, and remembers what saves time."""
    recall = Recall(earlier)
    return lambda config, state: ask(config, state, recall, gpus=gpus)


def ask(
    config: SweepConfig, state: State, recall: Recall | None = None, *, gpus: int = 0
) -> Suggestion:
    """Return the next suggestion: the optimizer's, or its last one with another seed.

    With `seeds: 3` each suggestion is tried three times; the optimizer sees three observations at
    one place, which tell it their mean and the noise. `gpus`: those of one trial on all its nodes.
    """
    seeds, recall = config.sweep.seeds, recall or Recall()
    optimizer = Optimizer.of(config, gpus=gpus)
    if seeds == 1:
        return optimizer.suggest(state, recall)
    last = state.trials[len(state.trials)] if state.trials else None
    replicate = last.info.get("replicate", seeds) if last is not None else seeds
    if last is not None and replicate < seeds:
        params = {**last.params, SEED: last.params[SEED] + 1}
        info = {"origin": "replicate", "of": last.info["of"], "replicate": replicate + 1}
        return Suggestion(params, info)
    suggestion = optimizer.suggest(state, recall)
    params = {**suggestion.params, SEED: config.sweep.fixed.get(SEED, 0)}
    number = len(state.trials) + 1
    return Suggestion(params, {**suggestion.info, "of": number, "replicate": 1})


SEED = "seed"
"""The parameter that tells apart the runs of one suggestion."""


def recommendation(
    config: SweepConfig, state: State, *, at_cost: float | None = None
) -> "Recommendation | None":
    """Return the trial that a repeat is expected to score best, among those of at most a cost.

    With a second objective: the one that adds most to the hypervolume of what is expected of both.
    """
    from protein.recommend import expected, is_within, recommend

    space, known = _all_known(config, state)
    settings = replace(Optimizer.of(config).settings, goal=config.sweep.goal)
    second = config.sweep.second_objective
    if second is None:
        return recommend(space, settings, known, at_cost=at_cost)
    others = _second_scores(config, state, known)
    first = expected(space, settings, [o for o, _ in others])
    other = expected(space, replace(settings, goal=second.goal), [o for _, o in others])
    pairs = [(a, b) for a, b in zip(first, other, strict=True) if is_within(a, at_cost)]
    promises = [(a.promise, b.promise) for a, b in pairs]
    front = unbeaten(promises)
    shares = contributions([promises[index] for index in front])
    best = max(zip(shares, front, strict=True), key=lambda one: one[0], default=None)
    return None if best is None else pairs[best[1]][0]


def _second_scores(
    config: SweepConfig, state: State, known: Sequence[Observation]
) -> list[tuple[Observation, Observation]]:
    """Return the observations that have both scores, each with its like for the second."""
    second = config.sweep.second_objective
    assert second is not None  # who calls has looked
    scores = [
        (o, _trial_of(state, o).metrics.get(second.metric))
        for o in known
        if o.succeeded and not o.is_stopped
    ]
    return [(o, replace(o, score=score)) for o, score in scores if score is not None]


def importances(config: SweepConfig, state: State) -> "tuple[Importance, ...]":
    """Return how much each parameter matters for the score, the greatest first."""
    from protein.importance import importance

    space, known = _all_known(config, state)
    settings = replace(Optimizer.of(config).settings, goal=config.sweep.goal)
    return importance(space, settings, known)


def _all_known(config: SweepConfig, state: State) -> tuple[Space, list[Observation]]:
    space = Space.from_dict(config.sweep.parameters)
    return space, observations(space, state, Recall())
