"""Reading a search space from a mapping, with every problem found at once."""

import difflib
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from protein.observation import Value
from protein.parameter import Categorical, Condition, Distribution, Numeric, Parameter
from protein.space import SpaceProblem

_TELLING = ("distribution", "min", "max", "mean", "scale", "values", "value", "mu", "sigma", "when")
_FIELDS = (*_TELLING, "default")
_INTEGER = (Distribution.INT_UNIFORM, Distribution.UNIFORM_POW2)
_LOG_NORMAL_REACH = 3.0  # W&B's log_normal has no ends: three sigma hold 99.7 % of it


class _Refused(Exception):  # noqa: N818 - control flow inside this module, no error of the user
    """A field that cannot be read; carries what to tell."""

    def __init__(self, key: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.key, self.message, self.hint = key, message, hint


def parse_space(
    mapping: Mapping[str, Any],
) -> tuple[tuple[Parameter, ...], dict[str, Value], tuple[SpaceProblem, ...]]:
    """Give the parameters, the fixed values and the problems found."""
    parameters: list[Parameter] = []
    fixed: dict[str, Value] = {}
    problems: list[SpaceProblem] = []
    for name, entry in _flatten(mapping):
        if name in fixed or name in {p.name for p in parameters}:
            problems.append(SpaceProblem(name, "", "is given twice", "write it once"))
            continue
        try:
            parsed = _parse_entry(name, entry)
        except _Refused as refused:
            problems.append(SpaceProblem(name, refused.key, refused.message, refused.hint))
            continue
        if isinstance(parsed, Numeric | Categorical):
            parameters.append(parsed)
        else:
            fixed[name] = parsed
    if not problems:
        problems = list(_condition_problems(parameters, fixed))
    return tuple(parameters), fixed, tuple(problems)


def _flatten(mapping: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, entry in mapping.items():
        name = f"{prefix}{key}"
        if isinstance(entry, Mapping) and entry and not _is_parameter(entry):
            yield from _flatten(entry, prefix=f"{name}.")
        else:
            yield name, entry


def _is_parameter(entry: Mapping[str, Any]) -> bool:
    """Tell a parameter's mapping from a group of parameters: its fields hold no mappings."""
    return any(
        key in entry and (key == "when" or not isinstance(entry[key], Mapping)) for key in _TELLING
    )


def _parse_entry(name: str, entry: Any) -> Parameter | Value:
    if not isinstance(entry, Mapping):
        return _scalar(entry, "")
    for key in entry:
        if key not in _FIELDS:
            raise _Refused(str(key), "is no field of a parameter", _nearest(str(key), _FIELDS))
    if "value" in entry:
        if len(entry) > 1:
            raise _Refused("value", "fixes the parameter, and other fields tune it", "keep one")
        return _scalar(entry["value"], "value")
    parameter = _searched(name, entry)
    if entry.get("default") is None:
        return parameter
    default = _scalar(entry["default"], "default")
    if not parameter.contains(default):
        raise _Refused("default", f"{default!r} is outside of the range", "put it in the range")
    return replace(parameter, default=default)


def _searched(name: str, entry: Mapping[str, Any]) -> Parameter:
    distribution = _distribution(entry)
    if distribution is Distribution.CATEGORICAL:
        return _categorical(name, entry)
    if "values" in entry:
        raise _Refused(
            "values", f"does not go with {distribution}", "use distribution: categorical"
        )
    return _numeric(name, distribution, entry)


def _distribution(entry: Mapping[str, Any]) -> Distribution:
    given = entry.get("distribution")
    if given is None:
        return Distribution.CATEGORICAL if "values" in entry else Distribution.UNIFORM
    known = [d.value for d in Distribution]
    if given not in known:
        raise _Refused("distribution", f"{given!r} is unknown", _nearest(str(given), known))
    return Distribution(given)


def _categorical(name: str, entry: Mapping[str, Any]) -> Categorical:
    for key in ("min", "max", "mean", "scale", "mu", "sigma"):
        if key in entry:
            raise _Refused(key, "does not go with categorical", "list the allowed `values`")
    values = entry.get("values")
    if isinstance(values, str) or not isinstance(values, Sequence) or not values:
        raise _Refused("values", "must be a list with at least one value")
    scalars = tuple(_scalar(value, "values") for value in values)
    if len({(isinstance(value, bool), value) for value in scalars}) < len(scalars):
        raise _Refused("values", "holds the same value twice", "list each value once")
    return Categorical(name, scalars, _condition(entry))


def _numeric(name: str, distribution: Distribution, entry: Mapping[str, Any]) -> Numeric:
    entry = _with_wandb_bounds(distribution, entry)
    low, high = _number(entry, "min"), _number(entry, "max")
    _check_bounds(distribution, low, high)
    mean = None if entry.get("mean") is None else _number(entry, "mean")
    if mean is not None and not low <= mean <= high:
        raise _Refused("mean", f"{mean:g} lies outside {low:g} … {high:g}", "put it in the range")
    if distribution in _INTEGER:
        low, high = int(low), int(high)
    return Numeric(name, distribution, low, high, mean, _scale(entry, low), _condition(entry))


def _with_wandb_bounds(distribution: Distribution, entry: Mapping[str, Any]) -> Mapping[str, Any]:
    """Turn W&B's log_normal (mu and sigma of the logarithm) into a range with a prior."""
    if "mu" not in entry and "sigma" not in entry:
        return entry
    if distribution is not Distribution.LOG_NORMAL:
        raise _Refused("mu", f"does not go with {distribution}", "only log_normal has mu and sigma")
    if "min" in entry or "max" in entry:
        raise _Refused("mu", "min/max and mu/sigma are two meanings of log_normal", "keep one pair")
    mu, sigma = _number(entry, "mu"), _number(entry, "sigma")
    if sigma <= 0:
        raise _Refused("sigma", "must be above 0")
    reach = _LOG_NORMAL_REACH * sigma
    prior = {"mean": math.exp(mu), "scale": 1 / _LOG_NORMAL_REACH}
    return {**prior, **entry, "min": math.exp(mu - reach), "max": math.exp(mu + reach)}


def _check_bounds(distribution: Distribution, low: float, high: float) -> None:
    if low >= high:
        raise _Refused("max", f"{high:g} is not above min, {low:g}", "swap them, or fix the value")
    match distribution:
        case Distribution.LOG_NORMAL | Distribution.UNIFORM_POW2 if low <= 0:
            raise _Refused("min", f"must be above 0 for {distribution}, is {low:g}")
        case Distribution.LOGIT_NORMAL if low < 0 or high >= 1:
            key = "min" if low < 0 else "max"
            raise _Refused(key, "logit_normal needs 0 <= min and max < 1", "0.999 instead of 1")
        case Distribution.INT_UNIFORM | Distribution.UNIFORM_POW2:
            for key, bound in (("min", low), ("max", high)):
                if not bound.is_integer():
                    raise _Refused(key, f"must be a whole number for {distribution}")
        case _:
            pass
    if distribution is Distribution.UNIFORM_POW2 and math.ceil(math.log2(low)) > math.log2(high):
        raise _Refused("max", f"no power of two lies between {low:g} and {high:g}")


def _scale(entry: Mapping[str, Any], low: float) -> float | str | None:
    scale = entry.get("scale")
    if scale is None or scale == "auto":
        return scale
    if scale == "time":
        if low <= 0:
            raise _Refused("scale", "`time` needs a range above 0")
        return "time"
    if isinstance(scale, str):
        raise _Refused("scale", f"{scale!r} is unknown", "a number above 0, `auto` or `time`")
    number = _number(entry, "scale")
    if number <= 0:
        raise _Refused("scale", "must be above 0", "1 lets the prior reach both ends")
    return number


def _condition(entry: Mapping[str, Any]) -> Condition | None:
    when = entry.get("when")
    if when is None:
        return None
    if isinstance(when, str):
        return _spoken_condition(when)
    if not isinstance(when, Mapping) or len(when) != 1:
        hint = "when: optimizer == adam, or when: {optimizer: [adam, lion]}"
        raise _Refused("when", "must name one parameter and its values", hint)
    ((parent, values),) = when.items()
    listed = values if isinstance(values, list | tuple) else [values]
    return Condition(str(parent), tuple(_scalar(value, "when") for value in listed))


def _condition_problems(
    parameters: Sequence[Parameter], fixed: Mapping[str, Value]
) -> Iterator[SpaceProblem]:
    by_name = {parameter.name: parameter for parameter in parameters}
    for parameter in parameters:
        seen = {parameter.name}
        when = parameter.when
        while when is not None and when.parameter in by_name:
            if when.parameter in seen:
                yield SpaceProblem(parameter.name, "when", "the conditions run in a ring")
                break
            seen.add(when.parameter)
            when = by_name[when.parameter].when
        parent = None if parameter.when is None else by_name.get(parameter.when.parameter)
        if parent is not None and parent.cells is None:
            message = f"{parent.name!r} is not discrete"
            yield SpaceProblem(parameter.name, "when", message, "ask for a value of a list")
        if when is not None and when.parameter not in by_name and when.parameter not in fixed:
            hint = _nearest(when.parameter, [*by_name, *fixed])
            yield SpaceProblem(parameter.name, "when", f"no parameter {when.parameter!r}", hint)


def _number(entry: Mapping[str, Any], key: str) -> float:
    if key not in entry or entry[key] is None:
        raise _Refused(key, "is missing", f"add `{key}: <number>`")
    given = entry[key]
    if isinstance(given, bool) or not isinstance(given, int | float):
        raise _Refused(key, f"must be a number, is {given!r}")
    if not math.isfinite(given):
        raise _Refused(key, f"must be finite, is {given}")
    return float(given)


_CONDITION = re.compile(r"\s*([\w.-]+)\s*(==|\bin\b)\s*(\S.*?)\s*")


def _spoken_condition(text: str) -> Condition:
    """Read `optimizer == adam` or `optimizer in [adam, lion]`; values as YAML would read them."""
    match = _CONDITION.fullmatch(text)
    if match is None or (match[2] == "in") != (match[3][0] + match[3][-1] in ("[]", "()")):
        hint = "when: optimizer == adam, or when: optimizer in [adam, lion]"
        raise _Refused("when", f"{text!r} is no condition", hint)
    parts = match[3][1:-1].split(",") if match[2] == "in" else [match[3]]
    return Condition(match[1], tuple(_plain(part.strip()) for part in parts))


_WORDS: dict[str, Value] = {"true": True, "false": False}


def _plain(text: str) -> Value:
    if text in _WORDS:
        return _WORDS[text]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text.strip("'\"")


def _scalar(given: Any, key: str) -> Value:
    if not isinstance(given, str | int | float | bool):
        kind = "nothing" if given is None else type(given).__name__
        raise _Refused(key, f"must be a number, a string or true/false, is {kind}")
    if isinstance(given, float) and not math.isfinite(given):
        raise _Refused(key, f"must be finite, is {given}")
    return given


def _nearest(given: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(given, known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"one of: {', '.join(known)}"
