"""Short forms of the sweep file, spelled out before the models see them.

`task: file.yaml`, `hardware: macbook`, `timeout_seconds: 2h`, `tags: one`, secrets by name.
"""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from launcher.errors import Problem
from launcher.sweepfile import catalogue, yamlio
from launcher.sweepfile.overrides import COMMAND_LINE
from launcher.sweepfile.yamlio import Node, shown

_UNITS = {"s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400}
_DURATION = re.compile(r"(?:\s*[0-9]+(?:\.[0-9]+)?\s*(?:sec|min|[smhd]))+\s*")
_DURATION_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(sec|min|[smhd])")
_OWN_VARIABLES = "PROTEIN_"

Problems = list[Problem]


def spelled_out(root: Node, problems: Problems) -> Node:
    """Give the sweep file with all short forms of its sections written out."""
    root = _change(root, ("execution", "timeout_seconds"), seconds)
    root = _change(root, ("execution", "stall_seconds"), seconds)
    root = _change(root, ("execution", "retry_delay_seconds"), seconds)
    root = _change(root, ("budget", "warn"), as_list)
    root = _change(root, ("notify", "to"), as_list)
    root = _change(root, ("notify", "on"), as_list)
    root = _change(root, ("sweep", "constraints"), as_list)
    root = _change(root, ("sweep", "warm_start"), as_list)
    root = _change(root, ("wandb", "tags"), lambda node: _texts(as_list(node)))
    root = _change(root, ("task", "envs"), lambda node: _envs(node, problems))
    root = _change(root, ("task", "secrets"), lambda node: _secrets(node, problems))
    root = _change(root, ("task", "workdir"), lambda node: _workdir(node, problems))
    for key in ("resources", "file_mounts", "volumes", "config", "envs", "secrets"):
        root = _change(root, ("task", key), lambda node: _nothing_is(node, {}))
    for section in ("task", "execution", "budget", "wandb", "notify", "hardware"):
        root = _change(root, (section,), lambda node: _nothing_is(node, {}))
    return _change(root, ("name",), lambda node: replace(node, value=node.text or node.value))


def _change(root: Node, path: tuple[str, ...], change: Callable[[Node], Node]) -> Node:
    inner = root.entries.get(path[0])
    if inner is None:
        return root
    changed = change(inner) if len(path) == 1 else _change(inner, path[1:], change)
    return root.with_entries({**root.entries, path[0]: changed})


def _nothing_is(node: Node, value: dict[str, Node]) -> Node:
    return replace(node, value=value) if node.value is None else node


def seconds(node: Node) -> Node:
    """Read `2h`, `30m` or `1h 30m` as seconds; anything else stays as it is."""
    if isinstance(node.value, str) and _DURATION.fullmatch(node.value):
        parts = _DURATION_PART.findall(node.value)
        return replace(node, value=sum(float(amount) * _UNITS[unit] for amount, unit in parts))
    return node


def as_list(node: Node) -> Node:
    """Read a scalar as a list of one."""
    if node.is_list or node.is_mapping or node.value is None:
        return replace(node, value=()) if node.value is None else node
    return replace(node, value=(replace(node, key=None),))


def _texts(node: Node) -> Node:
    return replace(node, value=tuple(_text(item) for item in node.items)) if node.is_list else node


def _text(node: Node) -> Node:
    """Read a number, true or false as the text that was written."""
    is_scalar = not (node.is_mapping or node.is_list or node.value is None)
    return replace(node, value=node.text) if is_scalar else node


def _envs(node: Node, problems: Problems) -> Node:
    for name, entry in node.entries.items():
        if entry.value is None:
            hint = "give it a value; to take it from your environment, list it under `secrets`"
            problems.append(entry.place.problem(f"task.envs.{name}", "is empty", hint))
        if name.startswith(_OWN_VARIABLES):
            message = "is set for each trial by protein-sky"
            hint = "choose a name without PROTEIN_"
            problems.append(entry.key_place.problem(f"task.envs.{name}", message, hint))
    entries = {name: _text(entry) for name, entry in node.entries.items()}
    return node.with_entries(entries) if node.is_mapping else node


def _secrets(node: Node, problems: Problems) -> Node:
    """Read secrets as a list of names. A value is refused, and never shown."""
    for name, entry in node.entries.items():
        if entry.value not in (None, ""):
            message = "a secret's value does not belong into a file"
            hint = f"write `{shown(name)}: null`, and set it in the environment of the launcher"
            problems.append(entry.place.problem(f"task.secrets.{name}", message, hint))
    if not node.is_mapping:
        return as_list(node)
    names = tuple(Node(name, entry.key_place) for name, entry in node.entries.items())
    return replace(node, value=names)


def _workdir(node: Node, problems: Problems) -> Node:
    """Read a folder from here, as SkyPilot does, and keep it whole: a sweep can be resumed
    from anywhere.
    """
    if not isinstance(node.value, str):
        return node
    try:
        folder = Path(node.value).expanduser().resolve()
        if folder.is_dir():
            return replace(node, value=str(folder))
    except (OSError, ValueError, RuntimeError):  # too long, a NUL, no home
        pass
    hint = "it counts from the folder where you launch"
    problems.append(node.place.problem("task.workdir", "is not a folder here", hint))
    return node


def base_folder(node: Node, source: Path) -> Path:
    """Give the folder from which a path counts: the sweep file's, or here on the command line."""
    return Path() if node.place == COMMAND_LINE else source.parent


def with_task_file(root: Node, source: Path, problems: Problems) -> Node | None:
    """Read `task: file.yaml`. None if that file is no task."""
    task = root.entries.get("task")
    if task is None or not isinstance(task.value, str):
        return root
    path = catalogue.find("task", task.value, base=base_folder(task, source))
    if isinstance(path, Problem):
        message = f"no such file {shown(task.value)!r}"
        hint = path.hint if "did you mean" in path.hint else f"or {{run: …}}; {path.hint}"
        problems.append(task.place.problem("task", message, hint))
        return None
    parsed = yamlio.read(path, label=catalogue.label(path))
    problems.extend(parsed.problems)
    if parsed.node is None:
        return None
    if not parsed.node.is_mapping:
        problems.append(parsed.node.place.problem("", "a task file must be a mapping", "run: …"))
        return None
    return root.with_entries({**root.entries, "task": replace(parsed.node, key=task.key)})


def with_default_task(root: Node, problems: Problems) -> Node:
    """Read the shipped task for a sweep that does not say what its trials run.

    It brings the trainer to machines that know nothing of it; what the sweep says, counts.
    """
    task = root.entries.get("task") or Node({}, root.place)
    if "run" in task.entries or not (task.is_mapping or task.value is None):
        return root
    path = catalogue.shipped_tasks() / "trial.yaml"
    parsed = yamlio.read(path, label=catalogue.label(path))
    problems.extend(parsed.problems)
    shipped = {} if parsed.node is None else parsed.node.entries
    return root.with_entries(
        {**root.entries, "task": task.with_entries({**shipped, **task.entries})}
    )


def with_hardware_file(root: Node, source: Path, problems: Problems) -> Node:
    """Read `hardware: macbook`, or a path."""
    hardware = root.entries.get("hardware")
    if hardware is None or not isinstance(hardware.value, str):
        return root
    content = Node({}, hardware.place, hardware.key)
    found = catalogue.find("hardware", hardware.value, base=base_folder(hardware, source))
    if isinstance(found, Problem):
        message = f"{found.message} {shown(hardware.value)!r}"
        problems.append(hardware.place.problem("hardware", message, found.hint))
        return root.with_entries({**root.entries, "hardware": content})
    parsed = yamlio.read(found, label=catalogue.label(found))
    problems.extend(parsed.problems)
    if parsed.node is not None and parsed.node.is_mapping:
        content = replace(parsed.node, key=hardware.key)
    elif parsed.node is not None and parsed.node.value is not None:
        problems.append(parsed.node.place.problem("", "a hardware file must be a mapping"))
    return root.with_entries({**root.entries, "hardware": content})
