"""What trials reported, read from their run folders.

Sources are asked in order until one knows the run: result.json, the last PROTEIN_RESULT line of
this attempt's log, the latest values in metrics.jsonl. What a trial wrote is never trusted: every
read is bounded, and what is no number is left out.
"""

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from launcher import trainlog
from launcher.config import SweepConfig
from launcher.ports import Curve, Result, Run

MAX_RESULT_BYTES = 1024 * 1024
MAX_CURVE_BYTES = 4 * 1024 * 1024
MAX_METRICS = 10_000
MAX_DEPTH = 16

# Of a report, what is not a metric.
_RESERVED = frozenset({"schema_version", "metrics", "status", "attempt", "cost_seconds"})
_ON_THE_WAY = frozenset({"step", "time"})
_RESULT_LINE = re.compile(r"(?:^|\s)PROTEIN_RESULT\s+(\{.*\})\s*$")
_WORDS = {
    "nan": math.nan,
    "inf": math.inf,
    "infinity": math.inf,
    "+inf": math.inf,
    "+infinity": math.inf,
    "-inf": -math.inf,
    "-infinity": -math.inf,
}

Source = Callable[[Run], Result | None]  # never raises; None: this source knows nothing


def from_result_file(run: Run) -> Result | None:
    """Read result.json, unless it says that an earlier attempt wrote it."""
    text, whole = trainlog.end_of(run.run_dir / "result.json", MAX_RESULT_BYTES)
    report = _parse(text) if whole else None
    if report is None or report.get("attempt", run.attempt) != run.attempt:
        return None
    return _result(report, source="result.json")


def from_log(run: Run) -> Result | None:
    """Read the last PROTEIN_RESULT line of this attempt, among the end of its log."""
    lines = trainlog.of_attempt(trainlog.tail(run.run_dir / "train.log"), run.attempt)
    for line in reversed(lines):
        match = _RESULT_LINE.search(trainlog.plain(line))
        report = _parse(match[1]) if match else None
        result = _result(report, source="log") if report else None
        if result is not None:
            return result
    return None


def from_metric_lines(run: Run) -> Result | None:
    """Read the latest value of each metric among the last lines of metrics.jsonl."""
    latest: dict[str, float] = {}
    for line in trainlog.tail(run.run_dir / "metrics.jsonl"):
        report = _parse(line) or {}
        latest |= flatten({k: v for k, v in report.items() if k not in _ON_THE_WAY})
    return Result(latest, source="metrics.jsonl") if latest else None


FOLDER_SOURCES: tuple[Source, ...] = (from_result_file, from_log, from_metric_lines)


class RunFolderMetrics:
    """Reads results from run folders: a Metrics that needs no account and no network."""

    def __init__(self, sources: Sequence[Source] = FOLDER_SOURCES) -> None:
        self._sources = tuple(sources)

    @property
    def problem(self) -> str:
        """Empty: a folder is there, or what was in it is lost."""
        return ""

    def read(self, runs: Sequence[Run]) -> Mapping[str, Result]:
        """Return the first answer for each run that has one, by run id."""
        answers = ((run.run_id, self._first(run)) for run in runs)
        return {run_id: result for run_id, result in answers if result is not None}

    def _first(self, run: Run) -> Result | None:
        return next((r for source in self._sources if (r := source(run)) is not None), None)


def is_whole(config: SweepConfig, result: Result | None) -> bool:
    """Whether a result has all that a sweep asks of a trial: else the rest may be late."""
    if result is None:
        return False
    second = config.sweep.second_objective
    wanted = {config.sweep.metric} | ({second.metric} if second is not None else set())
    has_cost = config.sweep.cost != "wandb" or result.runtime_seconds is not None
    return result.diverged or (wanted <= result.metrics.keys() and has_cost)


def grown_at(run_dir: Path) -> float | None:
    """Return when the trial last wrote to its log or metrics (Unix seconds); None: never."""
    times = []
    for name in ("train.log", "metrics.jsonl"):
        try:
            times.append((run_dir / name).stat().st_mtime)
        except OSError:
            continue
    return max(times, default=None)


def curve(run_dir: Path, metric: str, *, resource: str) -> list[tuple[float, float]]:
    """Return what a trial reported on its way as (resource, value), resources rising.

    `resource` is `step` or `cost_seconds`; without the latter the time since the first line stands
    for it. At most the last MAX_CURVE_BYTES are read; what is no number is left out.
    """
    points: list[tuple[float, float]] = []
    began: float | None = None
    for line in trainlog.tail(run_dir / "metrics.jsonl", MAX_CURVE_BYTES):
        report = _parse(line) or {}
        time = as_number(report.get("time"))
        began = time if began is None else began
        at = as_number(report.get(resource))
        if at is None and resource == "cost_seconds" and time is not None and began is not None:
            at = time - began
        value = as_number(flatten(report).get(metric))
        if at is None or value is None or not math.isfinite(at) or not math.isfinite(value):
            continue
        if not points or at > points[-1][0]:
            points.append((at, value))
    return points


class FolderCurves:
    """Reads curves from run folders: a Curves that needs no account and no network.

    `root`: where the folders of the trials' machines are seen from here; None: our own folders.
    """

    def __init__(self, root: Path | None = None) -> None:
        self._root = root

    @property
    def problem(self) -> str:
        """Empty: what a folder does not show was not reported."""
        return ""

    def read(self, runs: Sequence[Run], *, metric: str, resource: str) -> Mapping[str, Curve]:
        """Return what stands in metrics.jsonl of each run."""
        folders = {
            run.run_id: run.run_dir if self._root is None else self._root / run.run_id
            for run in runs
        }
        return {name: curve(at, metric, resource=resource) for name, at in folders.items()}


def reported_names(run: Run, sources: Sequence[Source] = FOLDER_SOURCES) -> list[str]:
    """Return the names of all metrics that appear anywhere: what to show when one is missing."""
    results = (source(run) for source in sources)
    return sorted({name for result in results if result is not None for name in result.metrics})


def flatten(values: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers in nested mappings under dotted names; what is no number is left out."""
    found: dict[str, float] = {}
    for name, value in _leaves(values, "", 0):
        if len(found) >= MAX_METRICS:
            break
        number = as_number(value)
        if number is not None:
            found[name] = number
    return found


def as_number(value: object) -> float | None:
    """Return a JSON value as a number, NaN and infinities however they are spelled; else None."""
    if isinstance(value, str):
        return _WORDS.get(value.strip().lower())
    if not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:  # an integer of more than 308 digits; 1e400 is infinite too
        return math.inf if value > 0 else -math.inf


def _leaves(values: Mapping[str, Any], prefix: str, depth: int) -> Iterator[tuple[str, object]]:
    for key, value in values.items():
        if isinstance(value, dict) and depth < MAX_DEPTH:
            yield from _leaves(value, f"{prefix}{key}.", depth + 1)
        else:
            yield f"{prefix}{key}", value


def _result(report: Mapping[str, Any], *, source: str) -> Result | None:
    """A report with its metrics under "metrics", or, written by hand, beside the rest."""
    inner = report.get("metrics")
    own = {name: value for name, value in report.items() if name not in _RESERVED}
    metrics = flatten(inner if isinstance(inner, dict) else own)
    cost = as_number(report.get("cost_seconds"))
    usable = cost is not None and math.isfinite(cost) and cost >= 0
    diverged = report.get("status") == "diverged"
    return Result(metrics, cost if usable else None, source, diverged) if metrics else None


def _parse(text: str | bytes) -> dict[str, Any] | None:
    """A JSON object; None for anything else."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
