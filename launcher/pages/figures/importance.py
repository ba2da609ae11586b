"""How much each parameter matters, as bars."""

from html import escape

from launcher.pages.figures.figure import Figure, shortened
from launcher.pages.status import Document

MAX_BARS = 20
"""Parameters among which importance is shown."""


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
                "y": [escape(shortened(one["parameter"])) for one in shown],
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
