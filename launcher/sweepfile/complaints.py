"""From a value that does not fit to one line that a user can act on, with its place."""

import difflib
import math
import operator
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec
from msgspec import inspect

from launcher.errors import Problem
from launcher.sweepfile.parameters import number_hint
from launcher.sweepfile.schema import SweepConfig, keys, sections
from launcher.sweepfile.yamlio import Node, shown

_EXAMPLES = {
    "sweep": "sweep: {metric: reward, goal: maximize, parameters: {…}}",
    "sweep.metric": "metric: reward, the name under which trials report their score",
    "sweep.goal": "goal: maximize, or goal: minimize",
    "sweep.parameters": "trainer.learning_rate: {min: 1e-5, max: 1e-2, distribution: log_normal}",
    "task": "task: {run: python train.py}, or the path of a SkyPilot task",
    "execution": "execution: {cloud: local}",
    "execution.timeout_seconds": "seconds, or a time such as 2h or 30m",
    "execution.stall_seconds": "seconds, or a time such as 10m",
    "execution.retry_delay_seconds": "seconds, or a time such as 30s",
    "budget": "budget: {usd: 5}",
    "wandb": "wandb: {project: metta}",
    "hardware": "a name such as macbook, a path, or values such as {device: cpu}",
    "task.envs": "envs: {KEY: value}",
    "task.secrets": "a list of names: [WANDB_API_KEY]",
    "budget.warn": "fractions such as [0.5, 0.8]",
    "sweep.early_stopping": "early_stopping: {method: median, grace: 60}",
    "sweep.early_stopping.grace": "seconds of cost, or steps: see `resource`",
    "sweep.second_objective": "second_objective: {metric: latency_ms, goal: minimize}",
    "sweep.constraints": "constraints: [trainer.minibatch_size <= trainer.batch_size]",
    "notify": "notify: {to: MY_APPRISE_URL}, the name of an environment variable",
    "notify.to": "the name of an environment variable that holds an Apprise address",
}
_PATTERNS = {
    "name": "a name of lower-case letters, digits, `_`, `-` and `.`, at most 63",
    "wandb.tags": "1 to 64 characters without comma",
    "task.secrets": "the name of an environment variable",
    "task.envs": "the name of an environment variable",
    "notify.to": "the name of an environment variable",
    "execution.pool": "own, or the name of a pool: lower-case letters, digits and `-`",
}
_FOREIGN = {  # of W&B's sweep files and of Hydra
    "program": "`task: {run: …}` says what a trial runs",
    "command": "`task: {run: …}` says what a trial runs",
    "run_cap": "`trials: 20` says how many",
    "early_terminate": "`sweep: {early_stopping: {method: asha, grace: 60}}` ends trials early",
    "defaults": "name a hardware file with `hardware: macbook`",
    "sweep_params": "this names a sweep file on the command line only",
}


Path = tuple[str | int, ...]


def complaints(
    root: Node, plain: Mapping[str, Any], error: msgspec.ValidationError
) -> list[Problem]:
    """Give one problem for each value of a sweep file that does not fit its field.

    `plain` is what was written, `error` what msgspec found first: it stops there.
    """
    found = list(_unfit(root, (), inspect.type_info(SweepConfig), plain))
    return found or [root.place.problem("", shown(str(error), 120))]


def _unfit(root: Node, path: Path, kind: inspect.Type, value: object) -> Iterator[Problem]:
    match kind, value:
        case inspect.AnyType(), _:
            return
        case inspect.UnionType(types=kinds), _:
            if value is not None:  # each union is of one type and None
                inner = next(k for k in kinds if not isinstance(k, inspect.NoneType))
                yield from _unfit(root, path, inner, value)
        case inspect.StructType(fields=fields), dict():
            yield from _unfit_section(root, path, fields, value)
        case inspect.DictType(key_type=keys_kind, value_type=values_kind), dict():
            for key, item in value.items():
                if wrong := _why_not(keys_kind, (*path, key), Node(key, root.place)):
                    place = root.nearest((*path, key)).key_place
                    yield place.problem(_dotted((*path, key)), *wrong)
                yield from _unfit(root, (*path, key), values_kind, item)
        case inspect.VarTupleType(item_type=items_kind), list():
            for index, item in enumerate(value):
                yield from _unfit(root, (*path, index), items_kind, item)
        case _:
            node = root.nearest(path)
            if wrong := _why_not(kind, path, node):
                yield node.place.problem(_dotted(path), *wrong)


def _unfit_section(
    root: Node, path: Path, fields: Iterable[inspect.Field], section: Mapping[str, Any]
) -> Iterator[Problem]:
    known = {field.name: field for field in fields}
    unknown = [key for key in section if key not in known]
    for key in unknown:
        place = root.nearest((*path, key)).key_place
        hint = where_it_belongs([*_names(path), key])
        yield place.problem(_dotted((*path, key)), "is no key here", hint)
    for key, field in known.items():
        if key in section:
            yield from _unfit(root, (*path, key), field.type, section[key])
        elif field.required and not any(_near(other, [key]) for other in unknown):
            name = _dotted((*path, key))
            place = root.nearest(path).key_place
            yield place.problem(name, "is missing", _EXAMPLES.get(name, ""))


def _why_not(kind: inspect.Type, path: Path, node: Node) -> tuple[str, str] | None:
    """Say why a value is none of this kind, and what to do; None if it is one."""
    key = _dotted(path)
    example = _EXAMPLES.get(key, "")
    is_number = isinstance(node.value, int | float) and not isinstance(node.value, bool)
    match kind, node.value:
        case inspect.LiteralType(values=allowed), value:
            if value in allowed:
                return None
            wanted = " or ".join((", ".join(map(str, allowed[:-1])), str(allowed[-1])))
            return f"must be {wanted}, is {kind_of(node)}", _near(value, map(str, allowed))
        case inspect.StrType(pattern=pattern, min_length=least), str() as text:
            if len(text) < (least or 0):
                return "is empty", example
            if pattern is None or re.search(pattern, text):
                return None
            wanted = next((v for k, v in _PATTERNS.items() if key.startswith(k)), "one line")
            hint = _safe_name(node) if key == "name" else ""
            return f"must be {wanted}, is {kind_of(node)}", hint
        case inspect.IntType(), float():
            return f"must be a whole number, is {node.text or node.value}", ""
        case inspect.IntType() | inspect.FloatType(), int() | float() if is_number:
            return _out_of_bounds(kind, node)
        case inspect.BoolType(), bool():
            return None
        case _:
            wanted = _WANTED[type(kind)]
            hint = "put quotes around it" if wanted == "text" and not example else example
            return f"must be {wanted}, is {kind_of(node)}", hint or number_hint(node)


_WANTED: dict[type[inspect.Type], str] = {
    inspect.IntType: "a whole number", inspect.FloatType: "a number", inspect.StrType: "text",
    inspect.BoolType: "true or false", inspect.DictType: "a mapping",
    inspect.StructType: "a mapping", inspect.VarTupleType: "a list",
}  # fmt: skip


def _out_of_bounds(kind: inspect.IntType | inspect.FloatType, node: Node) -> tuple[str, str] | None:
    value: int | float = node.value
    if not math.isfinite(value):
        return "must be a finite number", ""
    for words, bound, is_outside in (
        ("above", kind.gt, operator.le),
        ("at least", kind.ge, operator.lt),
        ("below", kind.lt, operator.ge),
        ("at most", kind.le, operator.gt),
    ):
        if bound is not None and is_outside(value, bound):
            return f"must be {words} {bound:g}, is {node.text or value}", ""
    return None


def _names(path: Path) -> list[str]:
    return [str(part) for part in path if not isinstance(part, int)]


def _dotted(path: Path) -> str:
    return ".".join(_names(path))


def kind_of(node: Node) -> str:
    """Say what a value is, short."""
    match node.value:
        case dict():
            return "a mapping"
        case tuple():
            return "a list"
        case None:
            return "empty"
        case str():
            return f"{shown(node.value, 40)!r}"
        case bool() | int() | float():
            return node.text or str(node.value)
        case _:
            raise AssertionError(node.value)


def where_it_belongs(names: list[str]) -> str:
    """Say where an unknown key should stand, or what it may have meant."""
    *above, key = names
    fields = _fields(above)
    if not above and key in _FOREIGN:
        return _FOREIGN[key]
    homes = [name for name, inner in sections() if key in keys(inner) and [name] != above]
    if above and key in _fields([]):
        return f"`{key}:` stands at the top level of the file"
    if homes:
        return f"it belongs under `{'` or `'.join(f'{home}:' for home in homes)}`"
    return _near(key, fields) or f"one of: {', '.join(fields)}"


def _fields(section: list[str]) -> list[str]:
    return [
        key
        for key in keys(dict(sections())[section[0]] if section else SweepConfig)
        if key != "config"
    ]


def _near(given: object, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(str(given).lower(), list(known), n=1)
    return f"did you mean `{close[0]}`?" if close else ""


def near(given: object, known: Iterable[str]) -> str:
    """Give the nearest spelling as a hint, else all that is known."""
    names = list(known)
    return _near(given, names) or f"one of: {', '.join(names)}"


def _safe_name(node: Node) -> str:
    name = safe_name(str(node.value))
    return f"did you mean `{name}`?" if name else ""


def safe_name(text: str) -> str:
    """Give the nearest name that a sweep may have, "" if nothing is left of it."""
    allowed = "abcdefghijklmnopqrstuvwxyz0123456789_.-"
    name = "".join(c if c in allowed else "-" for c in text.lower())
    while "--" in name:
        name = name.replace("--", "-")
    return name.strip("-_.")[:63].rstrip("-_.")
