"""`sweep.parameters`: from nested or dotted names to one flat, checked search space.

A mapping describes one parameter when one of `min max value values distribution mu sigma` in it
holds no mapping; any other mapping is a group of parameters. A scalar is a fixed value.
"""

import difflib
import re
from collections.abc import Iterable, Iterator

from launcher.errors import Problem
from launcher.sweepfile.overrides import COMMAND_LINE, Override
from launcher.sweepfile.yamlio import Node, Place, shown

_DECISIVE = ("min", "max", "value", "values", "distribution", "mu", "sigma")
_FIELDS = (*_DECISIVE, "mean", "scale", "when", "default")
_OTHER_WORDS = {
    "minimum": "min", "low": "min", "lower": "min", "from": "min",
    "maximum": "max", "high": "max", "upper": "max", "to": "max",
    "choices": "values", "options": "values", "categories": "values", "dist": "distribution",
}  # fmt: skip
_SEGMENT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*")
MAX_NAME = 200

Flat = dict[str, Node]


def flatten(node: Node, problems: list[Problem]) -> Flat:
    """Give parameters by dotted name: a mapping node is a range, a scalar node a fixed value."""
    flat: Flat = {}
    for name, entry in _walk(node, "", problems):
        if name in flat:
            first = flat[name].key_place.line
            hint = "keep one of them: dotted and nested names are the same"
            place = entry.key_place
            problems.append(place.problem(name, f"is given twice, first in line {first}", hint))
        else:
            problem = _name_problem(name, entry) or _shape_problem(name, entry)
            if problem is None:
                flat[name] = _unwrapped(entry)
            else:
                problems.append(problem)
    return flat


def _walk(node: Node, prefix: str, problems: list[Problem]) -> Iterator[tuple[str, Node]]:
    for key, entry in node.entries.items():
        name = f"{prefix}{key}"
        group = _group(entry)
        if group is None:
            yield name, entry
        elif (alike := _alike(group)) is not None:
            key_place, (written, meant) = group.entries[alike[0]].key_place, alike
            hint = f"did you mean `{meant}`? for a fixed value write {name}.{written}: …"
            problems.append(key_place.problem(f"{name}.{written}", "is no field of a range", hint))
        else:
            yield from _walk(group, f"{name}.", problems)


def _group(entry: Node) -> Node | None:
    """Give the group of parameters that an entry is, None if it is one parameter or a value."""
    if not entry.is_mapping or not entry.entries or is_range(entry):
        return None
    inner = entry.entries.get("parameters")  # W&B's way of nesting
    return inner if inner is not None and inner.is_mapping and len(entry.entries) == 1 else entry


def is_range(entry: Node) -> bool:
    """Tell one parameter's mapping from a group of parameters."""
    return any(key in entry.entries and not entry.entries[key].is_mapping for key in _DECISIVE)


def _alike(group: Node) -> tuple[str, str] | None:
    """Find a key of a mapping of scalars that looks like a misspelt field of a range."""
    if any(inner.is_mapping for inner in group.entries.values()):
        return None
    for key in group.entries:
        if key in _OTHER_WORDS:
            return key, _OTHER_WORDS[key]
        close = difflib.get_close_matches(key, _DECISIVE, n=1, cutoff=0.8)
        if close:
            return key, close[0]
    return None


def _name_problem(name: str, entry: Node) -> Problem | None:
    if len(name) <= MAX_NAME and all(_SEGMENT.fullmatch(part) for part in name.split(".")):
        return None
    message = f"{shown(name, 40)!r} is no name for a parameter"
    hint = f"letters, digits, `_` and `-` between dots, at most {MAX_NAME}"
    return entry.key_place.problem("sweep.parameters", message, hint)


def _shape_problem(name: str, entry: Node) -> Problem | None:
    value = entry.get("value") if set(entry.entries) == {"value"} else None
    fixed = value or (None if entry.is_mapping else entry)
    if fixed is None:
        hint = "give min and max, or values, or a fixed value"
        empty = entry.is_mapping and not entry.entries
        return entry.place.problem(name, "has no range", hint) if empty else None
    if fixed.is_list:
        hint = "`values: [...]` to search among them"
        return fixed.place.problem(name, "a list is no fixed value", hint)
    if fixed.is_mapping or fixed.value is None:
        what = "is a mapping" if fixed.is_mapping else "is empty"
        hint = "write a number, text, true or false; or min and max"
        return fixed.place.problem(name, f"{what}, not a fixed value", hint)
    return None


def _unwrapped(entry: Node) -> Node:
    value = entry.get("value") if set(entry.entries) == {"value"} else None
    return entry if value is None else Node(value.value, value.place, entry.key, value.text)


def override_range(flat: Flat, override: Override, problems: list[Problem]) -> None:
    """Set `sweep.parameters.<name>` or one field of its range, `….<name>.min`."""
    name = ".".join(override.path[2:])
    owner, _, field = name.rpartition(".")
    if owner in flat and field in _FIELDS and name not in flat:
        range_ = flat[owner]
        entries = range_.entries if range_.is_mapping else {}
        flat[owner] = Node({**entries, field: override.node}, range_.place, range_.key)
        return
    problem = _shape_problem(name, override.node)
    if problem is not None:
        problems.append(problem)
    elif override.node.is_mapping and not is_range(override.node):
        hint = f"such as sweep.parameters.{name}='{{min: 1, max: 2}}'"
        problems.append(override.node.place.problem(name, "is no range", hint))
    else:
        flat[name] = _unwrapped(override.node)


def pin(flat: Flat, override: Override, problems: list[Problem]) -> None:
    """Fix a value for all trials; a parameter that was searched is not any more."""
    owner, _, field = override.key.rpartition(".")
    if owner in flat and flat[owner].is_mapping and field in _FIELDS:
        hint = f"sweep.parameters.{override.key}=… changes the range"
        problems.append(override.node.place.problem(override.key, "is part of a range", hint))
    elif override.node.is_mapping or override.node.is_list or override.node.value is None:
        hint = f"one value; to change a range: sweep.parameters.{override.key}.min=…"
        message = "must be a number, text, true or false"
        problems.append(override.node.place.problem(override.key, message, hint))
    else:
        flat[override.key] = override.node


def clashes(flat: Flat, hardware: Flat) -> Iterator[Problem]:
    """Give each name that lies below another name, which is a value already."""
    known = {**hardware, **flat}
    for name, node in known.items():
        parts = name.split(".")
        prefixes = (".".join(parts[:end]) for end in range(1, len(parts)))
        above = next((prefix for prefix in prefixes if prefix in known), None)
        if above is not None:
            yield _clash(name, node.key_place, above, known[above].key_place)


def variable(name: str) -> str:
    """Return the environment variable in which a trial finds a parameter."""
    return "PROTEIN_PARAM_" + re.sub(r"[^A-Z0-9]", "_", name.upper())


def shared_variables(flat: Flat) -> Iterator[Problem]:
    """Give each name that a trial's environment could not tell from an earlier one."""
    first: dict[str, str] = {}
    for name, node in flat.items():
        other = first.setdefault(variable(name), name)
        if other != name:
            message = f"is {variable(name)} in a trial's environment, as is {other}"
            yield node.key_place.problem(name, message, "rename one of them")


def _clash(name: str, place: Place, above: str, above_place: Place) -> Problem:
    if above_place == COMMAND_LINE:
        hint = f"name one of them, such as {name}=…"
        return above_place.problem(above, f"is a group: {name} lies below it", hint)
    same_file = above_place.file == place.file
    where = f"line {above_place.line}" if same_file else f"{above_place.file}:{above_place.line}"
    message = f"lies below {above}, which is a value itself ({where})"
    return place.problem(name, message, "rename one, or remove it")


def space_problems(flat: Flat) -> Iterator[Problem]:
    """Give what Protein's search space says about the ranges, with its place."""
    from protein.space import Space, SpaceError

    try:
        Space.from_dict({name: node.plain() for name, node in flat.items()})
    except SpaceError as error:
        for found in error.problems:
            node = flat.get(found.parameter)
            if node is None:
                raise  # a name that was never given: our own mistake
            field = node.entries.get(found.key)
            if field is None:
                place = node.key_place
            else:
                place = field.place if found.key in _FIELDS else field.key_place
            key = f"{found.parameter}.{found.key}" if found.key else found.parameter
            hint = found.hint or (number_hint(field) if field is not None else "")
            hint = re.sub(r"'([\w.]+)'", r"`\1`", hint)
            yield place.problem(key, shown(found.message, 160), shown(hint, 200))


def number_hint(node: Node) -> str:
    """Say how to write a number that YAML reads as text."""
    if not isinstance(node.value, str):
        return ""
    bare = node.value.strip().replace("_", "").replace(",", "").replace("'", "")
    if bare == node.value and re.fullmatch(r"[-+0-9.eE]+", bare):
        return "without quotes it is a number"
    return f"write {bare}" if re.fullmatch(r"[-+]?[0-9.]+(?:[eE][-+]?[0-9]+)?", bare) else ""


def tuned_names(flat: Flat) -> Iterable[str]:
    """Give the names that are searched."""
    return (name for name, node in flat.items() if node.is_mapping)
