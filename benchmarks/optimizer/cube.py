"""What peers without our distributions see: the unit cube, whole numbers and choices by cells."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from benchmarks.optimizer.problem import Params
from protein import Space
from protein.parameter import Categorical


class Cube:
    """A space as a cube, and what was told about it.

    With a `seed` categories are numbered by chance: to a peer that sees numbers the file's order
    may say that the best category lies in the middle, where it begins.
    """

    def __init__(self, space: Mapping[str, Any], seed: int | None = None) -> None:
        self.space = Space.from_dict(space)
        self.told: list[tuple[Any, float | None]] = []
        rng = np.random.default_rng(seed)
        self.cell = {
            p.name: range(p.cells) if seed is None else rng.permutation(p.cells)
            for p in self.space.parameters
            if isinstance(p, Categorical)
        }

    def decode(self, values: Mapping[str, Any]) -> Params:
        """Give the parameters of one value for each: `c3` a category, 3 a cell, 0.3 a place."""
        unit = []
        for p in self.space.parameters:
            value = values[p.name]
            if isinstance(p, Categorical):
                unit.append((self.cell[p.name][int(str(value).removeprefix("c"))] + 0.5) / p.cells)
            elif p.cells is not None:
                unit.append((int(value) + 0.5) / p.cells)
            else:
                unit.append(float(value))
        return self.space.from_unit(tuple(unit)) | dict(self.space.fixed)

    def worst(self) -> float:
        """Give the worst score told, which peers without failures take for a failed trial's."""
        return min((score for _, score in self.told if score is not None), default=0.0)
