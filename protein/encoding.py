# ruff: noqa: F722 - jaxtyping's shapes are strings, not forward references
"""The space as arrays: rows of the unit cube, and the features that a surrogate sees.

Columns are ordered by the parameters' names, whatever their order in the file, so that permuting
the parameters changes nothing. A categorical parameter has one coordinate in the cube and one
feature column per value, so that all different values are equally far apart (distance 1).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from protein.observation import Value
from protein.parameter import Categorical, Numeric, Parameter
from protein.space import Space

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Encoding:
    """Maps between parameter values, the unit cube [d] and features [D] of one space.

    With `earlier` sweeps to learn from, features say in their last columns which sweep a row is
    of: 0 the present one, then the earlier ones. How alike sweeps are is then one more lengthscale.
    """

    space: Space
    earlier: int = 0

    @cached_property
    def parameters(self) -> tuple[Parameter, ...]:
        """The tuned parameters in the order of the columns."""
        return tuple(sorted(self.space.parameters, key=lambda parameter: parameter.name))

    @property
    def dimension(self) -> int:
        """The number of coordinates, d."""
        return len(self.parameters)

    @cached_property
    def center(self) -> Array:
        """The point that the user expects to be good, snapped."""
        row: Array = self.snap(np.array([[p.center for p in self.parameters]]))[0]
        return row

    @cached_property
    def cells(self) -> Array:
        """The number of values of each parameter, infinite for real ones."""
        return np.array([math.inf if p.cells is None else p.cells for p in self.parameters])

    @cached_property
    def is_categorical(self) -> NDArray[np.bool_]:
        """Which coordinates have no order."""
        return np.array([isinstance(p, Categorical) for p in self.parameters], dtype=bool)

    @cached_property
    def group(self) -> NDArray[np.int64]:
        """The parameter that each feature column belongs to."""
        widths = [len(p.values) if isinstance(p, Categorical) else 1 for p in self.parameters]
        if self.earlier:
            widths.append(self.earlier + 1)
        return np.repeat(np.arange(len(widths)), widths)

    @cached_property
    def ordered_columns(self) -> NDArray[np.int64]:
        """The feature column of each coordinate that has an order."""
        first = np.searchsorted(self.group, np.arange(self.dimension))
        return first[~self.is_categorical]

    @cached_property
    def _conditions(self) -> tuple[tuple[int, int, tuple[int, ...]], ...]:
        """Child column, parent column and the parent's cells that make the child active."""
        index = {p.name: i for i, p in enumerate(self.parameters)}
        found = []
        for child, parameter in sorted(
            enumerate(self.parameters), key=lambda item: self._depth(item[1])
        ):
            when = parameter.when
            if when is not None and when.parameter in index:
                parent = self.parameters[index[when.parameter]]
                allowed = tuple(
                    math.floor(parent.to_unit(value) * (parent.cells or 1))
                    for value in when.values
                    if parent.contains(value)
                )
                found.append((child, index[when.parameter], allowed))
        return tuple(found)

    def _depth(self, parameter: Parameter) -> int:
        parents = {p.name: p for p in self.parameters}
        depth = 0
        while parameter.when is not None and parameter.when.parameter in parents:
            parameter, depth = parents[parameter.when.parameter], depth + 1
        return depth

    def active(self, U: Float[Array, "n d"]) -> NDArray[np.bool_]:
        """Tell for each coordinate of each row whether its parameter is active."""
        active = np.ones(U.shape, dtype=bool)
        for index, parameter in enumerate(self.parameters):
            when = parameter.when
            if when is not None and when.parameter in self.space.fixed:
                active[:, index] = self.space.fixed[when.parameter] in when.values
        for child, parent, allowed in self._conditions:
            cell = np.floor(U[:, parent] * self.cells[parent])
            active[:, child] = active[:, parent] & np.isin(cell, allowed)
        return active

    def snap(self, U: Float[Array, "n d"]) -> Float[Array, "n d"]:
        """Move rows to what they will be as values: discrete coordinates to the middle of their
        cell, inactive ones to their centre."""
        snapped = np.clip(U, 0.0, 1.0)
        discrete = np.isfinite(self.cells)
        k = self.cells[discrete]
        snapped[:, discrete] = (np.clip(np.floor(snapped[:, discrete] * k), 0, k - 1) + 0.5) / k
        if any(p.when is not None for p in self.parameters):
            centers = np.array([p.center for p in self.parameters])
            snapped = np.where(self.active(snapped), snapped, centers)
        return snapped

    def features(self, U: Float[Array, "n d"], sweep: int = 0) -> Float[Array, "n D"]:
        """Expand rows to what a surrogate sees."""
        if not self.is_categorical.any() and not self.earlier:
            return U
        columns = []
        for index, parameter in enumerate(self.parameters):
            column = U[:, index]
            if isinstance(parameter, Categorical):
                k = len(parameter.values)
                cell = np.clip(np.floor(column * k), 0, k - 1)
                columns.append((cell[:, None] == np.arange(k)) / math.sqrt(2.0))
            else:
                columns.append(column[:, None])
        if self.earlier:
            is_sweep = np.arange(self.earlier + 1) == sweep
            columns.append(np.tile(is_sweep / math.sqrt(2.0), (len(U), 1)))
        return np.hstack(columns)

    def locate(self, params: Mapping[str, Value]) -> Array | None:
        """Give the row of values that may come from elsewhere, None if they do not fit the space.

        A missing parameter counts as its centre, a number outside the range as a row outside the
        cube, at most half a range away.
        """
        row = []
        for parameter in self.parameters:
            value = params.get(parameter.name)
            if value is None:
                row.append(parameter.center)
            elif isinstance(parameter, Numeric):
                if isinstance(value, str) or not math.isfinite(value):
                    return None
                row.append(_reach(parameter, float(value)))
            elif parameter.contains(value):
                row.append(parameter.to_unit(value))
            else:
                return None
        return np.array(row)

    def decode(self, row: Float[Array, " d"]) -> dict[str, Value]:
        """Give the values of a row, fixed ones included, in the user's order."""
        values = {
            p.name: p.tidy(p.from_unit(float(u)))  # type: ignore[arg-type]  # its own value
            for p, u in zip(self.parameters, row, strict=True)
        }
        active = self.space.active(values | dict(self.space.fixed))
        return {p.name: values[p.name] for p in active} | dict(self.space.fixed)


def _reach(parameter: Numeric, value: float) -> float:
    try:
        unit = parameter.to_unit(value)
    except (ValueError, ZeroDivisionError):  # the logarithm of what is not positive
        unit = -0.5 if value < parameter.min else 1.5
    return min(max(unit, -0.5), 1.5)


def rows(
    encoding: Encoding, params: Sequence[Mapping[str, Value]]
) -> tuple[Float[Array, "k d"], list[int]]:
    """Give the rows of all params that fit the space, and their indices."""
    located = [(index, encoding.locate(one)) for index, one in enumerate(params)]
    fitting = [(index, row) for index, row in located if row is not None]
    if not fitting:
        return np.empty((0, encoding.dimension)), []
    return np.array([row for _, row in fitting]), [index for index, _ in fitting]
