"""YAML that says where each thing stands, read by the YAML 1.2 core schema.

PyYAML's events are folded into `Node`s with an explicit stack: `1e-5` is a number, `no` is text,
`010` is ten, a key that stands twice is an error, tags that build objects are refused, and neither
aliases nor nesting can make a small file large. Numbers, booleans and nulls follow
https://yaml.org/spec/1.2.2/#103-core-schema; a number that a float or a 64-bit integer cannot hold
is an error instead of infinity or zero. `<<` merges, as it does in YAML 1.1.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from launcher.errors import Problem
from launcher.sweepfile import yamlcore
from launcher.sweepfile.nodes import Node, Place, shown
from launcher.sweepfile.yamlout import dump

__all__ = ["Node", "Parsed", "Place", "dump", "parse", "read", "shown"]

MAX_BYTES = 256 * 1024  # a sweep file has a few kilobytes
MAX_DEPTH = 64
MAX_NODES = 20_000  # values, after aliases are expanded

_UNPRINTABLE = re.compile(
    "[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)
_LINE_BREAK = re.compile("\r\n|[\r\n\x85\u2028\u2029]")
_CORE = "tag:yaml.org,2002:"
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True)
class Parsed:
    """What a text holds, None if it cannot be read at all, and what is wrong with it."""

    node: Node | None
    problems: tuple[Problem, ...] = ()


def read(file: Path, *, label: Path | None = None) -> Parsed:
    """Read one YAML file. `label` is how messages name it."""
    label = label or file
    try:
        with file.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        return Parsed(None, (Place(label).problem("", f"cannot be read: {reason}"),))
    if len(data) > MAX_BYTES:
        message = f"is larger than {MAX_BYTES // 1024} KiB"
        return Parsed(None, (Place(label).problem("", message, "is this a sweep file?"),))
    try:
        return parse(data.decode("utf-8"), label)
    except UnicodeDecodeError as error:
        line, column = _line_and_column(data[: error.start].decode("utf-8"))
        utf_16 = data[:2] in (b"\xff\xfe", b"\xfe\xff")
        message = "is not UTF-8 text" + (", it looks like UTF-16" if utf_16 else "")
        place = Place(label, line, column)
        return Parsed(None, (place.problem("", message, "save the file as UTF-8"),))


def parse(text: str, file: Path) -> Parsed:
    """Read one YAML document. Without content it is an empty mapping's place with value None."""
    text = text.removeprefix("\ufeff")
    strange = _UNPRINTABLE.search(text)
    if strange:
        line, column = _line_and_column(text[: strange.start()])
        message = f"the character U+{ord(strange.group()):04X} cannot stand in YAML"
        return Parsed(None, (Place(file, line, column).problem("", message),))
    builder = _Builder(file)
    try:
        builder.build(yaml.parse(text, Loader=_LOADER))
    except yaml.YAMLError as error:
        return Parsed(None, (*builder.problems, _syntax_problem(text, file, error)))
    except _FatalError as fatal:
        return Parsed(None, (*builder.problems, fatal.problem))
    root = builder.root or Node(None, Place(file, 1, 1))
    return Parsed(root, tuple(builder.problems))


class _FatalError(Exception):
    """The rest of the document cannot be read."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


class _Open:
    """A mapping or list whose end has not come yet."""

    def __init__(self, place: Place, anchor: str | None, *, is_mapping: bool) -> None:
        self.place, self.anchor, self.is_mapping = place, anchor, is_mapping
        self.items: list[Node] = []
        self.entries: dict[str, Node] = {}
        self.merged: list[Node] = []
        self.awaited: Node | None = None  # the key whose value comes next


class _Builder:
    """Folds events into nodes."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.root: Node | None = None
        self.problems: list[Problem] = []
        self._stack: list[_Open] = []
        self._anchors: dict[str, Node | None] = {}  # None: still open
        self._size = 0

    def build(self, events: Iterator[Any]) -> None:
        documents = 0
        for event in events:
            place = Place(self.file, event.start_mark.line + 1, event.start_mark.column + 1)
            match event:
                case yaml.DocumentStartEvent():
                    documents += 1
                    if documents > 1:
                        message = "a second document begins here"
                        self._fail(place, message, "a file holds one sweep: split it")
                case yaml.AliasEvent():
                    self._add(self._aliased(event.anchor, place))
                case yaml.ScalarEvent():
                    self._add(self._scalar(event, place), event.anchor)
                case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                    self._open(event, place)
                case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                    self._close()
                case _:
                    pass

    def _fail(self, place: Place, message: str, hint: str = "") -> None:
        raise _FatalError(place.problem("", message, hint))

    def _complain(self, place: Place, message: str, hint: str = "", key: str = "") -> None:
        self.problems.append(place.problem(key or self._path(), message, hint))

    def _path(self) -> str:
        return ".".join(o.awaited.text for o in self._stack if o.awaited is not None)

    def _open(self, event: Any, place: Place) -> None:
        is_mapping = isinstance(event, yaml.MappingStartEvent)
        if event.tag not in (None, "!", f"{_CORE}{'map' if is_mapping else 'seq'}"):
            self._refuse_tag(event.tag, place)
        if len(self._stack) >= MAX_DEPTH:
            self._fail(place, f"is nested more than {MAX_DEPTH} levels deep")
        if event.anchor:
            self._anchors[event.anchor] = None
        self._stack.append(_Open(place, event.anchor, is_mapping=is_mapping))

    def _close(self) -> None:
        done = self._stack.pop()
        value: Any = tuple(done.items)
        if done.is_mapping:
            merged: dict[str, Node] = {}
            for node in reversed(done.merged):
                merged |= node.entries
            value = {**merged, **done.entries}
        inside = value.values() if done.is_mapping else value
        size = 1 + sum(node.size for node in inside)
        self._add(Node(value, done.place, size=size), done.anchor)

    def _aliased(self, anchor: Any, place: Place) -> Node:
        node = self._anchors.get(anchor)
        if node is None:
            if anchor in self._anchors:
                self._fail(place, f"*{shown(anchor)} stands inside of what it names")
            self._complain(place, f"*{shown(anchor)} names nothing", f"no &{shown(anchor)} above")
            node = Node(None, place)
        self._size += node.size - 1
        return node

    def _add(self, node: Node, anchor: str | None = None) -> None:
        if anchor:
            self._anchors[anchor] = node
        self._size += 1
        if self._size > MAX_NODES:
            self._fail(node.place, f"holds more than {MAX_NODES} values, aliases expanded")
        if not self._stack:
            self.root = node
            return
        parent = self._stack[-1]
        if not parent.is_mapping:
            parent.items.append(node)
        elif parent.awaited is None:
            parent.awaited = self._as_key(node)
        else:
            key = parent.awaited
            self._set(parent, key, replace(node, key=key.place))
            parent.awaited = None

    def _as_key(self, node: Node) -> Node:
        if isinstance(node.value, dict | tuple):
            self._complain(node.place, "a key must be text, this is a list or mapping")
            return replace(node, text="?")
        return node

    def _set(self, parent: _Open, key: Node, node: Node) -> None:
        if key.text == "<<" and key.value == "<<":
            sources = node.items if node.is_list else (node,)
            if all(source.is_mapping for source in sources):
                parent.merged.extend(sources)
            else:
                self._complain(node.place, "`<<` merges mappings only, this is something else")
        elif key.text in parent.entries:
            first = parent.entries[key.text].key_place.line
            self._complain(key.place, f"stands twice, first in line {first}", "keep one of them")
        else:
            parent.entries[key.text] = node

    def _scalar(self, event: Any, place: Place) -> Node:
        text: str = event.value
        tag = event.tag
        if tag is None and event.implicit[0]:
            return Node(self._resolved(text, place), place, text=text)
        if tag in (None, "!", f"{_CORE}str"):
            return Node(text, place, text=text)
        pattern = yamlcore.BY_TAG.get(tag.removeprefix(_CORE))
        if pattern is None:
            self._refuse_tag(tag, place)
            return Node(text, place, text=text)
        if not pattern.fullmatch(text):
            self._complain(place, f"{shown(text)!r} does not fit its tag !!{tag.rsplit(':')[-1]}")
            return Node(text, place, text=text)
        value = self._resolved(text, place)
        return Node(float(value) if tag.endswith(":float") else value, place, text=text)

    def _refuse_tag(self, tag: str, place: Place) -> None:
        name = tag.replace(_CORE, "!!")
        self._complain(place, f"the tag {shown(name)} is not allowed", "write a plain value")

    def _resolved(self, text: str, place: Place) -> Any:
        try:
            return yamlcore.resolved(text)
        except yamlcore.UnfitNumberError as error:
            self._complain(place, f"{shown(text, 30)} {error}")
            return 0


def _line_and_column(before: str) -> tuple[int, int]:
    lines = _LINE_BREAK.split(before.removeprefix("\ufeff"))
    return len(lines), len(lines[-1]) + 1


_PLAIN_WORDS = (
    ("'\\t'", "a tab cannot indent YAML", "use spaces"),
    ("mapping values are not allowed", "a `:` makes no key here", "quote text that holds `: `"),
    ("could not find expected ':'", "expected `key: value`", "is a `:` missing?"),
    ("expected ',' or ']'", "a list is not closed", "add `]`, or a `,` between its values"),
    ("expected ',' or '}'", "a mapping is not closed", "add `}`, or a `,` between its keys"),
    ("unexpected end of stream", "quoted text is not closed", "add the missing quote"),
    ("expected <block end>", "does not fit the lines above", "look at the indentation and quotes"),
    ("expected the node content", "a value is missing", "or a bracket is not closed"),
    ("cannot start any token", "a value cannot begin with this character", "quote the text"),
)  # fmt: skip


def _syntax_problem(text: str, file: Path, error: yaml.YAMLError) -> Problem:
    """Tell a syntax error in the words of the pure parser, whichever parser found it."""
    try:
        for _ in yaml.parse(text, Loader=yaml.SafeLoader):
            pass
    except yaml.YAMLError as pure:
        error = pure
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    said = str(getattr(error, "problem", None) or "cannot be read")
    place = Place(file, mark.line + 1, mark.column + 1) if mark else Place(file, 1, 1)
    opened = getattr(error, "context_mark", None)
    for sign, message, hint in _PLAIN_WORDS:
        if sign in said:
            is_open = opened is not None and "not closed" in message
            since = f"; it begins in line {opened.line + 1}" if opened and is_open else ""
            return place.problem("", message + since, hint)
    return place.problem("", shown(said, 120))
