"""Other ways to suggest, behind the same function type, chosen by `Settings.method`.

protein            the optimizer of this package
random             independent draws from the prior
sobol              a scrambled Sobol sequence
grid               each combination once; `options["levels"]` values of a real parameter
optuna:TPESampler  any sampler of Optuna, made with the suggestion's seed
package.module:fn  a function of your own, of type `Method`
"""

from collections.abc import Mapping, Sequence
from importlib import import_module
from itertools import product
from typing import Protocol

import numpy as np

from protein.encoding import Encoding, rows
from protein.initial import from_prior
from protein.observation import Observation, Suggestion, Value
from protein.settings import Settings
from protein.space import Space

Params = Mapping[str, Value]

GRID_LEVELS = 5


class Method(Protocol):
    """Suggests the next trial from the whole history; the same arguments give the same answer."""

    def __call__(
        self,
        space: Space,
        settings: Settings,
        observed: Sequence[Observation],
        pending: Sequence[Params],
        seed: int,
    ) -> Suggestion:
        """Suggest the next trial."""
        ...


def method_named(name: str) -> Method:
    """Find a method. ValueError if there is none of this name."""
    known: dict[str, Method] = {"random": random, "sobol": sobol, "grid": grid}
    if name in known:
        return known[name]
    module, colon, attribute = name.partition(":")
    if module == "optuna" and attribute:
        from protein.optuna_methods import optuna_method

        return optuna_method(attribute)
    if not colon:
        choices = ", ".join(["protein", *known, "optuna:<Sampler>", "<module>:<function>"])
        raise ValueError(f"unknown method {name!r}; one of: {choices}")
    try:
        found: Method = getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"method {name!r} cannot be imported: {error}") from error
    return found


def random(
    space: Space,
    settings: Settings,  # noqa: ARG001 - part of the type
    observed: Sequence[Observation],  # noqa: ARG001
    pending: Sequence[Params],  # noqa: ARG001
    seed: int,
) -> Suggestion:
    """Draw from the prior, whatever was seen."""
    encoding = Encoding(space)
    U = np.random.default_rng(seed).random((1, encoding.dimension))
    row = encoding.snap(from_prior(encoding, U))[0]
    return Suggestion(encoding.decode(row), {"origin": "random"})


def sobol(
    space: Space,
    settings: Settings,  # noqa: ARG001
    observed: Sequence[Observation],
    pending: Sequence[Params],
    seed: int,  # noqa: ARG001 - one sequence serves the whole sweep
) -> Suggestion:
    """Go on along one scrambled Sobol sequence: its place is the number of trials so far."""
    from scipy.stats import qmc

    encoding = Encoding(space)
    sequence = qmc.Sobol(encoding.dimension, rng=np.random.default_rng(0))
    place = len(observed) + len(pending)
    if place:
        sequence.fast_forward(place)
    row = encoding.snap(sequence.random(1))[0]
    return Suggestion(encoding.decode(row), {"origin": "sobol"})


def grid(
    space: Space,
    settings: Settings,
    observed: Sequence[Observation],
    pending: Sequence[Params],
    seed: int,
) -> Suggestion:
    """Give the first combination that was not tried; all tried, start over at random."""
    encoding = Encoding(space)
    levels = int(settings.options.get("levels", GRID_LEVELS))
    axes = [_axis(cells, levels) for cells in encoding.cells]
    tried, _ = rows(encoding, [*(o.params for o in observed), *pending])
    seen = {row.tobytes() for row in np.round(encoding.snap(tried), 9)}
    for point in product(*axes):
        row = encoding.snap(np.array([point]))[0]
        if np.round(row, 9).tobytes() not in seen:
            return Suggestion(encoding.decode(row), {"origin": "grid"})
    rng = np.random.default_rng(seed)
    again = encoding.snap(np.array([[rng.choice(axis) for axis in axes]]))[0]
    return Suggestion(encoding.decode(again), {"origin": "grid", "exhausted": True})


def _axis(cells: float, levels: int) -> list[float]:
    """Give unit coordinates: the middles of all cells, or levels from bound to bound."""
    if np.isfinite(cells):
        return [(index + 0.5) / cells for index in range(int(cells))]
    return [float(u) for u in np.linspace(0.0, 1.0, levels)] if levels > 1 else [0.5]
