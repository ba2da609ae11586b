"""Protein: cost-aware Bayesian optimisation of expensive, noisy, failing trials.

The way of a suggestion, one module a step:

    space        what may be tried: parameters, their distributions, the unit cube
    observation  what was tried and what is suggested
    suggest      (space, settings, observed, pending, seed) -> Suggestion, a pure function
      initial      the first, space-filling trials
      surrogates   observations -> Gaussian processes (gp) for score and log cost, P(feasible)
      candidates   where to look: everywhere, and around the best
      acquisition  what a look is worth: log expected improvement, cost, feasibility
    pareto       the best scores for their costs
    ask_tell     Protein, a thin class over `suggest` for a loop of one's own
    wandb_protein, metta_protein   the same inside a W&B sweep: the package's edge

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
    from protein.settings import Settings
    from protein.space import Space, SpaceError, SpaceProblem
    from protein.suggest import seed_for
    from protein.wandb_protein import WandbProtein

__all__ = [
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
