"""YAML as a tree that remembers where everything stands, with the scalars of YAML 1.2.

PyYAML follows YAML 1.1, in which `1e-5` is a string and `on` is true; a hyperparameter must not
depend on that, so plain scalars are read by the core schema of YAML 1.2 (section 10.3.2).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from trainer.errors import ConfigError, Problem

Scalar = None | bool | int | float | str

_INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_WORDS: dict[str, Scalar] = {
    "": None,
    "~": None,
    **dict.fromkeys(("null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), float("inf")),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), float("-inf")),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
}


@dataclass(frozen=True, slots=True)
class Leaf:
    """A value under a dotted key, and where its key stands."""

    key: str
    value: "Scalar | list[Scalar] | dict[str, Scalar]"
    where: str


def read_scalar(text: str) -> Scalar:
    """What a plain scalar means in YAML 1.2."""
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text, 0) if text[:2] in ("0o", "0x") else int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    return text


def read_file(path: Path) -> list[Leaf]:
    """All leaves of a YAML file, nested or dotted, in its order. Raises ConfigError."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else str(path)
        raise ConfigError(f"{where}: is not YAML: {error.problem or error.context}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: is not YAML: {error}") from error
    except RecursionError as error:
        raise ConfigError(f"{path}: nests too deeply") from error
    if root is None:
        return []
    if not isinstance(root, yaml.MappingNode):
        raise ConfigError(f"{path}:1:1: a config is a mapping of names to values")
    try:
        return list(_leaves(root, "", str(path)))
    except RecursionError as error:
        raise ConfigError(f"{path}: an alias stands within its own anchor") from error


def read_override(text: str) -> Leaf:
    """`key=value` from the command line; `+key=value` and `++key=value` mean the same."""
    key, equals, value = text.lstrip("+").partition("=")
    if not equals or not key:
        raise ConfigError(f"{text}: an override is written key=value")
    try:
        node = yaml.compose(value, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise ConfigError(f"{text}: the value is not YAML") from error
    return Leaf(key, None if node is None else _plain(node), text)


def _leaves(node: yaml.MappingNode, prefix: str, file: str) -> Iterator[Leaf]:
    seen: set[str] = set()
    for key_node, value_node in node.value:
        key = f"{prefix}{key_node.value}"
        mark = key_node.start_mark
        where = f"{file}:{mark.line + 1}:{mark.column + 1}"
        if key in seen:
            raise ConfigError.of([Problem(where, key, "stands here a second time")])
        seen.add(key)
        if isinstance(value_node, yaml.MappingNode) and value_node.value:
            yield from _leaves(value_node, f"{key}.", file)
        else:
            yield Leaf(key, _plain(value_node), where)


def _plain(node: yaml.Node) -> "Scalar | list[Scalar] | dict[str, Scalar]":
    if isinstance(node, yaml.MappingNode):
        return {str(key.value): _scalar(value) for key, value in node.value}
    if isinstance(node, yaml.SequenceNode):
        return [_scalar(item) for item in node.value]
    return _scalar(node)


def _scalar(node: yaml.Node) -> Scalar:
    if not isinstance(node, yaml.ScalarNode):
        mark = node.start_mark
        raise ConfigError(f"line {mark.line + 1}: lists and mappings nest no further here")
    return read_scalar(node.value) if node.style is None else str(node.value)
