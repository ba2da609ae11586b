"""From what pydantic finds to one line that a user can act on, with its place."""

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import ValidationError

from launcher.errors import Problem
from launcher.sweepfile.parameters import number_hint
from launcher.sweepfile.schema import Section, SweepConfig, section_fields
from launcher.sweepfile.yamlio import Node, shown

_EXPECTED = {
    "int": "a whole number", "float": "a number", "string": "text", "bool": "true or false",
    "dict": "a mapping", "model": "a mapping", "tuple": "a list", "list": "a list",
}  # fmt: skip
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


def complaints(root: Node, error: ValidationError) -> list[Problem]:
    """Give one problem for each error, where it stands. A misspelt key is not missing as well."""
    errors = error.errors(include_url=False)
    unknown = [details["loc"] for details in errors if details["type"] == "extra_forbidden"]
    return [
        _complaint(root, details)
        for details in errors
        if not (details["type"] == "missing" and _is_misspelt(details["loc"], unknown))
    ]


def _is_misspelt(path: tuple[int | str, ...], unknown: Iterable[tuple[int | str, ...]]) -> bool:
    beside = [str(other[-1]) for other in unknown if other[:-1] == path[:-1]]
    return any(_near(key, [str(path[-1])]) for key in beside)


def _complaint(root: Node, details: Mapping[str, Any]) -> Problem:
    path = tuple(part for part in details["loc"] if part != "[key]")
    is_key = len(path) != len(details["loc"]) or details["type"] == "extra_forbidden"
    node = root.nearest(path)
    place = node.key_place if is_key or details["type"] == "missing" else node.place
    names = [str(part) for part in path if not isinstance(part, int)]
    written = Node(names[-1], place) if is_key and names else node
    message, hint = _words(names, written, details)
    return place.problem(".".join(names), message, hint)


def _words(names: list[str], node: Node, details: Mapping[str, Any]) -> tuple[str, str]:
    kind: str = details["type"]
    context: Mapping[str, Any] = details.get("ctx", {})
    key = ".".join(names)
    example = _EXAMPLES.get(key, "")
    match kind:
        case "missing":
            return "is missing", example
        case "extra_forbidden":
            return "is no key here", where_it_belongs(names)
        case "literal_error":
            allowed = re.findall(r"'([^']*)'", str(context["expected"]))
            wanted = " or ".join((", ".join(allowed[:-1]), allowed[-1]))
            return f"must be {wanted}, is {kind_of(node)}", _near(node.value, allowed)
        case "string_pattern_mismatch":
            wanted = next((v for k, v in _PATTERNS.items() if key.startswith(k)), "one line")
            return f"must be {wanted}, is {kind_of(node)}", _safe_name(
                node
            ) if key == "name" else ""
        case "greater_than" | "greater_than_equal" | "less_than" | "less_than_equal":
            return f"must be {_bound(kind, context)}, is {node.text or node.value}", ""
        case "string_too_short":
            return "is empty", example
        case "finite_number":
            return "must be a finite number", ""
        case "int_from_float":
            return f"must be a whole number, is {node.text or node.value}", ""
        case _:
            wanted = _EXPECTED.get(kind.split("_")[0], "")
            if not wanted:
                return shown(str(details["msg"]), 120), example
            hint = "put quotes around it" if wanted == "text" and not example else example
            return f"must be {wanted}, is {kind_of(node)}", hint or number_hint(node)


def _bound(kind: str, context: Mapping[str, Any]) -> str:
    words = {
        "greater_than": "above", "greater_than_equal": "at least",
        "less_than": "below", "less_than_equal": "at most",
    }  # fmt: skip
    sign = {"greater_than": "gt", "greater_than_equal": "ge", "less_than": "lt"}.get(kind, "le")
    return f"{words[kind]} {context[sign]:g}"


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
    sections = {name: section.model_fields for name, section in section_fields()}
    if not above and key in _FOREIGN:
        return _FOREIGN[key]
    homes = [name for name, inner in sections.items() if key in inner and [name] != above]
    if above and key in _fields([]):
        return f"`{key}:` stands at the top level of the file"
    if homes:
        return f"it belongs under `{'` or `'.join(f'{home}:' for home in homes)}`"
    return _near(key, fields) or f"one of: {', '.join(fields)}"


def _fields(section: list[str]) -> list[str]:
    model: type[Section] = dict(section_fields())[section[0]] if section else SweepConfig
    return [name for name in model.model_fields if name not in ("source", "config")]


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
