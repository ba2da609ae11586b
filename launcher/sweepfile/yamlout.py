"""Writes YAML that readers of YAML 1.1 and 1.2 read back the same."""

import re
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
    return yaml.dump(
        value,
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=True,
        default_flow_style=False,
        width=10_000,
    )
