"""A W&B sweep YAML as one of ours, and one of ours as W&B shows it.

`from_wandb` takes the file of `wandb sweep file.yaml` as it is. Distributions, keys and defaults:
https://docs.wandb.ai/models/sweeps/sweep-config-keys. What has no equal here is a problem with its
line; nothing is left out silently.
"""

import math
import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from launcher.errors import Problem
from launcher.sweepfile.nodes import Node, shown
from protein.parameter import Distribution, Numeric, Parameter
from protein.space import Space

MAX_QUANTA = 256
"""A quantised range of at most so many values becomes a list of them."""
REACH = 3.0  # normal distributions have no ends: three sigma hold 99.7 % of them
TOP = (
    "program", "method", "metric", "parameters", "name", "description", "project", "entity",
    "early_terminate", "command", "run_cap",
)  # fmt: skip
_LAUNCH_KEYS = ("controller", "imageuri", "job", "scheduler")
_METHODS = {"bayes": "protein", "random": "random", "grid": "grid"}


def is_wandb_sweep(root: Node) -> bool:
    """Whether a file is a W&B sweep: its parameters stand at the top."""
    return root.get("parameters") is not None and root.get("sweep") is None


def from_wandb(root: Node) -> tuple[Node, list[Problem]]:
    """Return the sweep file that means the same, its values where they were written."""
    problems: list[Problem] = []
    for key, node in root.entries.items():
        if key in _LAUNCH_KEYS:
            hint = "write `task:` and `execution:` instead"
            problems.append(node.key_place.problem(key, "belongs to W&B Launch", hint))
        elif key not in TOP:
            hint = f"one of: {', '.join(TOP)}"
            problems.append(node.key_place.problem(shown(key), "is no key of a W&B sweep", hint))
    sweep: dict[str, Node] = {}
    _method_and_metric(root, sweep, problems)
    parameters = root.entries["parameters"]
    converted = _parameters(parameters, "parameters", problems)
    if (method := root.get("method")) is not None and method.value == "random":
        problems.extend(_weights(parameters, "parameters"))
    sweep["parameters"] = replace(parameters, value=converted)
    _early_terminate(root, sweep, problems)
    entries = {"sweep": Node(sweep, root.place), "task": _task(root, problems)}
    if (run_cap := root.get("run_cap")) is not None:
        entries["trials"] = run_cap
    wandb = {key: root.entries[key] for key in ("project", "entity") if key in root.entries}
    if wandb:
        entries["wandb"] = Node(wandb, root.place)
    return root.with_entries(entries), problems


def _method_and_metric(root: Node, sweep: dict[str, Node], problems: list[Problem]) -> None:
    method = root.get("method")
    if method is not None:
        known = _METHODS.get(str(method.value))
        if known is None:
            hint = f"one of: {', '.join(_METHODS)}"
            problems.append(method.place.problem("method", "is unknown to W&B", hint))
        else:
            sweep["method"] = replace(method, value=known)
    name = root.get("metric", "name")
    if name is None:
        hint = "`metric: {name: reward, goal: maximize}`"
        problems.append(root.place.problem("metric.name", "is missing", hint))
        return
    sweep["metric"] = name
    goal = root.get("metric", "goal")
    sweep["goal"] = goal if goal is not None else Node("minimize", name.place)  # W&B's default
    if (target := root.get("metric", "target")) is not None:
        hint = "remove it; `protein-sky stop` ends a sweep"
        problems.append(target.key_place.problem("metric.target", "has no equal here", hint))


def _early_terminate(root: Node, sweep: dict[str, Node], problems: list[Problem]) -> None:
    """Turn hyperband into ASHA with its rungs: min_iter · ηᵏ, or down from max_iter in s steps."""
    rule = root.get("early_terminate")
    if rule is None:
        return
    given = rule.plain() if rule.is_mapping else {}
    eta = given.get("eta", 3)
    if given.get("type") != "hyperband" or not isinstance(eta, int):
        hint = "`{type: hyperband, min_iter: 3}`, eta a whole number"
        problems.append(rule.place.problem("early_terminate", "is not understood", hint))
        return
    if "min_iter" in given:
        grace = given["min_iter"]
    elif "max_iter" in given and "s" in given:
        grace = given["max_iter"] / eta ** given["s"]
    else:
        hint = "give min_iter, or max_iter and s"
        problems.append(rule.place.problem("early_terminate", "has no first bracket", hint))
        return
    values = {"method": "asha", "resource": "step", "grace": grace, "reduction_factor": eta}
    entries = {key: Node(value, rule.place) for key, value in values.items()}
    sweep["early_stopping"] = replace(rule, value=entries)


def _task(root: Node, problems: list[Problem]) -> Node:
    """Return the task that runs what an agent would run."""
    program, command = root.get("program"), root.get("command")
    words = command.items if command is not None else ()
    if not words:
        words = tuple(
            Node(word, root.place) for word in ("${env}", "${interpreter}", "${program}", "${args}")
        )
    if program is None and any("${program}" in str(word.value) for word in words):
        hint = "`program: train.py`, or a `command` without ${program}"
        problems.append(root.place.problem("program", "is missing", hint))
    name = shlex.quote(str(program.value)) if program is not None else ""
    run = " ".join(_word(word, name, problems) for word in words)
    place = (command or program or root).place
    return Node({"run": Node(run, place)}, place)


_MACROS = {
    "${env}": "/usr/bin/env",
    "${interpreter}": "python",
    "${args}": "${args}",
    "${args_no_hyphens}": '"${@#--}"',
    "${args_json_file}": '"$PROTEIN_PARAMS"',
    "${args_json}": '"$(cat "$PROTEIN_PARAMS")"',
}


def _word(word: Node, program: str, problems: list[Problem]) -> str:
    text = str(word.value)
    if text == "${program}":
        return program
    if text in _MACROS:
        return _MACROS[text]
    if text.startswith("${envvar:") and text.endswith("}"):
        return f'"${{{text[9:-1]}}}"'
    if "${" in text:
        hint = f"these are known: {', '.join(_MACROS)}, ${{envvar:NAME}}"
        problems.append(word.place.problem("command", f"{shown(text)} has no equal here", hint))
    return shlex.quote(text)


def _parameters(node: Node, path: str, problems: list[Problem]) -> dict[str, Node]:
    found: dict[str, Node] = {}
    for name, entry in node.entries.items():
        where = f"{path}.{name}"
        inner = entry.get("parameters")
        if inner is not None:
            nested = _parameters(inner, f"{where}.parameters", problems)
            found |= {f"{name}.{key}": below for key, below in nested.items()}
        elif not entry.is_mapping:
            hint = f"`{name}: {{value: {shown(str(entry.value))}}}`"
            problems.append(entry.place.problem(where, "must be a mapping", hint))
        else:
            found[name] = _parameter(entry, where, problems)
    return found


def _weights(node: Node, path: str) -> Iterator[Problem]:
    """Refuse unequal `probabilities`: random search draws by them in W&B, and evenly here.

    W&B's other methods take no notice of them either.
    """
    for name, entry in node.entries.items():
        where = f"{path}.{name}"
        inner, weights = entry.get("parameters"), entry.get("probabilities")
        if inner is not None:
            yield from _weights(inner, f"{where}.parameters")
        elif weights is not None and len({item.value for item in weights.items}) > 1:
            hint = "remove them, or take `method: bayes`, which finds out by itself"
            key = f"{where}.probabilities"
            yield weights.place.problem(key, "random search has no weights here", hint)


class _Refused(Exception):  # noqa: N818 - control flow inside this module, no error of the user
    """A distribution that cannot be converted: the key, and what to tell."""


def _parameter(entry: Node, where: str, problems: list[Problem]) -> Node:
    try:
        converted = _converted(entry.plain())
    except _Refused as refused:
        key, message, hint = refused.args
        place = entry.entries[key].place if key in entry.entries else entry.place
        problems.append(place.problem(f"{where}.{key}", message, hint))
        return entry
    if not isinstance(converted, dict):
        return replace(entry, value=converted)
    return entry.with_entries(
        {key: _node(value, entry.entries.get(key, entry)) for key, value in converted.items()}
    )


def _node(value: Any, at: Node) -> Node:
    if isinstance(value, list):
        return Node(tuple(Node(item, at.place) for item in value), at.place, at.key)
    return Node(value, at.place, at.key)


def _converted(given: Mapping[str, Any]) -> Any:
    """Return our mapping of one parameter, or a fixed value."""
    if "value" in given:
        return given["value"]
    if "values" in given:
        return {"distribution": "categorical", "values": given["values"]}
    name = given.get("distribution") or _usual(given)
    q, plain_name = given.get("q"), str(name).removeprefix("q_")
    convert = _NUMERIC.get(plain_name)
    if convert is None:
        known = ", ".join([*_NUMERIC, *(f"q_{n}" for n in _NUMERIC if n != "int_uniform")])
        raise _Refused("distribution", f"{name!r} is unknown to W&B", f"one of: {known}")
    for key, value in given.items():
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if key != "distribution" and not is_number:
            raise _Refused(key, f"must be a number, is {value!r}", "")
    try:
        converted = convert(given)
    except KeyError as missing:
        raise _Refused(missing.args[0], "is missing", f"{name} needs it") from None
    except OverflowError:
        raise _Refused("max", "is an exponent of e", "did you mean log_uniform_values?") from None
    return _quantised(converted, 1 if q is None else q) if name != plain_name else converted


def _usual(given: Mapping[str, Any]) -> str:
    """Return W&B's default: whole numbers for whole bounds."""
    bounds = (given.get("min"), given.get("max"))
    return "int_uniform" if all(isinstance(bound, int) for bound in bounds) else "uniform"


def _range(distribution: str, low: float, high: float) -> dict[str, Any]:
    return {"distribution": distribution, "min": low, "max": high}


def _normal(given: Mapping[str, Any]) -> dict[str, Any]:
    mu, reach = given["mu"], REACH * given["sigma"]
    return {**_range("uniform", mu - reach, mu + reach), "mean": mu, "scale": 1 / REACH}


def _log_normal(given: Mapping[str, Any]) -> dict[str, Any]:
    mu, reach = given["mu"], REACH * given["sigma"]
    ends = _range("log_normal", math.exp(mu - reach), math.exp(mu + reach))
    return {**ends, "mean": math.exp(mu), "scale": 1 / REACH}


def _beta(given: Mapping[str, Any]) -> dict[str, Any]:
    return {**_range("uniform", 0.0, 1.0), "mean": given["a"] / (given["a"] + given["b"])}


_NUMERIC: Mapping[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    "uniform": lambda g: _range("uniform", g["min"], g["max"]),
    "int_uniform": lambda g: _range("int_uniform", g["min"], g["max"]),
    "log_uniform": lambda g: _range("log_normal", math.exp(g["min"]), math.exp(g["max"])),
    "log_uniform_values": lambda g: _range("log_normal", g["min"], g["max"]),
    "inv_log_uniform": lambda g: _range("log_normal", math.exp(-g["max"]), math.exp(-g["min"])),
    "inv_log_uniform_values": lambda g: _range("log_normal", g["min"], g["max"]),
    "normal": _normal,
    "log_normal": _log_normal,
    "beta": _beta,
}


def _quantised(spec: dict[str, Any], q: float) -> dict[str, Any]:
    """Round a range to multiples of q: whole numbers where that is it, else a list of values."""
    low, high = spec["min"], spec["max"]
    first, last = math.ceil(low / q - 1e-9), math.floor(high / q + 1e-9)
    if q == 1 and spec["distribution"] == "uniform":
        return _range("int_uniform", first, last)
    if last - first + 1 > MAX_QUANTA:
        count = last - first + 1
        hint = f"a larger q, or the distribution without q_ (at most {MAX_QUANTA} values)"
        raise _Refused("q", f"makes {count} values", hint)
    values = [float(f"{n * q:.12g}") for n in range(first, last + 1)]
    whole = all(value.is_integer() for value in values)
    shown_values = [int(value) for value in values] if whole else values
    return {"distribution": "categorical", "values": shown_values}


def to_wandb(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return our parameters (what `Space.from_dict` reads) as W&B's, for its sweep page."""
    space = Space.from_dict(parameters)
    fixed = {name: {"value": value} for name, value in space.fixed.items()}
    return {parameter.name: _to_wandb(parameter) for parameter in space.parameters} | fixed


def _to_wandb(parameter: Parameter) -> dict[str, Any]:
    if not isinstance(parameter, Numeric):
        return {"values": list(parameter.values)}
    ends = {"min": parameter.min, "max": parameter.max}
    match parameter.distribution:
        case Distribution.INT_UNIFORM:
            return {"distribution": "int_uniform", **ends}
        case Distribution.LOG_NORMAL:
            return {"distribution": "log_uniform_values", **ends}
        case Distribution.UNIFORM_POW2:
            return {"values": list(_powers(parameter))}
        case _:  # W&B has nothing like logit_normal; its page shows the range
            return {"distribution": "uniform", **ends}


def _powers(parameter: Numeric) -> Iterator[int]:
    value = 1
    while value <= parameter.max:
        if value >= parameter.min:
            yield value
        value *= 2
