"""The search space: which parameters are tuned, where, and which are fixed."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from protein.observation import Value
from protein.parameter import Categorical, Condition, Distribution, Numeric, Parameter


@dataclass(frozen=True, slots=True)
class SpaceProblem:
    """One thing wrong with one parameter. `key` is the offending field, "" for the whole."""

    parameter: str
    key: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        where = f"{self.parameter}.{self.key}" if self.key else self.parameter
        return f"{where}: {self.message}" + (f"\n  hint: {self.hint}" if self.hint else "")


class SpaceError(ValueError):
    """A search space is wrong. `problems` holds everything found."""

    def __init__(self, problems: tuple[SpaceProblem, ...]) -> None:
        self.problems = problems
        super().__init__("\n".join(str(problem) for problem in problems))


@dataclass(frozen=True, slots=True)
class Space:
    """The parameters to tune, in the user's order, and the fixed values beside them.

    A point of the unit cube has one coordinate per tuned parameter, in the order of `parameters`.
    A parameter with a condition that does not hold is inactive: it is missing from the values, and
    its coordinate is that of its centre.
    """

    parameters: tuple[Parameter, ...]
    fixed: Mapping[str, Value] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "fixed", MappingProxyType(dict(self.fixed)))

    @classmethod
    def from_dict(cls, mapping: Mapping[str, Any]) -> "Space":
        """Read a space: dotted or nested names, each a parameter's mapping or a fixed scalar.

        `distribution` may be missing: it is `uniform` where `min` and `max` are given (also for
        whole numbers, as in the system this replaces) and `categorical` where `values` are. A
        missing `mean` is the middle of the scaled range, a missing `scale` a flat prior.
        Raises SpaceError with all problems at once.
        """
        from protein.parsing import parse_space

        parameters, fixed, problems = parse_space(mapping)
        if problems:
            raise SpaceError(problems)
        return cls(parameters, fixed)

    def to_dict(self) -> dict[str, Any]:
        """Give a JSON-able mapping that `from_dict` reads back to an equal space."""
        return {p.name: p.to_dict() for p in self.parameters} | dict(self.fixed)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the tuned parameters."""
        return tuple(parameter.name for parameter in self.parameters)

    def contains(self, params: Mapping[str, Value]) -> bool:
        """Tell whether every active parameter has an allowed value; other keys are ignored."""
        return all(
            parameter.name in params and parameter.contains(params[parameter.name])
            for parameter in self.active(params)
        )

    def active(self, params: Mapping[str, Value]) -> Iterator[Parameter]:
        """Give the parameters whose conditions hold among the values and the fixed ones."""
        holds: dict[str, bool] = {}
        for parameter in parents_first(self.parameters):
            when = parameter.when
            parent = None if when is None else params.get(when.parameter)
            holds[parameter.name] = when is None or (
                holds.get(when.parameter, True) and parent is not None and parent in when.values
            )
        return (parameter for parameter in self.parameters if holds[parameter.name])

    def to_unit(self, params: Mapping[str, Value]) -> tuple[float, ...]:
        """Map values to the unit cube. KeyError if an active parameter is missing."""
        active = {parameter.name for parameter in self.active(params)}
        return tuple(
            parameter.to_unit(params[parameter.name])
            if parameter.name in active
            else parameter.center
            for parameter in self.parameters
        )

    def from_unit(self, unit: tuple[float, ...]) -> dict[str, Value]:
        """Map a point of the unit cube to the values of the active parameters."""
        values = {
            parameter.name: parameter.from_unit(coordinate)
            for parameter, coordinate in zip(self.parameters, unit, strict=True)
        }
        return {p.name: values[p.name] for p in self.active(values | dict(self.fixed))}


def parents_first(parameters: tuple[Parameter, ...]) -> list[Parameter]:
    """Order parameters so that conditions come after what they ask about."""
    by_name = {parameter.name: parameter for parameter in parameters}

    def depth(parameter: Parameter) -> int:
        parent = None if parameter.when is None else by_name.get(parameter.when.parameter)
        return 0 if parent is None else 1 + depth(parent)

    if all(parameter.when is None for parameter in parameters):
        return list(parameters)
    return sorted(parameters, key=depth)


__all__ = [
    "Categorical",
    "Condition",
    "Distribution",
    "Numeric",
    "Parameter",
    "Space",
    "SpaceError",
    "SpaceProblem",
    "parents_first",
]
