"""What runs logged on their way, from W&B's service: for metrics that their summaries lack.

One question for many runs. W&B gives at most so many rows as are asked for, evenly drawn from all
that there are; where that may be so, a run's steps are halved until each part comes whole, so that
a maximum is that of everything and not of a sample.
"""

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from launcher.metrics import as_number, flatten
from launcher.wandb.access import Ask

ROWS = 10_000
RUNS_PER_QUESTION = 50
MAX_PARTS = 100
"""Questions about one run, enough for 250,000 rows; beyond, W&B's sample has to do."""
PAUSE_SECONDS = 1.0
"""Between two questions: fewer than one a second, however many runs there are."""

_HISTORY = """
query History($entity: String, $project: String!, $runs: JSONString, $specs: [JSONString!]!) {
  project(name: $project, entityName: $entity) {
    runs(filters: $runs, first: 50) {
      edges { node { name historyLineCount sampledHistory(specs: $specs) } }
    }
  }
}
"""
Steps = tuple[int, int | None]  # from the first, up to the second and without it
Points = dict[int, float]  # step to value
Look = Callable[[Sequence[str], Steps], Mapping[str, tuple[Points, int]]]  # of how many lines


def histories(
    ask: Ask,
    place: Mapping[str, str | None],
    run_ids: Sequence[str],
    *,
    metric: str,
    rows: int = ROWS,
    pause: Callable[[float], None] = time.sleep,
) -> dict[str, tuple[float, ...]]:
    """Return every value that runs logged of a metric, in the order of steps, by run id.

    `place` holds `entity` and `project`. NaN and infinities are values. Raises what `ask` raises.
    """

    def look(names: Sequence[str], steps: Steps) -> dict[str, tuple[Points, int]]:
        low, high = steps
        window = {"minStep": low} | ({} if high is None else {"maxStep": high})
        spec = {"keys": ["_step", metric], "samples": rows, **window}
        runs = json.dumps({"name": {"$in": list(names)}})
        found = ask(_HISTORY, {**place, "runs": runs, "specs": [json.dumps(spec)]})["project"]
        nodes = [edge["node"] for edge in found["runs"]["edges"]] if found is not None else []
        return {
            n["name"]: (points_of(n["sampledHistory"][0], metric), n["historyLineCount"])
            for n in nodes
        }

    names = sorted(run_ids)
    found: dict[str, tuple[Points, int]] = {}
    for start in range(0, len(names), RUNS_PER_QUESTION):
        if start:
            pause(PAUSE_SECONDS)
        found |= look(names[start : start + RUNS_PER_QUESTION], (0, None))
    known = {
        name: points
        if lines <= rows or _is_all(points, rows)
        else _in_parts(look, name, points, rows=rows, pause=pause)
        for name, (points, lines) in found.items()
    }
    return {name: tuple(points[step] for step in sorted(points)) for name, points in known.items()}


def _is_all(points: Points, rows: int) -> bool:
    """Whether these are too few to be a sample: one of every second row is more than half."""
    return len(points) <= rows // 2


def _in_parts(
    look: Look, name: str, sample: Points, *, rows: int, pause: Callable[[float], None]
) -> Points:
    """Return all points of a run of which a sample is known."""
    whole = dict(sample)
    parts = _halves((0, None), sample)
    for _ in range(MAX_PARTS):
        if not parts:
            break
        pause(PAUSE_SECONDS)
        steps = parts.pop()
        points, _lines = look([name], steps).get(name, ({}, 0))
        whole |= points
        if not _is_all(points, rows):
            parts += _halves(steps, points)
    return whole


def _halves(steps: Steps, points: Points) -> list[Steps]:
    """Cut steps in two where half of the points lie; one step cannot be cut."""
    low, high = steps
    middle = sorted(points)[len(points) // 2]
    return [(low, middle), (middle, high)] if middle > low else []


def points_of(rows: Sequence[Mapping[str, Any]], metric: str) -> Points:
    """Return a metric's values in rows of a history, by their steps."""
    points: Points = {}
    for row in rows:
        step, value = as_number(row.get("_step")), as_number(flatten(row).get(metric))
        if step is not None and math.isfinite(step) and value is not None:
            points[int(step)] = value
    return points
