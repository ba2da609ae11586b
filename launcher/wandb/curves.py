"""What trials on other machines report on their way: from what all machines share, and from W&B.

One question to W&B for all runs, each from its first row on that is new to us; how often, says
`polling`. Of more than ROWS new rows of a run W&B draws so many evenly.
"""

import json
import math
import os
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from launcher.config import SweepConfig
from launcher.metrics import FolderCurves
from launcher.ports import Curve, Curves, Run
from launcher.wandb.access import Ask, api_key, asking
from launcher.wandb.environment import entity, project, resolve_mode
from launcher.wandb.history import PAUSE_SECONDS, points_of
from launcher.wandb.offline import over_what
from launcher.wandb.polling import Polling, Work, in_background

ROWS = 1000
RUNS_PER_QUESTION = 100
_RESOURCES = {"step": ("_step",), "cost_seconds": ("cost_seconds", "_runtime")}
"""Under which names rows hold a resource; what a trial reports itself counts first."""


@dataclass(slots=True)
class _Known:
    """A run's curve as far as we have seen it, and the step from which on rows are new."""

    points: list[tuple[float, float]] = field(default_factory=list)
    next_step: int = 0


What = tuple[str, str]  # metric and resource
Rows = Sequence[Sequence[Mapping[str, Any]]]  # of one run: for each name of the resource


class WandbCurves:
    """A Curves that asks W&B's service. `place` holds `entity` and `project`."""

    def __init__(
        self,
        ask: Ask,
        place: Mapping[str, str | None],
        now: Callable[[], float],
        *,
        start: Callable[[Work], None] = in_background,
        draw: Callable[[float, float], float] = random.uniform,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._ask = ask
        self._place = place
        self._pause = pause
        self._polling = Polling[tuple[What, Mapping[str, Rows]]](now, start=start, draw=draw)
        self._what: What = ("", "")
        self._known: dict[str, _Known] = {}

    @property
    def problem(self) -> str:
        """Why the last question failed."""
        return self._polling.problem

    def read(self, runs: Sequence[Run], *, metric: str, resource: str) -> Mapping[str, Curve]:
        """Return what has come by now, and ask for what is new when it is time."""
        metric, _ = over_what(metric)
        known = self._known if self._what == (metric, resource) else {}
        self._what = (metric, resource)
        self._known = {run.run_id: known.get(run.run_id, _Known()) for run in runs}
        self._take_answers()
        if runs:
            asked = {name: one.next_step for name, one in self._known.items()}
            self._polling.ask(lambda: ((metric, resource), self._rows(asked, metric, resource)))
            self._take_answers()
        return {name: tuple(one.points) for name, one in self._known.items()}

    def _take_answers(self) -> None:
        for what, found in self._polling.answers():
            for name, rows in found.items() if what == self._what else ():
                if one := self._known.get(name):
                    _learn(one, rows, *what)

    def _rows(self, asked: Mapping[str, int], metric: str, resource: str) -> Mapping[str, Rows]:
        """Ask for the rows of runs from a step on; a run that W&B does not know has none."""
        names = list(asked)
        found: dict[str, Rows] = {}
        for start in range(0, len(names), RUNS_PER_QUESTION):
            if start:
                self._pause(PAUSE_SECONDS)
            some = names[start : start + RUNS_PER_QUESTION]
            given: dict[str, Any] = dict(self._place)
            for number, name in enumerate(some):
                given[f"r{number}"] = name
                given[f"s{number}"] = list(_specs(metric, resource, asked[name]))
            model = self._ask(_question(len(some)), given)["model"] or {}
            answers = ((name, model.get(f"r{number}")) for number, name in enumerate(some))
            found |= {name: answer["sampledHistory"] for name, answer in answers if answer}
        return found


def _question(count: int) -> str:
    """Return one question about so many runs, each with a name and specs of its own."""
    given = " ".join(f"$r{n}: String!, $s{n}: [JSONString!]!" for n in range(count))
    asked = "\n".join(
        f"    r{n}: bucket(name: $r{n}, missingOk: true) {{ sampledHistory(specs: $s{n}) }}"
        for n in range(count)
    )
    return f"""\
query Curves($entity: String, $project: String!, {given}) {{
  model(name: $project, entityName: $entity) {{
{asked}
  }}
}}
"""


def _specs(metric: str, resource: str, step: int) -> Iterator[str]:
    for name in _RESOURCES[resource]:
        keys = list(dict.fromkeys(["_step", name, metric]))
        yield json.dumps({"keys": keys, "samples": ROWS, "minStep": step})


def _learn(known: _Known, told: Rows, metric: str, resource: str) -> None:
    """Add rows to a curve: resources rise, and what is no number is left out."""
    rows, name = next(
        ((rows, name) for rows, name in zip(told, _RESOURCES[resource], strict=True) if rows),
        ((), ""),
    )
    values, resources = points_of(rows, metric), points_of(rows, name)
    for step in sorted(values):
        known.next_step = step + 1
        at, value = resources.get(step, math.nan), values[step]
        is_further = not known.points or at > known.points[-1][0]
        if is_further and math.isfinite(at) and math.isfinite(value):
            known.points.append((at, value))


class FirstCurves:
    """Asks several Curves in turn, the cheap and certain first: a later one for what it lacks."""

    def __init__(self, sources: Sequence[Curves]) -> None:
        self._sources = tuple(sources)

    @property
    def problem(self) -> str:
        """Why a source cannot be asked now, empty if all can."""
        if not self._sources:  # there was one when the sweep was launched
            return "there is no key for W&B, and execution.storage is no folder of this machine"
        return next((source.problem for source in self._sources if source.problem), "")

    def read(self, runs: Sequence[Run], *, metric: str, resource: str) -> Mapping[str, Curve]:
        """Return curves by run id."""
        found: dict[str, Curve] = {}
        for source in self._sources:
            left = [run for run in runs if not found.get(run.run_id)]
            found |= source.read(left, metric=metric, resource=resource)
        return found


def sources_elsewhere(
    config: SweepConfig, now: Callable[[], float], environ: Mapping[str, str] = os.environ
) -> list[Curves]:
    """Return what tells here, while they run, how trials on other machines do; it may be nothing.

    `execution.storage` tells where it is a folder of this machine too.
    """
    sources: list[Curves] = []
    shared = Path(config.execution.storage or "")
    if shared.is_absolute() and shared.is_dir():
        sources.append(FolderCurves(shared))
    if resolve_mode(config, environ) == "online" and api_key(environ) is not None:
        place = {"entity": entity(config, environ), "project": project(config, environ)}
        sources.append(WandbCurves(asking(environ), place, now))
    return sources
