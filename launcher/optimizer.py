"""Where the coordinator meets Protein: a sweep's state in, the next suggestion out.

A pure function of config and state, so that a resumed sweep suggests what an undisturbed one
would have.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from launcher.config import SweepConfig
from launcher.constraints import Constraint, all_hold, parse
from launcher.edits import project
from launcher.state import State, Trial, TrialState
from protein.observation import Observation, Suggestion
from protein.settings import Settings
from protein.space import Space
from protein.suggest import seed_for, suggest


@dataclass(frozen=True, slots=True)
class Optimizer:
    """Protein, set up for one version of a sweep's config."""

    space: Space
    settings: Settings
    seed: int
    constraints: tuple[Constraint, ...] = ()

    @classmethod
    def of(cls, config: SweepConfig) -> "Optimizer":
        """Set Protein up as the sweep file says."""
        sweep = config.sweep
        settings = Settings(
            goal=sweep.goal,
            num_random_samples=sweep.num_random_samples,
            method=sweep.method,
            cost_parameter=sweep.cost_parameter,
        )
        constraints = tuple(parse(text) for text in sweep.constraints)
        return cls(Space.from_dict(sweep.parameters), settings, sweep.seed, constraints)

    def suggest(self, state: State) -> Suggestion:
        """Return the parameters of the sweep's next trial."""
        observed = observations(self.space, state)
        pending = [trial.params for trial in state.open_trials]
        number = len(state.trials) + 1
        seed = seed_for(self.seed, number)
        constraint = all_hold(self.constraints)
        return suggest(self.space, self.settings, observed, pending, seed, constraint=constraint)


def observations(space: Space, state: State) -> list[Observation]:
    """Return what all trials teach about the present space; see `edits.project`."""
    known = [o for o in map(observation, state.ordered) if o is not None]
    if state.config_version == 1:
        return known
    projected = ((o, project(space, o.params)) for o in known)
    return [replace(o, params=params) for o, params in projected if not isinstance(params, str)]


def observation(trial: Trial) -> Observation | None:
    """Return what a trial teaches; None if it is not over, or ended by no fault of its own."""
    if trial.state is TrialState.SUCCEEDED or (
        trial.state is TrialState.STOPPED and trial.score is not None
    ):
        return Observation(trial.params, trial.score, trial.cost_seconds)
    if trial.failure is not None and trial.failure.is_parameters_fault and trial.state.is_over:
        return Observation(trial.params, None, trial.cost_seconds, is_failure=True)
    return None


def complete(space: Space, params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the user's own parameters with the fixed values beside them."""
    return {**space.fixed, **params}


Ask = Callable[[SweepConfig, State], Suggestion]


def ask(config: SweepConfig, state: State) -> Suggestion:
    """Return the next suggestion: the optimizer's, or its last one with another seed.

    With `seeds: 3` each suggestion is tried three times; the optimizer sees three observations at
    one place, which tell it their mean and the noise.
    """
    seeds = config.sweep.seeds
    if seeds == 1:
        return Optimizer.of(config).suggest(state)
    last = state.trials[len(state.trials)] if state.trials else None
    replicate = last.info.get("replicate", seeds) if last is not None else seeds
    if last is not None and replicate < seeds:
        params = {**last.params, SEED: last.params[SEED] + 1}
        info = {"origin": "replicate", "of": last.info["of"], "replicate": replicate + 1}
        return Suggestion(params, info)
    suggestion = Optimizer.of(config).suggest(state)
    params = {**suggestion.params, SEED: config.sweep.fixed.get(SEED, 0)}
    number = len(state.trials) + 1
    return Suggestion(params, {**suggestion.info, "of": number, "replicate": 1})


SEED = "seed"
"""The parameter that tells apart the runs of one suggestion."""
