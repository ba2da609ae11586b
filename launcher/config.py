"""The sweep file, for the rest of the launcher: `load` one, `check` it, store it, read it back.

A SweepConfig is one frozen value; `launcher.sweepfile.schema` says what is in it, and
`launcher.sweepfile.reader` how a file becomes one.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from launcher.errors import ConfigError, Problem
from launcher.sweepfile.schema import (
    DEFAULT_RUN,
    LAUNCHER_KEYS,
    BudgetSection,
    ExecutionSection,
    SweepConfig,
    SweepSection,
    TaskSection,
    WandbSection,
)

__all__ = [
    "DEFAULT_RUN",
    "BudgetSection",
    "ExecutionSection",
    "SweepConfig",
    "SweepSection",
    "TaskSection",
    "WandbSection",
    "check",
    "flattened",
    "from_mapping",
    "load",
    "nested",
    "trial_config",
    "trial_parameters",
]


def load(source: str | Path | None, *, overrides: Sequence[str] = ()) -> SweepConfig:
    """Read a sweep: a path, or the name of a shipped one; None if an override names it.

    `overrides` are `key=value` in both spellings, see docs/sweep-file.md. A sweep without a tuned
    parameter is a template: it loads, and nothing can be launched from it.
    Raises ConfigError with every problem found.
    """
    from launcher.sweepfile.reader import read_sweep  # who reads a recorded sweep needs no YAML

    config, problems = read_sweep(source, overrides)
    if problems or config is None:
        raise ConfigError(problems)
    return config


def check(source: str | Path | None, overrides: Sequence[str] = ()) -> list[Problem]:
    """Give every problem of a sweep, sorted by position. Nothing is raised."""
    from launcher.sweepfile.reader import read_sweep

    return sorted(read_sweep(source, overrides)[1])


def from_mapping(mapping: Mapping[str, Any]) -> SweepConfig:
    """Read what `to_mapping` gave, also through JSON. Raises ValueError."""
    return msgspec.convert(mapping, SweepConfig)


def trial_parameters(config: SweepConfig, params: Mapping[str, Any]) -> dict[str, Any]:
    """Give all values of one trial by dotted name: hardware, then fixed, then suggested ones.

    What the command line says is in these already: an override replaces a fixed value and takes
    its parameter out of the search. A value that stands below another's name goes: the
    suggestion's word counts over the hardware file's.
    """
    hardware = {key: value for key, value in config.hardware.items() if key not in LAUNCHER_KEYS}
    return {**flattened(hardware), **config.sweep.fixed, **params}


def trial_config(config: SweepConfig, params: Mapping[str, Any]) -> dict[str, Any]:
    """Give one trial's whole configuration, nested: `train_config_overrides.yaml`."""
    return nested(trial_parameters(config, params))


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Expand dotted names: `{"a.b": 1}` is `{"a": {"b": 1}}`. No name may lie below another."""
    tree: dict[str, Any] = {}
    for name, value in values.items():
        *groups, last = name.split(".")
        place = tree
        for group in groups:
            place = place.setdefault(group, {})
        place[last] = value
    return tree


def flattened(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Collapse nested mappings to dotted names; an empty mapping is a value."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            flat |= flattened(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
