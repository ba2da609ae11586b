"""Plain scalars by the YAML 1.2 core schema: https://yaml.org/spec/1.2.2/#103-core-schema."""

import math
import re

Scalar = str | int | float | bool | None

_NULL = re.compile(r"(?:null|Null|NULL|~|)")
_BOOL = re.compile(r"(?:true|True|TRUE|false|False|FALSE)")
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_INF = re.compile(r"[-+]?\.(?:inf|Inf|INF)")
_NAN = re.compile(r"\.(?:nan|NaN|NAN)")
BY_TAG = {"null": _NULL, "bool": _BOOL, "int": _INT, "float": FLOAT}


class UnfitNumberError(ValueError):
    """A number that no 64-bit integer or float can hold; the message says why."""


def resolved(text: str) -> Scalar:
    """Give what plain text means. Raises UnfitNumberError."""
    if _NULL.fullmatch(text):
        return None
    if _BOOL.fullmatch(text):
        return text.lower() == "true"
    if _INT.fullmatch(text):
        return _integer(text)
    if FLOAT.fullmatch(text):
        return _float(text)
    if _INF.fullmatch(text):
        return -math.inf if text[0] == "-" else math.inf
    return math.nan if _NAN.fullmatch(text) else text


def _integer(text: str) -> int:
    base = 0 if text[:2] in ("0o", "0x") else 10
    is_short = base == 0 or len(text.lstrip("+-0")) <= 19  # Python refuses thousands of digits
    value = int(text, base) if is_short else 2**64
    if not -(2**63) <= value < 2**63:
        raise UnfitNumberError("does not fit into 64 bits")
    return value


def _float(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise UnfitNumberError("is larger than any float")
    mantissa = re.split("[eE]", text)[0]
    if value == 0 and re.search("[1-9]", mantissa):
        raise UnfitNumberError("is smaller than any float")
    return value
