"""A sweep as a picture in the terminal: score against cost, and the best score so far.

Drawn by plotext in characters that need no colour: · a trial, ◆ on the Pareto front, ★ the best.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from launcher.pages import formats
from launcher.pages.status import Document

Points = Sequence[tuple[float, float]]

HEIGHT = 16
MAX_WIDTH = 72  # of one plot: wider ones say no more
SIDE_BY_SIDE = 108
MIN_WIDTH = 30
MAX_POINTS = 1000
"""There are about as many places for a mark; more points cost time and show nothing."""
LOG_RATIO = 30.0
"""Costs that differ by more are drawn on a log axis."""


@dataclass(frozen=True, slots=True)
class Picture:
    """Both plots, side by side where there is room; nothing before two trials have a score."""

    document: Document

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw, or say the same as a table where that is impossible."""
        document = self.document
        if document["counts"]["succeeded"] < 2:
            return
        width = options.max_width
        if width < MIN_WIDTH or not _can_draw():
            yield _as_table(document)
            return
        is_wide = width >= SIDE_BY_SIDE
        each = min(MAX_WIDTH, (width - 2) // 2 if is_wide else width)
        plots = [pareto(document, each), best_so_far(document, each)]
        plots = [plot for plot in plots if plot is not None]
        if is_wide:
            grid = Table.grid(padding=(0, 2, 0, 0))
            grid.add_row(*[_styled(plot) for plot in plots if plot is not None])
            yield grid
        else:
            for plot in plots:
                yield _styled(plot or "")
        yield Text("· trial   ◆ Pareto front   ★ best   ━ best so far", style="dim")


def pareto(document: Document, width: int, height: int = HEIGHT) -> str | None:
    """Return score against cost as lines of text; None when no trial's cost is known."""
    known = [t for t in document["trials"] if _has_point(t)]
    front = [point for point in document["pareto_front"] if _has_point(point)]
    if not known:
        return None
    costs = [trial["cost_seconds"] for trial in known]
    is_log = min(costs) > 0 and max(costs) / min(costs) > LOG_RATIO
    marks = {
        "·": [(t["cost_seconds"], t["score"]) for t in _thin(known)],
        "◆": [(point["cost_seconds"], point["score"]) for point in front],
        "★": [(p["cost_seconds"], p["score"]) for p in [document["best"]] if p in front],
    }
    metric = formats.printable(document["metric"])
    return _draw(marks, f"{metric} against cost in seconds", width, height, is_log=is_log)


def best_so_far(document: Document, width: int, height: int = HEIGHT) -> str | None:
    """Return the scores in the order in which trials ended, and the best until then, as text."""
    ended = sorted(
        (trial for trial in document["trials"] if trial["score"] is not None),
        key=lambda trial: (trial["ended_at"], trial["number"]),
    )
    if not ended:
        return None
    scores = [trial["score"] for trial in ended]
    curve = running_best(scores, document["goal"])
    steps = [min(len(curve) - 1, i * len(curve) // width) for i in range(width)]
    marks = {
        "━": [(i / width * len(curve) + 1, curve[step]) for i, step in enumerate(steps)],
        "·": _thin([(index + 1, score) for index, score in enumerate(scores)]),
        "★": [
            (index + 1, trial["score"])
            for index, trial in enumerate(ended)
            if document["best"] is not None and trial["number"] == document["best"]["number"]
        ],
    }
    title = f"{formats.printable(document['metric'])} by trial"
    return _draw(marks, title, width, height, is_whole=True)


def running_best(scores: Sequence[float], goal: str) -> list[float]:
    """Return for each score the best one until then."""
    better = max if goal == "maximize" else min
    best: list[float] = []
    for score in scores:
        best.append(better(best[-1], score) if best else score)
    return best


def _draw(
    marks: dict[str, Any],
    title: str,
    width: int,
    height: int,
    *,
    is_log: bool = False,
    is_whole: bool = False,
) -> str:
    """Draw the marks, later ones over earlier ones."""
    import plotext

    known = [point for points in marks.values() for point in points]
    across = _Scale.of([x for x, _ in known], is_log=is_log, is_whole=is_whole)
    up = _Scale.of([y for _, y in known])
    figure = plotext.figure.clear()
    figure.plot_size(width, height)
    for mark, points in marks.items():
        if points:
            xs, ys = [across(x) for x, _ in points], [up(y) for _, y in points]
            figure.draw(figure.signal(xs, ys, marker=mark))
    for axis, scale in (("x", across), ("y", up)):
        figure.ruler(axis).lim(0, 1)
        ticks = scale.ticks
        figure.ruler(axis).ticks([scale(t) for t in ticks], [formats.number(t, 3) for t in ticks])
    figure.title(title)
    text: str = figure.build().string(colorless=True)
    figure.clear()
    return text


@dataclass(frozen=True, slots=True)
class _Scale:
    """Where a number stands between 0 and 1; halves keep the largest floats from overflowing."""

    low: float
    high: float
    is_log: bool
    is_whole: bool  # only whole numbers are ticks

    @classmethod
    def of(
        cls, values: Sequence[float], *, is_log: bool = False, is_whole: bool = False
    ) -> "_Scale":
        return cls(min(values), max(values), is_log, is_whole)

    def __call__(self, value: float) -> float:
        if self.low == self.high:
            return 0.5
        low, high = self._half(self.low), self._half(self.high)
        return (self._half(value) - low) / (high - low) if high > low else 0.5

    def _half(self, value: float) -> float:
        return math.log(value) if self.is_log else value / 2

    @property
    def ticks(self) -> list[float]:
        """Evenly spaced places: whole numbers where the range is wide enough."""
        if self.low == self.high:
            return [self.low]
        steps = [step / (TICKS - 1) for step in range(TICKS)]
        if self.is_log:
            low, high = math.log(self.low), math.log(self.high)
            inner = [math.exp(low + (high - low) * step) for step in steps[1:-1]]
            return [self.low, *inner, self.high]
        ticks = [self.low * (1 - step) + self.high * step for step in steps]
        is_wide = self.high / 2 - self.low / 2 >= TICKS
        return sorted({float(round(t)) for t in ticks}) if is_wide or self.is_whole else ticks


TICKS = 5


def _can_draw() -> bool:
    try:
        import plotext  # noqa: F401  asked only whether it is there
    except ImportError:
        return False
    return True


def _has_point(trial: dict[str, Any]) -> bool:
    score, cost = trial["score"], trial["cost_seconds"]
    return score is not None and cost is not None and math.isfinite(score) and math.isfinite(cost)


def _thin(items: list[Any]) -> list[Any]:
    """Return every n-th so that not too many are left."""
    return items[:: math.ceil(len(items) / MAX_POINTS)] if items else items


def _styled(plot: str) -> Text:
    text = Text(plot.rstrip("\n"), no_wrap=True, overflow="crop")
    text.highlight_regex(r"[◆]", "cyan")
    text.highlight_regex(r"[★]", "bold green")
    text.highlight_regex(r"[━]", "cyan")
    text.highlight_regex(r"[·]", "dim")
    return text


def _as_table(document: Document) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for header in ("cost", formats.printable(document["metric"])):
        table.add_column(header, justify="right")
    for point in document["pareto_front"]:
        table.add_row(formats.duration(point["cost_seconds"]), formats.number(point["score"]))
    return table
