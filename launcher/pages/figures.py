"""The report's plots as Plotly figures: plain mappings made of the status document.

Text from outside is escaped, since Plotly reads tags in it. Colours are names of CSS variables
("--best"), which the page resolves, so that light and dark need no second figure. Everything that
a colour says, a shape, a dash or a pattern says too. Every figure is SVG: it needs no WebGL.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from launcher.events import Failure
from launcher.pages import formats
from launcher.pages.picture import LOG_RATIO, running_best
from launcher.pages.status import Document

Trials = list[dict[str, Any]]

MAX_POINTS = 2000
"""Trials drawn in one plot. More are slow in a browser and look the same."""
MAX_LABELLED = 300
"""Bars that still have room for a number."""
CROWD = 500
"""From so many marks on they are small and faint, so that dense places show."""
MAX_BARS = 20
"""Parameters among which importance is shown."""
MAX_LINES = 400
"""Trials drawn in the parallel coordinates."""


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


def scored(document: Document) -> Trials:
    """Return the trials that have a score, by number."""
    return [trial for trial in document["trials"] if trial["score"] is not None]


def failed(document: Document) -> Trials:
    """Return the trials that failed, by number."""
    return [trial for trial in document["trials"] if trial["state"] == "failed"]


def pareto(document: Document) -> Figure | None:
    """Score against cost; None before a trial has both."""
    metric = document["metric"]
    known = [trial for trial in scored(document) if trial["cost_seconds"] is not None]
    if not known:
        return None
    front = [point for point in document["pareto_front"] if point["cost_seconds"] is not None]
    by_number = {trial["number"]: trial for trial in known}
    on_front = [by_number[point["number"]] for point in front]
    others = [t for t in known if t["number"] not in {point["number"] for point in front}]
    best = on_front[-1:]
    rest = on_front[:-1]
    drawn = sample(others, MAX_POINTS)
    return Figure(
        "pareto",
        f"{metric} against cost",
        "No trial does better than those on the line for the same time or less."
        + _drawn(drawn, others),
        _pareto_summary(known, on_front),
        [
            _marks(drawn, document, "trial", _TRIAL, x=_costs(drawn), y=_scores(drawn)),
            {
                "type": "scatter",
                "mode": "lines",
                "name": "Pareto front",
                "x": _costs(on_front),
                "y": _scores(on_front),
                "line": {"color": "--front", "width": 1.5, "shape": "hv"},
                "hoverinfo": "skip",
                "showlegend": False,
            },
            _marks(rest, document, "Pareto front", _FRONT, x=_costs(rest), y=_scores(rest)),
            _marks(best, document, "best", _BEST, x=_costs(best), y=_scores(best)),
        ],
        {
            "xaxis": {"title": {"text": "cost in seconds"}, **_log_if_wide(_costs(known))},
            "yaxis": {"title": {"text": escape(metric)}},
        },
    )


def importance(document: Document) -> Figure | None:
    """How much each parameter matters; None where nobody worked it out, or too few trials scored.

    `document["importance"]` holds parameter, mean and sd, the greatest first.
    """
    shares = document.get("importance") or []
    if not shares:
        return None
    shown = list(reversed(shares[:MAX_BARS]))
    words = [f"{one['parameter']} {100 * one['mean']:.0f} %" for one in shares[:3]]
    return Figure(
        "importance",
        "Which parameters matter",
        "Share of the score's variation that goes when a parameter is known, others known before"
        " it. The lines tell how sure that is.",
        f"Most important: {', '.join(words)}.",
        [
            {
                "type": "bar",
                "orientation": "h",
                "x": [min(1.0, one["mean"]) for one in shown],
                "y": [escape(_cut(one["parameter"])) for one in shown],
                "error_x": {"type": "data", "array": [one["sd"] for one in shown]},
                "marker": {"color": "--trial"},
                "hovertemplate": "%{y}: %{x:.0%}<extra></extra>",
                "showlegend": False,
            }
        ],
        {
            "xaxis": {"tickformat": ".0%", "rangemode": "tozero"},
            "yaxis": {"automargin": True},
        },
        height=140 + 30 * len(shown),
    )


def history(document: Document) -> Figure | None:
    """Scores in the order of suggestion, with the best so far; None before a trial is over."""
    metric = document["metric"]
    known, broken = scored(document), failed(document)
    if not known and not broken:
        return None
    curve = running_best(_scores(known), document["goal"])
    best = [trial for trial in known if trial["number"] == _best_number(document)]
    drawn, drawn_broken = sample(known, MAX_POINTS), sample(broken, MAX_POINTS)
    floor = _floor(_scores(known))
    return Figure(
        "history",
        f"{metric} by trial",
        "The line is the best score so far; a cross at the foot is a failed trial."
        + _drawn(drawn, known),
        f"{formats.plural(len(known), 'trial')} with a score and {len(broken)} failed, by number."
        + _best_words(document),
        [
            {
                "type": "scatter",
                "mode": "lines",
                "name": "best so far",
                **_corners([trial["number"] for trial in known], curve),
                "line": {"color": "--front", "width": 1.5, "shape": "hv"},
                "hoverinfo": "skip",
            },
            _marks(drawn, document, "trial", _TRIAL, x=_numbers(drawn), y=_scores(drawn)),
            _marks(best, document, "best", _BEST, x=_numbers(best), y=_scores(best)),
            _marks(
                drawn_broken,
                document,
                "failed",
                _FAILED,
                x=_numbers(drawn_broken),
                y=[floor] * len(drawn_broken),
            ),
        ],
        {
            "xaxis": {
                "title": {"text": "trial"},
                "rangemode": "tozero",
                **({"dtick": 1} if len(known) + len(broken) <= 12 else {}),
            },
            "yaxis": _score_axis(metric, known),
        },
    )


def slices(document: Document) -> list[Figure]:
    """Score against the value of each tuned parameter that any trial has."""
    known, broken = scored(document), failed(document)
    floor = _floor(_scores(known))
    figures = []
    for index, (name, spec) in enumerate(document["parameters"].items()):
        shown = [trial for trial in sample(known, MAX_POINTS // 2) if _has(trial, name)]
        crosses = [trial for trial in sample(broken, MAX_POINTS // 4) if _has(trial, name)]
        best = [t for t in known if t["number"] == _best_number(document) and _has(t, name)]
        if not shown and not crosses:
            continue
        figures.append(
            Figure(
                f"slice-{index}",
                name,
                "",
                f"{document['metric']} against {name}."
                + (
                    f" The best trial has {formats.value(best[0]['params'][name])}." if best else ""
                ),
                [
                    _marks(shown, document, "trial", _TRIAL, x=_of(shown, name), y=_scores(shown)),
                    _marks(best, document, "best", _BEST, x=_of(best, name), y=_scores(best)),
                    _marks(
                        crosses,
                        document,
                        "failed",
                        _FAILED,
                        x=_of(crosses, name),
                        y=[floor] * len(crosses),
                    ),
                ],
                {
                    "xaxis": _axis_of(spec, [t["params"][name] for t in shown + crosses]),
                    "yaxis": _score_axis(document["metric"], known),
                    "showlegend": False,
                },
                height=280,
            )
        )
    return figures


def parallel(document: Document) -> Figure | None:
    """Each trial as a line through its parameters to its score; None for fewer than two."""
    known = scored(document)
    names = [name for name in document["parameters"] if any(_has(t, name) for t in known)]
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
        + _drawn(drawn, known),
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


def timeline(document: Document) -> Figure | None:
    """When each attempt ran, one row for each that ran at the same time; None before the first."""
    attempts = [
        (trial, attempt)
        for trial in document["trials"]
        for attempt in trial["attempts"]
        if attempt["started_at"] is not None
    ]
    if not attempts:
        return None
    drawn = attempts[-MAX_POINTS:]
    drawn.sort(key=lambda pair: pair[1]["started_at"])
    begin = drawn[0][1]["started_at"]
    spans = [
        (a["started_at"], max(a["started_at"], document["time"] if end is None else end))
        for _, a in drawn
        for end in [a["ended_at"]]
    ]
    lanes = _lanes(spans)
    longest = max(end for _, end in spans) - begin
    unit, seconds = _unit(longest)
    is_sparse = len(drawn) <= MAX_LABELLED
    traces = []
    for label, color, pattern in _OUTCOMES:
        chosen = [i for i, (_, a) in enumerate(drawn) if _outcome(a) == label]
        if chosen:
            traces.append(
                {
                    "type": "bar",
                    "orientation": "h",
                    "name": label,
                    "x": [(spans[i][1] - spans[i][0]) / seconds for i in chosen],
                    "base": [(spans[i][0] - begin) / seconds for i in chosen],
                    "y": [lanes[i] for i in chosen],
                    "text": [str(drawn[i][0]["number"]) if is_sparse else "" for i in chosen],
                    "textposition": "inside",
                    "insidetextanchor": "middle",
                    "textangle": 0,
                    "insidetextfont": {"color": "--page"},
                    "hovertext": [_attempt_words(*drawn[i]) for i in chosen],
                    "hovertemplate": "%{hovertext}<extra></extra>",
                    "marker": {
                        "color": color,
                        "line": {"color": "--page", "width": 1 if is_sparse else 0},
                        "pattern": {"shape": pattern, "fillmode": "overlay", "fgcolor": "--page"},
                    },
                }
            )
    rows = max(lanes)
    return Figure(
        "timeline",
        "Timeline",
        "A bar is an attempt of a trial; bars above each other ran at the same time."
        + (f" The last {MAX_POINTS:,} attempts are drawn." if len(drawn) < len(attempts) else ""),
        f"{formats.plural(len(attempts), 'attempt')}, up to {rows} at a time,"
        f" over {formats.duration(longest)}.",
        traces,
        {
            "barmode": "overlay",
            "bargap": 0.25,
            "xaxis": {"title": {"text": f"{unit} since the first start"}},
            "yaxis": {
                "title": {"text": "slot"},
                "autorange": "reversed",
                "dtick": max(1, rows // 8),
                "showgrid": False,
            },
            "hovermode": "closest",
        },
        height=min(600, 170 + 34 * rows),
    )


_OUTCOMES = (
    ("succeeded", "--trial", ""),
    ("failed", "--failed", "x"),
    ("ended by the machine", "--front", "/"),
    ("stopped early", "--muted", "\\"),
    ("cancelled", "--muted", "."),
    ("running", "--best", "-"),
)


def _outcome(attempt: dict[str, Any]) -> str:
    if attempt["ended_at"] is None:
        return "running"
    if attempt["failure"] is None:
        return "succeeded"
    failure = Failure(attempt["failure"])
    if failure is Failure.CANCELLED:
        return "cancelled"
    if failure is Failure.STOPPED_EARLY:
        return "stopped early"
    return "ended by the machine" if failure.is_machines_fault else "failed"


def _attempt_words(trial: dict[str, Any], attempt: dict[str, Any]) -> str:
    lines = [f"trial {trial['number']}, attempt {attempt['number']}: {_outcome(attempt)}"]
    if attempt["failure"] is not None:
        lines.append(attempt["failure"].replace("_", " "))
    if attempt["ended_at"] is not None:
        lines.append(formats.duration(max(0.0, attempt["ended_at"] - attempt["started_at"])))
    return "<br>".join(escape(line) for line in lines)


def _lanes(spans: Sequence[tuple[float, float]]) -> list[int]:
    """Return for each span, ordered by begin, the first row from 1 that is free by then."""
    free_at: list[float] = []
    lanes = []
    for begin, end in spans:
        lane = next((i for i, free in enumerate(free_at) if free <= begin), len(free_at))
        if lane == len(free_at):
            free_at.append(end)
        free_at[lane] = end
        lanes.append(lane + 1)
    return lanes


def _unit(seconds: float) -> tuple[str, float]:
    if seconds < 300:
        return "seconds", 1.0
    return ("minutes", 60.0) if seconds < 4 * 3600 else ("hours", 3600.0)


_TRIAL = {"symbol": "circle", "size": 7, "color": "--trial", "opacity": 0.75}
_FRONT = {"symbol": "diamond", "size": 10, "color": "--front"}
_BEST = {"symbol": "star", "size": 16, "color": "--best", "line": {"color": "--page", "width": 1}}
_FAILED = {"symbol": "x-thin", "size": 7, "line": {"color": "--failed", "width": 1.6}}


def _marks(
    trials: Trials,
    document: Document,
    name: str,
    marker: dict[str, Any],
    *,
    x: list[Any],
    y: list[float],
) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": x,
        "y": y,
        "hovertext": [_hover(trial, document) for trial in trials],
        "hovertemplate": "%{hovertext}<extra></extra>",
        "marker": {**marker, "size": 4, "opacity": 0.5} if len(trials) > CROWD else marker,
    }


def _hover(trial: dict[str, Any], document: Document) -> str:
    lines = [f"trial {trial['number']}"]
    if trial["score"] is not None:
        lines.append(f"{document['metric']} {formats.number(trial['score'])}")
    if trial["error"] is not None:
        lines.append(formats.failure(trial["error"]))
    if trial["cost_seconds"] is not None:
        lines.append(f"cost {formats.duration(trial['cost_seconds'])}")
    lines += [
        f"{label} = {formats.value(trial['params'][name])}"
        for name, label in formats.short_names(document["parameters"]).items()
        if name in trial["params"]
    ]
    first, *rest = [escape(_cut(line)) for line in lines]
    return "<br>".join([f"<b>{first}</b>", *rest])


def _cut(text: str, length: int = 60) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


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
        present = [t["params"][name] for t in trials if _has(t, name)]
        numbers = [v for v in present if isinstance(v, int | float) and math.isfinite(v)]
        low = min([spec["min"], *numbers])
        high = max([spec["max"], *numbers])
        return cls(name, label, low, high, is_log=_is_log(spec) and low > 0)

    @classmethod
    def of_scores(cls, metric: str, trials: Trials) -> "_Axis":
        return cls(None, metric, min(_scores(trials)), max(_scores(trials)))

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
            return [((i + 0.5) / count, _cut(formats.value(v), 20)) for i, v in enumerate(shown)]
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
            hover.append(_hover(trial, document) if axis.name is None else None)
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


def sample(trials: list[Any], limit: int) -> list[Any]:
    """Return at most `limit` of them, evenly spread, the first and the last included."""
    if len(trials) <= limit:
        return trials
    return [trials[i * (len(trials) - 1) // (limit - 1)] for i in range(limit)]


def _drawn(drawn: list[Any], all_: list[Any]) -> str:
    return f" {len(drawn):,} of {len(all_):,} are drawn." if len(drawn) < len(all_) else ""


def _pareto_summary(known: Trials, front: Trials) -> str:
    cheapest, best = front[0], front[-1]
    return (
        f"{formats.plural(len(known), 'trial')}; {len(front)} on the Pareto front, from"
        f" {formats.number(cheapest['score'])} at {formats.duration(cheapest['cost_seconds'])} to"
        f" {formats.number(best['score'])} at {formats.duration(best['cost_seconds'])}."
    )


def _best_words(document: Document) -> str:
    best = document["best"]
    if best is None:
        return ""
    return f" The best is {formats.number(best['score'])}, trial {best['number']}."


def _best_number(document: Document) -> int | None:
    return None if document["best"] is None else int(document["best"]["number"])


def _corners(numbers: list[int], curve: list[float]) -> dict[str, Any]:
    """Return only the points where the curve changes, and its end."""
    keep = [i for i, best in enumerate(curve) if i in (0, len(curve) - 1) or best != curve[i - 1]]
    return {"x": [numbers[i] for i in keep], "y": [curve[i] for i in keep]}


def _floor(scores: list[float]) -> float:
    """Return where crosses stand: below all scores."""
    if not scores:
        return 0.0
    low, high = min(scores), max(scores)
    return low - (0.08 * (high / 2 - low / 2) * 2 or abs(low) * 0.08 or 1.0)


def _scores(trials: Trials) -> list[float]:
    return [trial["score"] for trial in trials]


def _costs(trials: Trials) -> list[float]:
    return [trial["cost_seconds"] for trial in trials]


def _numbers(trials: Trials) -> list[int]:
    return [trial["number"] for trial in trials]


def _has(trial: dict[str, Any], name: str) -> bool:
    return trial["params"].get(name) is not None


def _of(trials: Trials, name: str) -> list[Any]:
    values = (trial["params"][name] for trial in trials)
    return [
        escape(_cut(formats.value(v))) if isinstance(v, bool | str) else _finite(v) for v in values
    ]


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _is_log(spec: dict[str, Any]) -> bool:
    return spec["distribution"] in ("log_normal", "uniform_pow2")


def _score_axis(metric: str, known: Trials) -> dict[str, Any]:
    """Return the axis of scores; without numbers where there is no score to read from it."""
    return {"title": {"text": escape(metric)}, "showticklabels": bool(known)}


def _axis_of(spec: dict[str, Any], values: Iterable[Any]) -> dict[str, Any]:
    """Return the axis of a parameter: its whole range, and values beyond it."""
    if "values" in spec:
        names = [escape(_cut(formats.value(value))) for value in spec["values"]]
        return {"type": "category", "categoryorder": "array", "categoryarray": names}
    numbers = [v for v in values if isinstance(v, int | float) and math.isfinite(v)]
    low, high = min([spec["min"], *numbers]), max([spec["max"], *numbers])
    if not _is_log(spec) or low <= 0:
        return {"type": "linear", "range": _padded(low, high)}
    base = 2.0 if spec["distribution"] == "uniform_pow2" else 10.0
    ends = _padded(math.log10(low), math.log10(high))
    return {"type": "log", "range": ends, **_log_ticks(low, high, base)}


def _padded(low: float, high: float) -> list[float]:
    margin = (high / 2 - low / 2) * 2 * 0.06
    return [low - margin, high + margin]


def _log_ticks(low: float, high: float, base: float) -> dict[str, Any]:
    """Return ticks at powers of the base; none of ours where the range has fewer than two."""
    first, last = math.ceil(math.log(low, base) - 1e-9), math.floor(math.log(high, base) + 1e-9)
    if last <= first:
        return {}
    powers = [base**power for power in range(first, last + 1, 1 + (last - first) // 8)]
    return {"tickvals": powers, "ticktext": [_power_words(power) for power in powers]}


def _power_words(power: float) -> str:
    return f"{power:.6g}" if 0.001 <= power < 1e6 else f"{power:.0e}".replace("e-0", "e-")


def _log_if_wide(values: Iterable[float]) -> dict[str, Any]:
    known = list(values)
    is_wide = min(known) > 0 and max(known) / min(known) > LOG_RATIO
    return {"type": "log"} if is_wide else {"type": "linear"}
