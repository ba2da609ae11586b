"""Scores as points: against cost, in the order of suggestion, against each parameter."""

import math
from html import escape
from typing import Any

from launcher.pages import formats
from launcher.pages.figures.axes import axis_of, foot, log_if_wide, score_axis
from launcher.pages.figures.figure import (
    MAX_POINTS,
    Figure,
    Trials,
    how_many_drawn,
    sample,
    shortened,
)
from launcher.pages.figures.marks import (
    BEST,
    FAILED,
    FRONT,
    TRIAL,
    best_number,
    failed,
    has_value,
    marks,
    scored,
    scores_of,
)
from launcher.pages.picture import running_best
from launcher.pages.status import Document


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
        + how_many_drawn(drawn, others),
        _pareto_summary(known, on_front),
        [
            marks(drawn, document, "trial", TRIAL, x=_costs(drawn), y=scores_of(drawn)),
            {
                "type": "scatter",
                "mode": "lines",
                "name": "Pareto front",
                "x": _costs(on_front),
                "y": scores_of(on_front),
                "line": {"color": "--front", "width": 1.5, "shape": "hv"},
                "hoverinfo": "skip",
                "showlegend": False,
            },
            marks(rest, document, "Pareto front", FRONT, x=_costs(rest), y=scores_of(rest)),
            marks(best, document, "best", BEST, x=_costs(best), y=scores_of(best)),
        ],
        {
            "xaxis": {"title": {"text": "cost in seconds"}, **log_if_wide(_costs(known))},
            "yaxis": {"title": {"text": escape(metric)}},
        },
    )


def history(document: Document) -> Figure | None:
    """Scores in the order of suggestion, with the best so far; None before a trial is over."""
    metric = document["metric"]
    known, broken = scored(document), failed(document)
    if not known and not broken:
        return None
    curve = running_best(scores_of(known), document["goal"])
    best = [trial for trial in known if trial["number"] == best_number(document)]
    drawn, drawn_broken = sample(known, MAX_POINTS), sample(broken, MAX_POINTS)
    floor = foot(scores_of(known))
    return Figure(
        "history",
        f"{metric} by trial",
        "The line is the best score so far; a cross at the foot is a failed trial."
        + how_many_drawn(drawn, known),
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
            marks(drawn, document, "trial", TRIAL, x=_numbers(drawn), y=scores_of(drawn)),
            marks(best, document, "best", BEST, x=_numbers(best), y=scores_of(best)),
            marks(
                drawn_broken,
                document,
                "failed",
                FAILED,
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
            "yaxis": score_axis(metric, known),
        },
    )


def slices(document: Document) -> list[Figure]:
    """Score against the value of each tuned parameter that any trial has."""
    known, broken = scored(document), failed(document)
    floor = foot(scores_of(known))
    figures = []
    for index, (name, spec) in enumerate(document["parameters"].items()):
        shown = [trial for trial in sample(known, MAX_POINTS // 2) if has_value(trial, name)]
        crosses = [trial for trial in sample(broken, MAX_POINTS // 4) if has_value(trial, name)]
        best = [t for t in known if t["number"] == best_number(document) and has_value(t, name)]
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
                    marks(shown, document, "trial", TRIAL, x=_of(shown, name), y=scores_of(shown)),
                    marks(best, document, "best", BEST, x=_of(best, name), y=scores_of(best)),
                    marks(
                        crosses,
                        document,
                        "failed",
                        FAILED,
                        x=_of(crosses, name),
                        y=[floor] * len(crosses),
                    ),
                ],
                {
                    "xaxis": axis_of(spec, [t["params"][name] for t in shown + crosses]),
                    "yaxis": score_axis(document["metric"], known),
                    "showlegend": False,
                },
                height=280,
            )
        )
    return figures


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


def _corners(numbers: list[int], curve: list[float]) -> dict[str, Any]:
    """Return only the points where the curve changes, and its end."""
    keep = [i for i, best in enumerate(curve) if i in (0, len(curve) - 1) or best != curve[i - 1]]
    return {"x": [numbers[i] for i in keep], "y": [curve[i] for i in keep]}


def _costs(trials: Trials) -> list[float]:
    return [trial["cost_seconds"] for trial in trials]


def _numbers(trials: Trials) -> list[int]:
    return [trial["number"] for trial in trials]


def _of(trials: Trials, name: str) -> list[Any]:
    return [_plotted(trial["params"][name]) for trial in trials]


def _plotted(value: Any) -> str | float | None:
    if isinstance(value, bool | str):
        return escape(shortened(formats.value(value)))
    return value if math.isfinite(value) else None
