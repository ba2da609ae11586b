"""From a sweep file and the command line to a SweepConfig, with every problem found at once.

One tree of nodes goes through all steps, and each node knows where it was written: in the sweep
file, in the task or hardware file that it names, or on the command line.
"""

import dataclasses
import difflib
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import msgspec

from launcher.errors import Problem
from launcher.sweepfile import catalogue, yamlio
from launcher.sweepfile.choices import choices, constraints, cost_parameter
from launcher.sweepfile.complaints import complaints, kind_of, safe_name, where_it_belongs
from launcher.sweepfile.machines import is_on_skypilot, machine_problems, settled, with_workdir
from launcher.sweepfile.overrides import COMMAND_LINE, Override, parse_overrides, put, take
from launcher.sweepfile.parameters import (
    Flat,
    clashes,
    flatten,
    override_range,
    pin,
    shared_variables,
    space_problems,
)
from launcher.sweepfile.schema import LAUNCHER_KEYS, SweepConfig, keys
from launcher.sweepfile.sections import (
    spelled_out,
    with_default_task,
    with_hardware_file,
    with_task_file,
)
from launcher.sweepfile.wandb_keys import without_wandb_keys
from launcher.sweepfile.wandb_sweep import from_wandb, is_wandb_sweep
from launcher.sweepfile.yamlio import Node, Place

_TOP = (*keys(SweepConfig), "method", "metric")


def read_sweep(
    source: str | Path | None, texts: Sequence[str] = ()
) -> tuple[SweepConfig | None, list[Problem]]:
    """Read a sweep; the config is None if there are problems."""
    problems: list[Problem] = []
    overrides = parse_overrides(texts, problems)
    path = _path(source, overrides, problems)
    if path is None:
        return None, _first_of_each_place(problems)
    parsed = yamlio.read(path, label=catalogue.label(path))
    problems.extend(parsed.problems)
    root = _root(parsed.node, catalogue.label(path), problems)
    if root is None:
        return None, _first_of_each_place(problems)
    hidden = sorted(set(_secret_texts(root)), key=len, reverse=True)
    if is_wandb_sweep(root):
        root, told = from_wandb(root)
        problems.extend(told)
    config = _config(root, path, overrides, problems)
    problems = [_without(hidden, problem) for problem in _first_of_each_place(problems)]
    return (None if problems else config), problems


def _secret_texts(node: Node, *, is_secret: bool = False) -> Iterator[str]:
    """Yield every text below a key that speaks of secrets, wherever it was put by mistake."""
    for key, inner in node.entries.items():
        yield from _secret_texts(inner, is_secret=is_secret or "secret" in key.lower())
    for inner in node.items:
        yield from _secret_texts(inner, is_secret=is_secret)
    if is_secret and len(node.text) >= SHORTEST_SECRET and not node.entries:
        yield node.text


SHORTEST_SECRET = 4
"""Characters: to hide shorter texts would make messages unreadable and hide nothing."""


def _without(hidden: Sequence[str], problem: Problem) -> Problem:
    """Return a problem that does not repeat what may be a secret."""
    message, hint = problem.message, problem.hint
    for text in hidden:
        message, hint = message.replace(text, "…"), hint.replace(text, "…")
    return dataclasses.replace(problem, message=message, hint=hint)


def _path(
    source: str | Path | None, overrides: list[Override], problems: list[Problem]
) -> Path | None:
    named = take(overrides, "sweep_params")
    if source is None and named is None:
        hint = "a path, or one of: " + ", ".join(catalogue.shipped_names("sweep"))
        problems.append(COMMAND_LINE.problem("", "no sweep file is named", hint))
        return None
    if source is not None and named is not None and str(source) != named.node.text:
        message = f"names another sweep than {yamlio.shown(str(source))}"
        problems.append(COMMAND_LINE.problem("sweep_params", message, "keep one of them"))
    name = named.node.text if named is not None and source is None else str(source)
    found = catalogue.find("sweep", name)
    if isinstance(found, Problem):
        problems.append(found)
        return None
    return found


def _root(node: Node | None, file: Path, problems: list[Problem]) -> Node | None:
    if node is None:
        return None
    if node.value is None:
        hint = "begin with a copy of configs/sweep/empty.yaml"
        problems.append(Place(file, 1, 1).problem("", "the file is empty", hint))
        return None
    if not node.is_mapping:
        hint = "such as `sweep:` with metric, goal and parameters"
        message = f"a sweep file must be a mapping, is {kind_of(node)}"
        problems.append(node.place.problem("", message, hint))
        return None
    return node


def _config(
    root: Node, path: Path, overrides: list[Override], problems: list[Problem]
) -> SweepConfig | None:
    root = without_wandb_keys(root, problems)
    sections, values = _sorted_out(root, overrides, problems)
    for override in sections:
        if len(override.path) == 1:
            root = put(root, override.path, override.node)
    with_task = with_task_file(root, path, problems)
    root = with_hardware_file(with_task or root, path, problems)
    if with_task is None:
        root = put(root, ("task",), Node({}, root.place))
    ranges = [override for override in sections if override.path[:2] == ("sweep", "parameters")]
    for override in sections:
        if len(override.path) > 1 and override not in ranges:
            root = put(root, override.path, override.node)
    root = settled(root)
    if is_on_skypilot(root):
        root = with_default_task(root, problems)
    problems.extend(_not_finite(root, ()))
    root = _with_parameters(root, ranges, values, problems)
    root = with_workdir(spelled_out(root, problems))
    root = _with_name_and_tags(root, path, overrides)
    problems.extend(choices(root))
    problems.extend(machine_problems(root))
    if "source" in root.entries:
        place = root.entries["source"].key_place
        problems.append(place.problem("source", "is no key here", where_it_belongs(["source"])))
    root = put(root, ("source",), Node(str(path), root.place))
    plain = root.plain()
    try:
        return msgspec.convert(plain, SweepConfig)
    except msgspec.ValidationError as error:
        problems.extend(complaints(root, plain, error))
        return None


def _sorted_out(
    root: Node, overrides: list[Override], problems: list[Problem]
) -> tuple[list[Override], list[Override]]:
    """Tell overrides of the sweep file's own sections from values of the trials."""
    sections, values = [], []
    for override in overrides:
        first = override.path[0]
        if override.key in ("run", "user", "sweep_params"):
            continue
        if first in ("method", "metric"):
            hint = f"sweep.{first}=…"
            problems.append(COMMAND_LINE.problem(override.key, "is W&B's key", hint))
        elif first in _TOP:
            sections.append(override)
        elif not override.is_new and (meant := _misspelt(first, root)):
            hint = f"{meant} a value of the trials is written +{override.key}=…"
            problems.append(COMMAND_LINE.problem(override.key, "is no key", hint))
        else:
            values.append(override)
    return sections, values


def _misspelt(first: str, root: Node) -> str:
    """Give the section that a key almost names, "" if it is a group of parameters in the file."""
    groups = {name.split(".")[0] for part in _GROUPS for name in _entries(root, part)}
    close = difflib.get_close_matches(first, _TOP, n=1, cutoff=0.8)
    return f"did you mean `{close[0]}`?" if close and first not in groups else ""


_GROUPS = (("sweep", "parameters"), ("hardware",))


def _entries(root: Node, path: tuple[str, ...]) -> Iterable[str]:
    node = root.get(*path)
    return () if node is None else node.entries


def _with_parameters(
    root: Node, ranges: list[Override], values: list[Override], problems: list[Problem]
) -> Node:
    sweep = root.get("sweep")
    if sweep is None or not sweep.is_mapping:
        return root
    node = sweep.entries.get("parameters")
    if node is None or node.value is None:
        node = Node({}, sweep.key_place) if node is None else replace(node, value={})
    if not node.is_mapping:
        return root
    flat = flatten(node, problems)
    for override in ranges:
        if len(override.path) > 2:
            override_range(flat, override, problems)
    for override in values:
        pin(flat, override, problems)
    hardware = root.get("hardware")
    problems.extend(clashes(flat, _leaves(hardware) if hardware is not None else {}))
    problems.extend(shared_variables(flat))
    problems.extend(space_problems(flat))
    problems.extend(cost_parameter(sweep, flat))
    problems.extend(constraints(sweep, flat))
    return put(root, ("sweep", "parameters"), replace(node, value=dict(flat)))


def _leaves(node: Node, prefix: str = "") -> Flat:
    leaves: Flat = {}
    for key, inner in node.entries.items():
        if not prefix and key in LAUNCHER_KEYS:
            continue
        if inner.is_mapping and inner.entries:
            leaves |= _leaves(inner, f"{prefix}{key}.")
        else:
            leaves[f"{prefix}{key}"] = inner
    return leaves


def _with_name_and_tags(root: Node, path: Path, overrides: list[Override]) -> Node:
    run, user = take(overrides, "run"), take(overrides, "user")
    name = root.get("name")
    if run is not None:
        root = put(root, ("name",), replace(run.node, value=run.node.text or run.node.value))
    elif name is None or name.value is None:
        stem = safe_name(path.name.removesuffix(".yaml").removesuffix(".yml"))
        root = put(root, ("name",), Node(stem or "sweep", root.place))
    if user is not None:
        tags = root.get("wandb", "tags")
        items = (*(tags.items if tags else ()), replace(user.node, value=f"user:{user.node.text}"))
        root = put(root, ("wandb", "tags"), Node(items, COMMAND_LINE))
    return root


def _not_finite(node: Node, path: tuple[str, ...]) -> Iterator[Problem]:
    if isinstance(node.value, float) and not math.isfinite(node.value):
        message = f"must be a finite number, is {node.text}"
        yield node.place.problem(".".join(path), message)
    for key, inner in node.entries.items():
        yield from _not_finite(inner, (*path, key))
    for inner in node.items:
        yield from _not_finite(inner, path)


def _first_of_each_place(problems: list[Problem]) -> list[Problem]:
    """Keep what was found first at each place: the rest follows from it."""
    found: dict[tuple[object, ...], Problem] = {}
    for problem in problems:
        where = (problem.file, problem.line, problem.column)
        short = dataclasses.replace(problem, key=problem.key.removeprefix("sweep.parameters."))
        found.setdefault(where if problem.line else (*where, short.key), short)
    return sorted(found.values())
