"""Parallel coordinates: each trial a line through its parameters to its score."""

import math
from dataclasses import dataclass
from html import escape
from typing import Any

from launcher.pages import formats
from launcher.pages.figures.axes import is_log
from launcher.pages.figures.figure import Figure, Trials, how_many_drawn, sample, shortened
from launcher.pages.figures.marks import has_value, hover_words, scored, scores_of
from launcher.pages.status import Document

MAX_LINES = 400
"""Trials drawn in the parallel coordinates."""


def parallel(document: Document) -> Figure | None:
    """Each trial as a line through its parameters to its score; None for fewer than two."""
    known = scored(document)
    names = [name for name in document["parameters"] if any(has_value(t, name) for t in known)]
    if len(known) < 2 or not names:
        return None
    best_first = sorted(known, key=lambda t: t["score"], reverse=document["goal"] == "maximize")
    drawn = sample(best_first, MAX_LINES)
    axes = [_Axis.of(name, document["parameters"][name], known) for name in names]
    axes.append(_Axis.of_scores(document["metric"], known))
    traces = []
    begin = 0
    for label, share, color, dash, width in reversed(_GROUPS):
        end = math.ceil(len(drawn) * share)
        group, begin = drawn[begin:end], max(begin, end)
        if group:
            traces.append(_lines(group, document, axes, (label, color, dash, width)))
    positions = list(range(len(axes)))
    return Figure(
        "parallel",
        "Parameters together",
        "A line is a trial, from its parameters to its score. Click the legend to hide a group."
        + how_many_drawn(drawn, known),
        f"Parallel coordinates of {formats.plural(len(drawn), 'trial')} over"
        f" {', '.join(names)} and {document['metric']}.",
        list(reversed(traces)),
        {
            "xaxis": {
                "tickvals": positions,
                "ticktext": [escape(axis.label) for axis in axes],
                "range": [-0.15, len(axes) - 0.85],
                "showgrid": True,
                "side": "top",
            },
            "yaxis": {"visible": False, "range": [-0.08, 1.06]},
            "annotations": [
                {
                    "x": position,
                    "y": height,
                    "text": escape(text),
                    "showarrow": False,
                    "xshift": 4,
                    "xanchor": "left",
                    "bgcolor": "--page-veil",
                    "font": {"size": 10, "color": "--muted"},
                }
                for position, axis in enumerate(axes)
                for height, text in axis.ticks
            ],
            "margin": {"l": 44, "r": 44, "t": 12, "b": 8},
            "legend": {"y": -0.02, "yanchor": "top", "traceorder": "reversed"},
        },
        height=460,
        min_width=100 * len(axes),
    )


_GROUPS = (
    ("the rest", 1.0, "--rank-4", "dot", 1.0),
    ("best half", 0.5, "--rank-3", "dash", 1.2),
    ("best quarter", 0.25, "--rank-2", "solid", 1.6),
    ("best tenth", 0.1, "--rank-1", "solid", 2.6),
)


@dataclass(frozen=True, slots=True)
class _Axis:
    """One upright axis of the parallel coordinates: where values stand between 0 and 1."""

    name: str | None  # None: the score
    label: str
    low: float = 0.0
    high: float = 1.0
    is_log: bool = False
    values: tuple[Any, ...] = ()

    @classmethod
    def of(cls, name: str, spec: dict[str, Any], trials: Trials) -> "_Axis":
        label = name.rsplit(".", 1)[-1]
        if "values" in spec:
            return cls(name, label, values=tuple(spec["values"]))
        present = [t["params"][name] for t in trials if has_value(t, name)]
        numbers = [v for v in present if isinstance(v, int | float) and math.isfinite(v)]
        low = min([spec["min"], *numbers])
        high = max([spec["max"], *numbers])
        return cls(name, label, low, high, is_log=is_log(spec) and low > 0)

    @classmethod
    def of_scores(cls, metric: str, trials: Trials) -> "_Axis":
        return cls(None, metric, min(scores_of(trials)), max(scores_of(trials)))

    def place(self, value: Any) -> float | None:
        """Return where the value stands; None if nowhere."""
        if self.values:
            if value not in self.values:
                return None
            return (self.values.index(value) + 0.5) / len(self.values)
        if not isinstance(value, int | float) or not math.isfinite(value):
            return None
        if self.low == self.high:
            return 0.5
        if self.is_log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value / 2 - self.low / 2) / (self.high / 2 - self.low / 2)

    @property
    def ticks(self) -> list[tuple[float, str]]:
        if self.values:
            count = len(self.values)
            shown = self.values if count <= 12 else ()
            return [
                ((i + 0.5) / count, shortened(formats.value(v), 20)) for i, v in enumerate(shown)
            ]
        if self.low == self.high:
            return [(0.5, formats.number(self.low))]
        return [(0.0, formats.number(self.low)), (1.0, formats.number(self.high))]


def _lines(
    trials: Trials, document: Document, axes: list[_Axis], style: tuple[str, str, str, float]
) -> dict[str, Any]:
    label, color, dash, width = style
    x: list[int | None] = []
    y: list[float | None] = []
    hover: list[str | None] = []
    for trial in trials:
        for position, axis in enumerate(axes):
            value = trial["score"] if axis.name is None else trial["params"].get(axis.name)
            x.append(position)
            y.append(axis.place(value))
            hover.append(hover_words(trial, document) if axis.name is None else None)
        x.append(None)
        y.append(None)
        hover.append(None)
    return {
        "type": "scatter",
        "mode": "lines",
        "name": label,
        "x": x,
        "y": y,
        "hovertext": hover,
        "hovertemplate": "%{hovertext}<extra></extra>",
        "line": {"color": color, "width": width, "dash": dash},
        "opacity": 0.8,
    }
