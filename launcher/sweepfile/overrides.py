"""What the command line changes in a sweep: `--set key=value` and bare `+key=value`.

`+` and `++` are the reference's spellings (Hydra's); both mean: set it. Values are YAML.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from launcher.errors import Problem
from launcher.sweepfile.yamlio import Node, Place, parse, shown

COMMAND_LINE = Place(Path("command line"))
_KEY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*(?:\.[A-Za-z0-9_][A-Za-z0-9_-]*)*")


@dataclass(frozen=True, slots=True)
class Override:
    """One `key=value`. `is_new` if a `+` says that the key need not exist."""

    key: str
    node: Node
    is_new: bool

    @property
    def path(self) -> tuple[str, ...]:
        """The key's parts."""
        return tuple(self.key.split("."))


def parse_overrides(texts: Sequence[str], problems: list[Problem]) -> list[Override]:
    """Read overrides; the last one counts where a key is given twice."""
    found: dict[str, Override] = {}
    for text in texts:
        override = _parse(text, problems)
        if override is not None:
            found.pop(override.key, None)
            found[override.key] = override
    return list(found.values())


def _parse(text: str, problems: list[Problem]) -> Override | None:
    key, equals, value = text.partition("=")
    bare = key.strip().lstrip("+")
    plus = len(key.strip()) - len(bare)
    hint = "write key=value, such as trainer.num_workers=1"
    if not equals:
        problems.append(COMMAND_LINE.problem("", f"{shown(text)!r} has no `=`", hint))
        return None
    if plus > 2 or len(bare) > 200 or not _KEY.fullmatch(bare):
        problems.append(COMMAND_LINE.problem("", f"{shown(key)!r} is no key", hint))
        return None
    parsed = parse(value, COMMAND_LINE.file)
    problems.extend(_without_line(bare, problem) for problem in parsed.problems)
    if parsed.node is None or parsed.problems:
        return None
    return Override(bare, on_command_line(parsed.node), plus > 0)


def on_command_line(node: Node) -> Node:
    """Give the same value, standing on the command line."""
    value = node.value
    if isinstance(value, dict):
        value = {key: on_command_line(inner) for key, inner in value.items()}
    elif isinstance(value, tuple):
        value = tuple(on_command_line(inner) for inner in value)
    return Node(value, COMMAND_LINE, COMMAND_LINE, node.text, node.size)


def _without_line(key: str, problem: Problem) -> Problem:
    full = f"{key}.{problem.key}" if problem.key else key
    return COMMAND_LINE.problem(full, problem.message, problem.hint)


def put(root: Node, path: tuple[str, ...], node: Node) -> Node:
    """Give the tree with a node at a path; what stands in the way becomes a mapping."""
    if not path:
        return node
    inner = root.entries.get(path[0]) or Node({}, node.place, node.key)
    mapping = root if root.is_mapping else Node({}, node.place, node.key)
    return mapping.with_entries({**mapping.entries, path[0]: put(inner, path[1:], node)})


def take(overrides: Iterable[Override], key: str) -> Override | None:
    """Give the override of one key, None if there is none."""
    return next((override for override in overrides if override.key == key), None)
