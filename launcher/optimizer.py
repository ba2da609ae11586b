"""Where the coordinator meets Protein: a sweep's state in, the next suggestion out.

A pure function of config and state, so that a resumed sweep suggests what an undisturbed one
would have.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from launcher.config import SweepConfig
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
        return cls(Space.from_dict(sweep.parameters), settings, sweep.seed)

    def suggest(self, state: State) -> Suggestion:
        """Return the parameters of the sweep's next trial."""
        observed = observations(self.space, state)
        pending = [trial.params for trial in state.open_trials]
        number = len(state.trials) + 1
        return suggest(self.space, self.settings, observed, pending, seed_for(self.seed, number))


def observations(space: Space, state: State) -> list[Observation]:
    """Return what all trials teach about the present space; see `edits.project`."""
    known = [o for o in map(observation, state.ordered) if o is not None]
    if state.config_version == 1:
        return known
    projected = ((o, project(space, o.params)) for o in known)
    return [replace(o, params=params) for o, params in projected if not isinstance(params, str)]


def observation(trial: Trial) -> Observation | None:
    """Return what a trial teaches; None if it is not over, or ended by no fault of its own."""
    if trial.state is TrialState.SUCCEEDED:
        return Observation(trial.params, trial.score, trial.cost_seconds)
    if trial.failure is not None and trial.failure.is_parameters_fault and trial.state.is_over:
        return Observation(trial.params, None, trial.cost_seconds, is_failure=True)
    return None


def complete(space: Space, params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the user's own parameters with the fixed values beside them."""
    return {**space.fixed, **params}


Ask = Callable[[SweepConfig, State], Suggestion]


def ask(config: SweepConfig, state: State) -> Suggestion:
    """Return the optimizer's next suggestion: `Optimizer.of(config).suggest(state)`."""
    return Optimizer.of(config).suggest(state)
