"""Changes to a sweep that runs: what may change, how it is shown, what old trials still teach.

Pure functions of the old and the new config.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from launcher.config import SweepConfig, flattened, from_mapping
from launcher.errors import UsageError
from launcher.state import State
from protein.space import Space

FROZEN = ("name", "sweep.metric", "sweep.goal", "sweep.seed")
"""A sweep with another of these is another sweep: its trials would not be comparable."""


def extended(
    config: SweepConfig,
    *,
    trials: int | None = None,
    budget_usd: float | None = None,
    hours: float | None = None,
) -> SweepConfig:
    """Return the config with new totals. None leaves a total as it is."""
    mapping = config.to_mapping()
    if trials is not None:
        mapping["trials"] = trials
        if mapping["budget"]["trials"] is not None:
            mapping["budget"]["trials"] = max(trials, mapping["budget"]["trials"])
    for key, value in (("usd", budget_usd), ("hours", hours)):
        if value is not None:
            mapping["budget"][key] = value
    return from_mapping(mapping)


def differences(old: SweepConfig, new: SweepConfig) -> list[tuple[str, Any, Any]]:
    """Return what differs as (key, old value, new value), None where a key is missing."""
    before, after = _flat(old), _flat(new)
    keys = [*before, *(key for key in after if key not in before)]
    return [
        (key, before.get(key), after.get(key))
        for key in keys
        if before.get(key) != after.get(key) and key != "source"
    ]


def check_edit(old: SweepConfig, new: SweepConfig) -> None:
    """Raise UsageError if the edit would make another sweep of it."""
    for key, before, after in differences(old, new):
        if key in FROZEN:
            raise UsageError(
                f"{key} cannot change from {before!r} to {after!r} while a sweep goes on",
                hint="start another sweep with --name, and --warm-start from this one",
            )


def new_parameters(old: SweepConfig, new: SweepConfig) -> list[tuple[str, Any]]:
    """Return what is searched now and was not given before, with the value of earlier trials."""
    space = Space.from_dict(new.sweep.parameters)
    return [(p.name, p.usual) for p in space.parameters if p.name not in old.sweep.parameters]


def with_defaults(old: SweepConfig, new: SweepConfig) -> SweepConfig:
    """Return the new config with the defaults of new parameters written down.

    Earlier trials then count with the same values after any further edit of the ranges.
    """
    mapping = new.to_mapping()
    for name, default in new_parameters(old, new):
        mapping["sweep"]["parameters"][name]["default"] = default
    return from_mapping(mapping)


def set_aside(config: SweepConfig, state: State) -> list[tuple[int, str]]:
    """Return the trials that teach nothing under a new config, and why."""
    space = Space.from_dict(config.sweep.parameters)
    projected = ((t.number, project(space, t.params)) for t in state.ordered if t.state.is_over)
    return [(number, reason) for number, reason in projected if isinstance(reason, str)]


def project(space: Space, params: Mapping[str, Any]) -> dict[str, Any] | str:
    """Return an old trial's parameters in the present space, or why it is set aside.

    A parameter that the trial did not have gets its default, or the centre of its range; a fixed
    value that has changed since sets the trial aside, since it was another program then.
    """
    for name, value in params.items():
        if name == "seed" and name not in space.names:
            continue  # what tells apart the runs of one suggestion
        if name in space.fixed and space.fixed[name] != value:
            return f"{name} was {value!r} and is {space.fixed[name]!r} now"
        if name not in space.fixed and name not in space.names:
            return f"{name} is given no more; it was {value!r}"
    known = {p.name: params.get(p.name, p.usual) for p in space.parameters}
    for parameter in space.active(known):
        if not parameter.contains(known[parameter.name]):
            return f"{parameter.name} {known[parameter.name]!r} is outside its range now"
    return {**space.fixed, **{p.name: known[p.name] for p in space.active(known)}}


def _flat(config: SweepConfig) -> dict[str, Any]:
    mapping = config.to_mapping()
    parameters = mapping["sweep"].pop("parameters")
    return flattened(mapping) | dict(_parameter_fields(parameters))


def _parameter_fields(parameters: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, spec in parameters.items():
        if isinstance(spec, dict):
            yield from ((f"sweep.parameters.{name}.{key}", value) for key, value in spec.items())
        else:
            yield f"sweep.parameters.{name}", spec
