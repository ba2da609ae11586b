"""When each attempt ran, as bars."""

from collections.abc import Sequence
from html import escape
from typing import Any

from launcher.events import Failure
from launcher.pages import formats
from launcher.pages.figures.figure import MAX_POINTS, Figure
from launcher.pages.status import Document

MAX_LABELLED = 300
"""Bars that still have room for a number."""


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
