"""How values are written for people: the same words in the table, the plain lines and the report.

None is always a dash: it means not known or not yet.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

MISSING = "–"


def printable(text: str) -> str:
    """Return text that cannot move the cursor, break a line or ring a bell."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


_ASCII = str.maketrans(dict(zip("○◌●✓✗◁–★◆·━…│┤├┼─┌┐└┘┬┴", "o.>+x<-*#.=~||||-++++++", strict=True)))


def ascii_only(text: str) -> str:
    """Return text for terminals that know nothing else; a sign keeps its width and sense."""
    return text.translate(_ASCII).encode("ascii", "replace").decode("ascii")


def number(value: float | None, digits: int = 4) -> str:
    """Return a number with so many significant digits; large ones keep their whole part."""
    if value is None:
        return MISSING
    if 10**digits <= abs(value) < 1e7:
        return f"{value:,.0f}"
    return f"{value:z.{digits}g}"  # z: no minus before a zero


def value(of: Any) -> str:
    """Return a parameter's value, short."""
    match of:
        case None:
            return MISSING
        case bool():
            return "true" if of else "false"
        case int():
            return str(of)
        case float():
            return number(of)
        case _:
            return printable(str(of))


def duration(seconds: float | None) -> str:
    """Return seconds as people say them: 0.42 s, 6.2 s, 3 min 05 s, 2 h 10 min, 3 d 04 h."""
    if seconds is None:
        return MISSING
    if seconds < 0.9995:
        return f"{seconds:.2g} s"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    if hours < 48:
        return f"{hours} h {minutes:02d} min"
    days, hours = divmod(round(seconds / 3600), 24)
    return f"{days} d {hours:02d} h"


def remaining(seconds: float) -> str:
    """Return an estimate of the time left."""
    return f"about {duration(seconds)} left" if seconds >= 1 else "almost done"


def money(usd: float | None) -> str:
    """Return US dollars, with more digits where they are few."""
    if usd is None:
        return MISSING
    return f"${usd:,.2f}" if usd == 0 or usd >= 0.1 else f"${usd:#.2g}"


def plural(count: int, noun: str) -> str:
    """Return "1 trial", "2 trials"."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def short_names(names: Iterable[str]) -> dict[str, str]:
    """Return for each dotted name the fewest last parts that no other name shares."""
    parts = {name: name.split(".") for name in names}
    short: dict[str, str] = {}
    for length in range(1, max(map(len, parts.values()), default=0) + 1):
        endings = {name: ".".join(split[-length:]) for name, split in parts.items()}
        shared = Counter(endings.values())
        for name, ending in endings.items():
            if shared[ending] == 1:
                short.setdefault(name, ending)
    return {name: printable(short.get(name, name)) for name in parts}


def params(values: Mapping[str, Any], names: Iterable[str]) -> str:
    """Return the named parameters on one line, with short names."""
    short = short_names(names)
    return " ".join(f"{short[name]}={value(values[name])}" for name in short if name in values)


def cause(message: str) -> str:
    """Return what went wrong on one line: its first line, and the last one of the log in it."""
    lines = [printable(line.strip()) for line in message.splitlines() if line.strip()]
    return ": ".join(dict.fromkeys([lines[0], lines[-1]])) if lines else ""


def failure(error: Mapping[str, Any]) -> str:
    """Return a failure's class in words."""
    return str(error["class"]).replace("_", " ")
