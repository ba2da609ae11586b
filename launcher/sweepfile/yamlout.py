"""Writes YAML that readers of YAML 1.1 and 1.2 read back the same."""

import re
from collections.abc import Iterator
from functools import lru_cache
from math import isfinite
from typing import Any

import yaml

from launcher.sweepfile.yamlcore import FLOAT

_CORE = "tag:yaml.org,2002:"


_Emitter: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)  # libyaml's is ten times faster


class _Dumper(_Emitter):  # type: ignore[misc]  # which of the two is known at run time only
    """Quotes whatever YAML 1.1 or YAML 1.2 would not read as text."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - PyYAML's signature
        return True


def _represent_str(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    lines = text.split("\n")
    is_block = len(lines) > 1 and lines[0] and all(line == line.strip() for line in lines)
    printable = all(c.isprintable() or c == "\n" for c in text)
    style = "|" if is_block and printable else None
    return dumper.represent_scalar(f"{_CORE}str", text, style=style)


_Dumper.add_representer(str, _represent_str)
_Dumper.add_implicit_resolver(
    f"{_CORE}float", re.compile(f"(?:{FLOAT.pattern})$"), list("-+0123456789.")
)
_Dumper.add_implicit_resolver(f"{_CORE}int", re.compile("0o[0-7]+$"), ["0"])


def dump(value: Any) -> str:
    """Write dicts, lists and scalars as YAML in the given order.

    YAML 1.1 and 1.2 readers both read the same value back, floats to the last bit.
    """
    try:
        if value and type(value) in (dict, list):
            return "\n".join((*_lines(value), ""))
    except _NotPlainError:
        pass
    return _dump(value)


def _dump(value: Any) -> str:
    return yaml.dump(
        value,
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=True,
        default_flow_style=False,
        width=10_000,
    )


# --- the same, seven times as fast, for what trials' files hold: short texts and numbers ---------


class _NotPlainError(Exception):
    """A value that PyYAML has to write."""


def _lines(value: Any) -> Iterator[str]:
    """Yield the lines of a dict or list that is not empty."""
    if type(value) is list:
        for item in value:
            first, *rest = _lines(item) if item and type(item) in (dict, list) else (_scalar(item),)
            yield f"- {first}"
            yield from (f"  {line}" for line in rest)
        return
    for key, item in value.items():
        if type(key) is not str:
            raise _NotPlainError
        name = _text(key, True)
        if item and type(item) is dict:
            yield f"{name}:"
            yield from (f"  {line}" for line in _lines(item))
        elif item and type(item) is list:
            yield f"{name}:"
            yield from _lines(item)
        else:
            yield f"{name}: {_scalar(item)}"


def _scalar(value: Any) -> str:
    kind = type(value)
    if kind is str:
        return _text(value, False)
    if kind is float and isfinite(value):
        text = repr(value)
        return text.replace("e", ".0e", 1) if "e" in text and "." not in text else text
    if kind is int:
        return repr(value)
    if kind is bool or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if kind in (dict, list):
        return "{}" if kind is dict else "[]"
    raise _NotPlainError


@lru_cache(maxsize=4096)
def _text(text: str, is_key: bool) -> str:
    """Return a text as PyYAML writes it: whether it needs quotes is for it to know."""
    if len(text) > LONGEST_PLAIN or not text.isprintable():
        raise _NotPlainError
    return _dump({text: 0})[:-4] if is_key else _dump([text])[2:-1]


LONGEST_PLAIN = 100
"""PyYAML writes longer keys and texts over several lines."""
