"""Trials as marks in a plot: their shapes, and what they say when pointed at."""

from html import escape
from typing import Any

from launcher.pages import formats
from launcher.pages.figures.figure import Trials, shortened
from launcher.pages.status import Document

CROWD = 500
"""From so many marks on they are small and faint, so that dense places show."""

TRIAL = {"symbol": "circle", "size": 7, "color": "--trial", "opacity": 0.75}
FRONT = {"symbol": "diamond", "size": 10, "color": "--front"}
BEST = {"symbol": "star", "size": 16, "color": "--best", "line": {"color": "--page", "width": 1}}
FAILED = {"symbol": "x-thin", "size": 7, "line": {"color": "--failed", "width": 1.6}}


def marks(
    trials: Trials,
    document: Document,
    name: str,
    marker: dict[str, Any],
    *,
    x: list[Any],
    y: list[float],
) -> dict[str, Any]:
    """Return the trace of the trials at x, y; what a mark says names all of its trial."""
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": x,
        "y": y,
        "hovertext": [hover_words(trial, document) for trial in trials],
        "hovertemplate": "%{hovertext}<extra></extra>",
        "marker": {**marker, "size": 4, "opacity": 0.5} if len(trials) > CROWD else marker,
    }


def hover_words(trial: dict[str, Any], document: Document) -> str:
    """Return the lines on a trial, escaped: number, score, failure, cost and parameters."""
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
    first, *rest = [escape(shortened(line)) for line in lines]
    return "<br>".join([f"<b>{first}</b>", *rest])


def scores_of(trials: Trials) -> list[float]:
    """Return the scores of trials that have one."""
    return [trial["score"] for trial in trials]


def has_value(trial: dict[str, Any], name: str) -> bool:
    """Tell whether the trial has the parameter."""
    return trial["params"].get(name) is not None


def scored(document: Document) -> Trials:
    """Return the trials that have a score, by number."""
    return [trial for trial in document["trials"] if trial["score"] is not None]


def failed(document: Document) -> Trials:
    """Return the trials that failed, by number."""
    return [trial for trial in document["trials"] if trial["state"] == "failed"]


def best_number(document: Document) -> int | None:
    """Return the best trial's number; None before a trial has a score."""
    return None if document["best"] is None else int(document["best"]["number"])
