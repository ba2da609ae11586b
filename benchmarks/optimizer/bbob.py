"""Functions in the kind of BBOB; a family that the optimizer was never tuned on."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from scipy.stats import special_ortho_group

from benchmarks.optimizer.problem import Params, Problem
from protein import Space

_TURNED: dict[str, Callable[[np.ndarray], float]] = {  # minimum 0 at 0, box of half width 5
    "bent-cigar": lambda z: float(z[0] ** 2 + 1e6 * (z[1:] ** 2).sum()),
    "discus": lambda z: float(1e6 * z[0] ** 2 + (z[1:] ** 2).sum()),
    "sharp-ridge": lambda z: float(z[0] ** 2 + 100 * math.sqrt(float((z[1:] ** 2).sum()))),
    "powers": lambda z: float((np.abs(z) ** np.linspace(2, 6, len(z))).sum() ** 0.5),
    "schaffers": lambda z: _schaffers(z),
    "griewank": lambda z: _griewank(z),
}


def _schaffers(z: np.ndarray) -> float:
    s = np.sqrt(z[:-1] ** 2 + z[1:] ** 2)
    return float((np.sqrt(s) * (1 + np.sin(50 * s**0.2) ** 2)).mean() ** 2)


def _griewank(z: np.ndarray) -> float:
    waves = np.cos(z / np.sqrt(np.arange(1, len(z) + 1)))
    return float(1 + (z * z).sum() / 40 - waves.prod())


def bbob(seed: int) -> Iterator[Problem]:
    """Rotated, ill-conditioned, ridged and rugged functions, shifted by their seed."""
    for index, (name, function) in enumerate(_TURNED.items()):
        d = (3, 5, 8)[index % 3]
        rng = np.random.default_rng([seed, 41, index])
        center, turn = rng.uniform(-3.5, 3.5, d), special_ortho_group.rvs(d, random_state=rng)
        space = {f"x{i}": {"min": -5.0, "max": 5.0} for i in range(d)}

        def truth(p: Params, f: Any = function, c: Any = center, t: Any = turn) -> float:
            above: float = f(t @ (np.array(list(p.values())) - c))
            return -above

        typical = float(np.median([truth(_drawn(space, rng)) for _ in range(500)]))
        yield Problem(f"{name}{d}", "bbob", space, truth, 0.0, typical)


def _drawn(space: dict[str, Any], rng: np.random.Generator) -> Params:
    cube = Space.from_dict(space)
    return cube.from_unit(tuple(rng.random(len(cube.names))))
