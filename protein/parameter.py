"""One tuned parameter and its map to the unit interval and back.

Every kind offers the same four functions: `to_unit`, `from_unit`, `contains` and `to_dict`. A
discrete kind with k values owns k equal cells of the unit interval; `to_unit` gives the middle of
a cell, so that from_unit(to_unit(value)) is value and a uniform draw hits each value equally often.
"""

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from protein.observation import Value


class Distribution(StrEnum):
    """How the unit interval is spread over a parameter's range."""

    UNIFORM = "uniform"
    INT_UNIFORM = "int_uniform"
    UNIFORM_POW2 = "uniform_pow2"  # powers of two
    LOG_NORMAL = "log_normal"  # even on a log scale between min and max
    LOGIT_NORMAL = "logit_normal"  # even in log(1 - value): for 0.9, 0.99, 0.999
    CATEGORICAL = "categorical"


@dataclass(frozen=True, slots=True)
class Condition:
    """The parameter is tuned only while `parameter` has one of `values`."""

    parameter: str
    values: tuple[Value, ...]


AUTO_SCALE = 0.5
"""What `scale: auto` means, as in PufferLib."""


@dataclass(frozen=True, slots=True)
class Numeric:
    """A number between `min` and `max`, both included.

    `mean` is where the user expects good values and `scale` how far around it they may lie, in
    halves of the (scaled) range as in PufferLib: 1 reaches from the middle to both ends. None for
    either means no opinion. `default` is what a program does without being told.
    """

    name: str
    distribution: Distribution
    min: float
    max: float
    mean: float | None = None
    scale: float | str | None = None
    when: Condition | None = None
    default: Value | None = None

    @property
    def cells(self) -> int | None:
        """The number of values, None for a real parameter."""
        match self.distribution:
            case Distribution.INT_UNIFORM:
                return int(self.max) - int(self.min) + 1
            case Distribution.UNIFORM_POW2:
                low, high = self._exponents()
                return high - low + 1
            case _:
                return None

    @property
    def center(self) -> float:
        """The unit coordinate of `mean`, the middle where there is none."""
        return 0.5 if self.mean is None else self.to_unit(self.mean)

    @property
    def usual(self) -> Value:
        """The value of trials that knew nothing of this parameter: `default`, else the centre."""
        return self.from_unit(self.center) if self.default is None else self.default

    @property
    def spread(self) -> float | None:
        """The standard deviation of the user's prior in the unit interval, None if flat."""
        match self.scale:
            case None:
                return None
            case "auto":
                return AUTO_SCALE / 2
            case "time":  # PufferLib: one doubling
                return 0.5 / math.log2(self.max / self.min)
            case number:
                return float(number) / 2

    def to_unit(self, value: Value) -> float:
        """Map a value to the unit interval; a value outside the range lands outside of it."""
        x = float(value)
        match self.distribution:
            case Distribution.UNIFORM:
                return (x - self.min) / (self.max - self.min)
            case Distribution.INT_UNIFORM:
                return (x - self.min + 0.5) / (self.max - self.min + 1)
            case Distribution.UNIFORM_POW2:
                lowest, highest = self._exponents()
                return (math.log2(x) - lowest + 0.5) / (highest - lowest + 1)
            case Distribution.LOG_NORMAL:
                return math.log(x / self.min) / math.log(self.max / self.min)
            case Distribution.LOGIT_NORMAL:
                low = math.log1p(-self.min)
                return (math.log1p(-x) - low) / (math.log1p(-self.max) - low)
            case _:
                raise AssertionError(self.distribution)

    def from_unit(self, unit: float) -> int | float:
        """Map [0, 1] onto the range."""
        cells = self.cells
        if cells is not None:
            cell = min(max(math.floor(unit * cells), 0), cells - 1)
            if self.distribution is Distribution.INT_UNIFORM:
                return int(self.min) + cell
            return int(2 ** (self._exponents()[0] + cell))
        return min(max(self._from_unit(unit), self.min), self.max)

    def _from_unit(self, unit: float) -> float:
        match self.distribution:
            case Distribution.UNIFORM:
                return self.min + unit * (self.max - self.min)
            case Distribution.LOG_NORMAL:
                return self.min * math.exp(unit * math.log(self.max / self.min))
            case Distribution.LOGIT_NORMAL:
                low, high = math.log1p(-self.min), math.log1p(-self.max)
                return -math.expm1(low + unit * (high - low))
            case _:
                raise AssertionError(self.distribution)

    def contains(self, value: object) -> bool:
        """Tell whether this parameter may have the value."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        if not self.min <= value <= self.max:
            return False
        match self.distribution:
            case Distribution.INT_UNIFORM:
                return float(value).is_integer()
            case Distribution.UNIFORM_POW2:
                return math.log2(value).is_integer()
            case _:
                return True

    def tidy(self, value: int | float) -> int | float:
        """Round a real value to six digits, inside the range: it will be read by people."""
        if isinstance(value, int):
            return value
        if self.distribution is Distribution.LOGIT_NORMAL:
            rounded = 1.0 - float(f"{1.0 - value:.6g}")
        else:
            rounded = float(f"{value:.6g}")
        return min(max(rounded, self.min), self.max)

    def to_dict(self) -> dict[str, Any]:
        """Give the mapping that `Space.from_dict` reads."""
        mapping: dict[str, Any] = {
            "distribution": self.distribution.value,
            "min": self.min,
            "max": self.max,
        }
        if self.mean is not None:
            mapping["mean"] = self.mean
        if self.scale is not None:
            mapping["scale"] = self.scale
        if self.default is not None:
            mapping["default"] = self.default
        return mapping | _when_to_dict(self.when)

    def _exponents(self) -> tuple[int, int]:
        return math.ceil(math.log2(self.min)), math.floor(math.log2(self.max))


@dataclass(frozen=True, slots=True)
class Categorical:
    """One of several values without an order. The first counts as the user's usual choice."""

    name: str
    values: tuple[Value, ...]
    when: Condition | None = None
    default: Value | None = None

    @property
    def cells(self) -> int:
        """The number of values."""
        return len(self.values)

    @property
    def center(self) -> float:
        """The unit coordinate of the first value."""
        return 0.5 / len(self.values)

    @property
    def usual(self) -> Value:
        """The value of trials that knew nothing of this parameter: `default`, else the centre."""
        return self.from_unit(self.center) if self.default is None else self.default

    @property
    def spread(self) -> None:
        """There is no prior over the values."""

    def to_unit(self, value: Value) -> float:
        """Map a value to the middle of its cell. ValueError if it is none of the values."""
        for index, known in enumerate(self.values):
            if _same(known, value):
                return (index + 0.5) / len(self.values)
        raise ValueError(f"{value!r} is not a value of {self.name}: {list(self.values)}")

    def from_unit(self, unit: float) -> Value:
        """Map [0, 1] onto the values."""
        cells = len(self.values)
        return self.values[min(max(math.floor(unit * cells), 0), cells - 1)]

    def contains(self, value: object) -> bool:
        """Tell whether this parameter may have the value."""
        return any(_same(known, value) for known in self.values)

    def tidy(self, value: Value) -> Value:
        """Give the value itself: there is nothing to round."""
        return value

    def to_dict(self) -> dict[str, Any]:
        """Give the mapping that `Space.from_dict` reads."""
        mapping: dict[str, Any] = {"distribution": "categorical", "values": list(self.values)}
        if self.default is not None:
            mapping["default"] = self.default
        return mapping | _when_to_dict(self.when)


Parameter = Numeric | Categorical


def _same(known: Value, value: object) -> bool:
    """Compare as YAML would: 1 and 1.0 are the same number, True is not 1."""
    return known == value and isinstance(known, bool) == isinstance(value, bool)


def _when_to_dict(when: Condition | None) -> dict[str, Any]:
    return {} if when is None else {"when": {when.parameter: list(when.values)}}
