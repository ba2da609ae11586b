"""Protein: cost-aware Bayesian optimisation of expensive, noisy, failing trials.

The way of a suggestion, one module a step:

    space        what may be tried: parameters, their distributions, the unit cube
    observation  what was tried and what is suggested
    suggest      (space, settings, observed, pending, seed) -> Suggestion, a pure function
      encoding     parameter values as rows of the unit cube, and as features
      initial      the first, space-filling trials
      surrogates   observations (data, curves, scale, compress) -> Gaussian processes (gp) for
                   score, cost and feasibility
      search       candidates everywhere and around the best, valued by an acquisition:
                   log expected improvement, feasibility, thrift
    methods      other ways to suggest: random, sobol, grid, Optuna's samplers, your own
    pareto       the best scores for their costs
    recommend    the trial to take home, by posterior
    importance   which parameters matter
    ask_tell     Protein, a thin class over all this for a loop of one's own

Nothing here reads a clock, a file or global random state; the same inputs give the same
suggestion, whatever the number of threads. Importing the package imports neither numpy nor scipy:
names are loaded when they are first used (PEP 562).
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from protein.ask_tell import Protein
    from protein.metta_protein import MettaProtein
    from protein.observation import Observation, Suggestion
    from protein.pareto import pareto_front
    from protein.settings import Budget, Settings
    from protein.space import Space, SpaceError, SpaceProblem
    from protein.suggest import seed_for
    from protein.wandb_protein import WandbProtein

__all__ = [
    "Budget",
    "MettaProtein",
    "Observation",
    "Protein",
    "Settings",
    "Space",
    "SpaceError",
    "SpaceProblem",
    "Suggestion",
    "WandbProtein",
    "pareto_front",
    "seed_for",
]

_HOME = {
    "Budget": "settings",
    "MettaProtein": "metta_protein",
    "Observation": "observation",
    "Protein": "ask_tell",
    "Settings": "settings",
    "Space": "space",
    "SpaceError": "space",
    "SpaceProblem": "space",
    "Suggestion": "observation",
    "WandbProtein": "wandb_protein",
    "pareto_front": "pareto",
    "seed_for": "suggest",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"protein.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
