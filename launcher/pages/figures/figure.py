"""What a plot of the report is: a plain mapping for Plotly, with its words.

Text from outside is escaped, since Plotly reads tags in it. Colours are names of CSS variables
("--best"), which the page resolves, so that light and dark need no second figure. Everything that
a colour says, a shape, a dash or a pattern says too. Every figure is SVG: it needs no WebGL.
"""

from dataclasses import dataclass
from typing import Any

Trials = list[dict[str, Any]]

MAX_POINTS = 2000
"""Trials drawn in one plot. More are slow in a browser and look the same."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A plot with its heading, what it shows in a sentence, and the same for those who hear it."""

    key: str
    title: str
    caption: str
    summary: str
    data: list[dict[str, Any]]
    layout: dict[str, Any]
    height: int = 420
    min_width: int = 0


def sample(trials: list[Any], limit: int) -> list[Any]:
    """Return at most `limit` of them, evenly spread, the first and the last included."""
    if len(trials) <= limit:
        return trials
    return [trials[i * (len(trials) - 1) // (limit - 1)] for i in range(limit)]


def how_many_drawn(drawn: list[Any], all_: list[Any]) -> str:
    """Return a sentence on what `sample` left out; "" if nothing."""
    return f" {len(drawn):,} of {len(all_):,} are drawn." if len(drawn) < len(all_) else ""


def shortened(text: str, length: int = 60) -> str:
    """Return at most so many characters."""
    return text if len(text) <= length else text[: length - 1] + "…"
