"""The user's own parameters for a trial: read, checked against the search space, completed."""

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from launcher.config import SweepConfig, flattened
from launcher.errors import ConfigError, UsageError
from launcher.sweepfile import yamlio
from protein.space import Space


def read_params(
    config: SweepConfig, file: str | None, assignments: Sequence[str]
) -> tuple[dict[str, Any], list[str]]:
    """Return the values by dotted name, and the names that were filled with their usual value.

    Raises UsageError for an unknown name or a value outside its range.
    """
    given: dict[str, Any] = {}
    if file is not None:
        content = _plain(yamlio.read(Path(file)))
        if not isinstance(content, dict):
            raise UsageError(f"{file} is no mapping of parameters")
        given |= flattened(content)
    for assignment in assignments:
        name, separator, text = assignment.partition("=")
        if not separator:
            raise UsageError(f"{assignment!r} is not PARAMETER=VALUE")
        given[name] = _plain(yamlio.parse(text, Path("command line")))
    if not given:
        raise UsageError("no parameters", hint="give PARAMETER=VALUE, or --params with a file")
    return _completed(Space.from_dict(config.sweep.parameters), given)


def _plain(parsed: yamlio.Parsed) -> Any:
    if parsed.problems:
        raise ConfigError(parsed.problems)
    return None if parsed.node is None else parsed.node.plain()


def _completed(space: Space, given: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    unknown = [name for name in given if name not in space.names and name not in space.fixed]
    for name in unknown:
        near = difflib.get_close_matches(name, [*space.names, *space.fixed], 1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(space.names)}"
        raise UsageError(f"the sweep has no parameter {name!r}", hint=hint)
    usual = {p.name: p.usual for p in space.parameters}
    values = {**usual, **given}
    active = list(space.active({**space.fixed, **values}))
    for parameter in active:
        if not parameter.contains(values[parameter.name]):
            raise UsageError(
                f"{parameter.name}={values[parameter.name]!r} is outside its range",
                hint="change the range first: protein-sky edit",
            )
    wanted = {p.name for p in active} | set(given)
    chosen = {name: value for name, value in values.items() if name in wanted}
    return chosen, [name for name in chosen if name not in given]
