"""From a config file and overrides to a `Config`, or to every problem in them at once."""

import difflib
import types
from collections.abc import Iterator, Sequence
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from trainer.config import Config, Rule
from trainer.errors import ConfigError, Problem
from trainer.tree import Leaf, read_file, read_override


@dataclass(frozen=True, slots=True)
class Option:
    """One field of the config under its dotted key."""

    key: str
    type: Any
    default: Any
    rule: Rule


def load(path: Path | None, overrides: Sequence[str] = ()) -> Config:
    """The config in `path` with the overrides applied; ConfigError carries every problem."""
    leaves = [*(read_file(path) if path else []), *(read_override(text) for text in overrides)]
    return parse(leaves)


def parse(leaves: Sequence[Leaf]) -> Config:
    """A config from leaves, of which a later one replaces an earlier one with the same key."""
    known = {option.key: option for option in options()}
    aliases = {alias: option.key for option in known.values() for alias in _aliases(option)}
    values: dict[str, Any] = {}
    problems: list[Problem] = []
    for leaf in leaves:
        if leaf.key.startswith("env.kwargs."):
            values.setdefault("env.kwargs", {})[leaf.key.removeprefix("env.kwargs.")] = leaf.value
            continue
        option = known.get(aliases.get(leaf.key, leaf.key))
        if option is None:
            if any(key.startswith(f"{leaf.key}.") for key in known):
                if leaf.value is not None:  # it may be empty
                    message = f"must be a section, not {leaf.value!r}"
                    problems.append(Problem(leaf.where, leaf.key, message))
                continue
            problems.append(Problem(leaf.where, leaf.key, "is unknown", _nearest(leaf.key, known)))
            continue
        try:
            values[option.key] = convert(leaf.value, option)
        except ValueError as error:
            problems.append(Problem(leaf.where, leaf.key, str(error), option.rule.sentence))
    if problems:
        raise ConfigError.of(problems)
    config = _build(Config, "", values)
    assert isinstance(config, Config)
    return config


def options(section: type = Config, prefix: str = "") -> Iterator[Option]:
    """All fields of a section and of those within it, in their order."""
    hints = get_type_hints(section)
    for item in fields(section):
        kind = hints[item.name]
        if is_dataclass(kind):
            assert isinstance(kind, type)
            yield from options(kind, f"{prefix}{item.name}.")
        else:
            yield Option(f"{prefix}{item.name}", kind, _default(item), item.metadata["rule"])


def convert(value: Any, option: Option) -> Any:
    """`value` as the field's type. A whole-number field rounds, since optimizers hand out floats.

    Raises ValueError with the reason.
    """
    kind = option.type
    if get_origin(kind) in (Union, types.UnionType):
        if value is None:
            return None
        (kind,) = (each for each in get_args(kind) if each is not type(None))
    if get_origin(kind) is Literal:
        if value not in get_args(kind) or isinstance(value, bool):
            raise ValueError(f"must be one of {', '.join(get_args(kind))}, not {value!r}")
        return value
    if get_origin(kind) is dict:
        if not isinstance(value, dict):
            raise ValueError(f"must be a mapping, not {value!r}")
        return value
    if get_origin(kind) is tuple:
        if isinstance(value, str):  # a sweep file's values are no lists
            value = [name.strip() for name in value.split(",") if name.strip()]
        if not isinstance(value, list) or not value or not all(isinstance(v, str) for v in value):
            raise ValueError(f"must be a list of names, not {value!r}")
        return tuple(value)
    if kind is bool:
        if not isinstance(value, bool):
            raise ValueError(f"must be true or false, not {value!r}")
        return value
    if kind is str:
        if value is None or isinstance(value, (list, dict)):
            raise ValueError(f"must be a text, not {value!r}")
        return str(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"must be a number, not {value!r}")  # noqa: TRY004 one kind for all
    if not _within(value, option.rule):
        raise ValueError(f"must be {_range(option.rule)}, not {value!r}")
    if kind is float:
        return float(value)
    whole = round(value)
    if not _within(whole, option.rule):
        raise ValueError(f"must be {_range(option.rule)}, not {value!r}")
    return whole


def as_mapping(config: Any, prefix: str = "") -> dict[str, Any]:
    """The config with dotted keys, as W&B and checkpoints keep it."""
    result: dict[str, Any] = {}
    for item in fields(config):
        value = getattr(config, item.name)
        if is_dataclass(value):
            result |= as_mapping(value, f"{prefix}{item.name}.")
        else:
            result[f"{prefix}{item.name}"] = list(value) if isinstance(value, tuple) else value
    return result


def _build(section: type, prefix: str, values: dict[str, Any]) -> Any:
    hints = get_type_hints(section)
    arguments = {}
    for item in fields(section):
        key = f"{prefix}{item.name}"
        kind = hints[item.name]
        if is_dataclass(kind):
            assert isinstance(kind, type)
            arguments[item.name] = _build(kind, f"{key}.", values)
        elif key in values:
            arguments[item.name] = values[key]
    return section(**arguments)


def _default(item: "Field[Any]") -> Any:
    return item.default if item.default_factory is MISSING else item.default_factory()


def _aliases(option: Option) -> Iterator[str]:
    section, dot, _ = option.key.rpartition(".")
    for alias in option.rule.aliases:
        yield alias if "." in alias else f"{section}{dot}{alias}"


def _within(value: float, rule: Rule) -> bool:
    above = value > rule.low if rule.exclusive_low else value >= rule.low
    return above and value <= rule.high and abs(value) != float("inf")


def _range(rule: Rule) -> str:
    parts = []
    if rule.low != float("-inf"):
        parts.append(f"{'above' if rule.exclusive_low else 'at least'} {rule.low:g}")
    if rule.high != float("inf"):
        parts.append(f"at most {rule.high:g}")
    return " and ".join(parts) or "finite"


def _nearest(key: str, known: dict[str, Option]) -> str:
    by_name = [each for each in known if each.rpartition(".")[2] == key.rpartition(".")[2]]
    close = by_name or difflib.get_close_matches(key, known, n=1, cutoff=0.6)
    return f"did you mean {close[0]}?" if close else "python -m trainer --help lists all keys"
