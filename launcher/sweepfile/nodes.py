"""Values that know where they were written: the tree that a sweep file is read into."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from launcher.errors import Problem


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands: line and column count from 1; 0 means the whole file."""

    file: Path
    line: int = 0
    column: int = 0

    def problem(self, key: str, message: str, hint: str = "") -> Problem:
        """Give the problem that stands here."""
        return Problem(self.file, self.line, self.column, shown(key, 120), message, hint)


@dataclass(frozen=True, slots=True)
class Node:
    """A value, where it stands, and where its key stands if it has one.

    `value` is a scalar, a tuple of nodes, or a dict from text to nodes. `text` is a scalar as it
    was written. `size` counts the values inside, this one included.
    """

    value: Any
    place: Place
    key: Place | None = None
    text: str = ""
    size: int = 1

    @property
    def key_place(self) -> Place:
        """Where the key stands; the value's place for what has no key."""
        return self.key or self.place

    @property
    def is_mapping(self) -> bool:
        """Whether this maps keys to nodes."""
        return isinstance(self.value, dict)

    @property
    def is_list(self) -> bool:
        """Whether this is a list of nodes."""
        return isinstance(self.value, tuple)

    @property
    def entries(self) -> Mapping[str, "Node"]:
        """The keys and nodes of a mapping; nothing for anything else."""
        return self.value if isinstance(self.value, dict) else {}

    @property
    def items(self) -> tuple["Node", ...]:
        """The nodes of a list; nothing for anything else."""
        return self.value if isinstance(self.value, tuple) else ()

    def get(self, *path: str) -> "Node | None":
        """Give the node under a path of keys, None where there is none."""
        node: Node | None = self
        for key in path:
            node = None if node is None else node.entries.get(key)
        return node

    def nearest(self, path: tuple[str | int, ...]) -> "Node":
        """Give the deepest node that exists on a path."""
        node = self
        for part in path:
            if isinstance(part, int) and part < len(node.items):
                node = node.items[part]
            elif str(part) in node.entries:
                node = node.entries[str(part)]
            else:
                break
        return node

    def plain(self) -> Any:
        """Give the value as dicts, lists and scalars."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, tuple):
            return [node.plain() for node in self.value]
        return self.value

    def with_entries(self, entries: Mapping[str, "Node"]) -> "Node":
        """Give the same mapping with other entries."""
        return replace(self, value=dict(entries))


def shown(text: str, limit: int = 60) -> str:
    """Give a text of a stranger as one short printable line."""
    line = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return line if len(line) <= limit else f"{line[: limit - 1]}…"
