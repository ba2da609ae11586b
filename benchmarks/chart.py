"""Lines with a band around each, side by side, as SVG: the pictures of the documents."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

COLOURS = ("#c2410c", "#475569", "#0369a1", "#15803d", "#7e22ce", "#a16207")


@dataclass(frozen=True)
class Line:
    name: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]


@dataclass(frozen=True)
class Panel:
    x_name: str
    y_name: str
    lines: Sequence[Line]
    is_log: bool = False


def draw(file: Path, title: str, panels: Sequence[Panel]) -> None:
    """Draw panels from left to right; text stays text, and the same lines are the same file."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    look = {
        "svg.fonttype": "none",
        "svg.hashsalt": title,
        "font.family": "sans-serif",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.color": "#e2e8f0",
        "legend.frameon": False,
    }
    with mpl.rc_context(look):
        figure = Figure(figsize=(1 + 5 * len(panels), 4.2), layout="constrained")
        figure.suptitle(title, fontweight="bold", fontsize="medium")
        for axes, panel in zip(
            figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True
        ):
            for line, colour in zip(panel.lines, itertools.cycle(COLOURS), strict=False):
                axes.fill_between(line.x, line.low, line.high, color=colour, alpha=0.13, lw=0)
                axes.plot(line.x, line.y, color=colour, label=line.name)
            axes.set(
                xlabel=panel.x_name, ylabel=panel.y_name, yscale="log" if panel.is_log else "linear"
            )
            axes.legend()
        figure.savefig(file, metadata={"Date": None})
