"""A sweep as one HTML file that needs nothing else: no network, no server, no account.

Made of the status document alone. Everything from outside (names, values, messages) is escaped in
HTML, in the figures' JSON and in Plotly's own markup; the page forbids itself all requests.
"""

import json
import math
import shlex
from collections import Counter
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

from launcher import __version__
from launcher.errors import ProteinSkyError
from launcher.files import write_atomic
from launcher.pages import figures, formats
from launcher.pages.figures import Figure
from launcher.pages.figures.marks import failed
from launcher.pages.status import Document
from launcher.pages.wording import done, involves_money, needs_resume, state_words
from launcher.sweepfile import yamlio

MAX_ROWS = 10_000
"""Trials in the table: a browser sorts so many in a second."""
MAX_METRICS = 50
MAX_METRIC_CELLS = 50_000


def write(document: Document, path: Path) -> None:
    """Write the report, whole or not at all. Raises ProteinSkyError, OSError."""
    write_atomic(path, render(document))


def render(document: Document) -> str:
    """Return the report as HTML. Raises ProteinSkyError if the extra `report` is missing."""
    try:
        from jinja2 import Environment, StrictUndefined
        from plotly.offline import get_plotlyjs
    except ImportError as error:
        raise ProteinSkyError(
            f"the report needs {error.name}, which is not installed",
            hint="pip install 'protein-sky[report]'",
        ) from error
    source = files("launcher.pages").joinpath("report.html.j2").read_text(encoding="utf-8")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    shown = plots(document)
    facts = {
        "document": document,
        "facts": headline(document),
        "state": state_words(document),
        "made_at": _date(document["time"]),
        "version": __version__,
        "best_yaml": best_yaml(document),
        "space_yaml": space_yaml(document),
        "name": shlex.quote(document["sweep"]),
        "needs_resume": needs_resume(document),
        "pareto": _of_key(shown, "pareto"),
        "history": _of_key(shown, "history"),
        "importance": _of_key(shown, "importance"),
        "parallel": _of_key(shown, "parallel"),
        "timeline": _of_key(shown, "timeline"),
        "slices": [figure for figure in shown if figure.key.startswith("slice-")],
        "front": front_rows(document),
        "columns": columns(document),
        "rows": rows(document),
        "metrics": metric_names(document),
        "metric_rows": metric_rows(document),
        "money": involves_money(document),
        "figures_json": embedded({figure.key: _drawn(figure) for figure in shown}),
        "plotly_js": get_plotlyjs(),
    }
    return environment.from_string(source).render(facts)


def plots(document: Document) -> list[Figure]:
    """Return every plot that there is something to show in."""
    whole = (
        figures.pareto(document),
        figures.history(document),
        figures.importance(document),
        figures.parallel(document),
        figures.timeline(document),
    )
    return [figure for figure in whole if figure is not None] + figures.slices(document)


def _drawn(figure: Figure) -> dict[str, Any]:
    return {"data": figure.data, "layout": figure.layout, "height": figure.height}


def embedded(value: Any) -> str:
    """Return JSON that can stand in a script element: no tag can end or begin in it."""
    text = json.dumps(_without_nan(value), ensure_ascii=True, separators=(",", ":"))
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def _without_nan(value: Any) -> Any:
    match value:
        case dict():
            return {str(key): _without_nan(item) for key, item in value.items()}
        case list() | tuple():
            return [_without_nan(item) for item in value]
        case float() if not math.isfinite(value):
            return None
        case _:
            return value


def headline(document: Document) -> list[tuple[str, str, str]]:
    """Return the facts that come first: what, how much, and a word about it."""
    best, counts, usd = document["best"], document["counts"], document["budget"]["usd"]
    if best is None:
        facts = [(f"best {document['metric']}", formats.MISSING, "no trial has a score yet")]
    else:
        cost = formats.duration(best["cost_seconds"])
        score = formats.number(best["score"])
        facts = [(f"best {document['metric']}", score, f"trial {best['number']}, cost {cost}")]
    total = formats.plural(counts["total"], "trial")
    facts.append(("trials done", f"{done(document):,}", f"of {total}"))
    facts.append(("failed", f"{counts['failed']:,}", _failures_by_class(document)))
    eta = document["eta_seconds"]
    left = formats.remaining(eta) if eta is not None else ""
    facts.append(("time", formats.duration(document["elapsed_seconds"]), left))
    if involves_money(document):
        limit = "" if usd["limit"] is None else f"of {formats.money(usd['limit'])}"
        wasted = f"{formats.money(usd['wasted'])} lost to preemption" if usd["wasted"] else ""
        facts.append(
            ("spent", formats.money(usd["spent"]), ", ".join(filter(None, [limit, wasted])))
        )
    return facts


def best_yaml(document: Document) -> str:
    """Return the best trial's parameters as YAML, "" before there is one."""
    best = document["best"]
    return "" if best is None else yamlio.dump(_without_nan(best["params"]))


def space_yaml(document: Document) -> str:
    """Return the `sweep` part of a sweep file that searches the same space."""
    first = document["trials"][0]["params"] if document["trials"] else {}
    same = [trial["params"] for trial in document["trials"]]
    fixed = {
        name: value
        for name, value in first.items()
        if name not in document["parameters"] and all(p.get(name) == value for p in same)
    }
    parameters = {**document["parameters"], **fixed}
    sweep = {"metric": document["metric"], "goal": document["goal"], "parameters": parameters}
    return yamlio.dump(_without_nan({"sweep": sweep}))


def columns(document: Document) -> list[str]:
    """Return the parameters that have a column: the tuned ones, short."""
    return list(formats.short_names(document["parameters"]).values())


def front_rows(document: Document) -> list[list[str]]:
    """Return the Pareto front: trial, score, cost, parameters."""
    return [
        [
            str(point["number"]),
            formats.number(point["score"]),
            formats.duration(point["cost_seconds"]),
            *_values(point, document),
        ]
        for point in document["pareto_front"]
    ]


def rows(document: Document) -> list[dict[str, Any]]:
    """Return the table of trials: cells as (text, sort key), newest left out beyond MAX_ROWS."""
    best = None if document["best"] is None else document["best"]["number"]
    front = {point["number"] for point in document["pareto_front"]}
    return [
        {
            "kind": "best" if trial["number"] == best else trial["state"],
            "mark": _mark(trial, best, front),
            "state": _state(trial),
            "cells": [
                (formats.number(trial["score"]), trial["score"]),
                (formats.duration(trial["cost_seconds"]), trial["cost_seconds"]),
                (formats.money(trial["cost_usd"]), trial["cost_usd"]),
                *[
                    (formats.value(value), _sort_key(value))
                    for value in (trial["params"].get(name) for name in document["parameters"])
                ],
                (str(len(trial["attempts"])), len(trial["attempts"])),
            ],
            "number": trial["number"],
            "message": "" if trial["error"] is None else trial["error"]["message"],
        }
        for trial in document["trials"][:MAX_ROWS]
    ]


def metric_names(document: Document) -> list[str]:
    """Return what trials reported beside the score, such as the tasks of an evaluation."""
    names = {name for trial in document["trials"] for name in trial["metrics"]}
    return sorted(names - {document["metric"]})[:MAX_METRICS]


def metric_rows(document: Document) -> list[list[str]]:
    """Return trial, score and those metrics, for the first trials that reported any."""
    names = metric_names(document)
    reported = [trial for trial in document["trials"] if trial["metrics"]]
    return [
        [
            str(trial["number"]),
            formats.number(trial["score"]),
            *[formats.number(trial["metrics"].get(name)) for name in names],
        ]
        for trial in reported[: MAX_METRIC_CELLS // max(1, len(names))]
    ]


def _mark(trial: dict[str, Any], best: int | None, front: set[int]) -> str:
    if trial["number"] == best:
        return "★"
    return "◆" if trial["number"] in front else ""


def _state(trial: dict[str, Any]) -> str:
    is_failed = trial["state"] == "failed" and trial["error"] is not None
    return formats.failure(trial["error"]) if is_failed else str(trial["state"])


def _values(trial: dict[str, Any], document: Document) -> list[str]:
    return [formats.value(trial["params"].get(name)) for name in document["parameters"]]


def _sort_key(value: Any) -> Any:
    return int(value) if isinstance(value, bool) else value


def _failures_by_class(document: Document) -> str:
    classes = Counter(_state(trial) for trial in failed(document))
    return ", ".join(f"{count} {name}" for name, count in classes.most_common(3))


def _of_key(shown: list[Figure], key: str) -> Figure | None:
    return next((figure for figure in shown if figure.key == key), None)


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
