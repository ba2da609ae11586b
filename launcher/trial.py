"""For a trial's own program, if it likes: read the parameters, report what came out.

    from launcher.trial import params, report

    chosen = params(learning_rate=1e-3)   # the defaults hold where nobody runs a sweep
    for step in range(1000):
        report(step=step, loss=...)       # on the way
    report(accuracy=0.93)                 # the result, last

It needs nothing but the standard library and no sweep: without one the defaults come back, and
reports go to stdout. With several nodes only node 0 writes.
"""

import json
import math
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["attempt", "checkpoint_dir", "params", "report"]


def params(**defaults: Any) -> dict[str, Any]:
    """Return the parameters of this trial, dotted names to values, over these defaults."""
    path = os.environ.get("PROTEIN_PARAMS")
    if not path:
        return defaults
    chosen = json.loads(Path(path).read_text(encoding="utf-8"))
    if not isinstance(chosen, dict):
        raise TypeError(f"{path}: expected a JSON object of parameters")
    return defaults | chosen


def report(
    metrics: Mapping[str, float] | None = None,
    *,
    step: int | None = None,
    cost_seconds: float | None = None,
    **more: float,
) -> None:
    """Report metrics: with a step what is so far, without one the result.

    Names that are no Python identifiers go into the mapping. Values are numbers (a NumPy or torch
    scalar too); NaN and infinities are kept; where the sweep's metric is one, the trial has
    diverged. `cost_seconds` is
    this trial's own measure of cost, instead of the time it took. ValueError if nothing is
    reported, TypeError if a value is no number.
    """
    values = {name: _number(name, value) for name, value in {**(metrics or {}), **more}.items()}
    if not values:
        raise ValueError("report() needs at least one metric")
    if _node() > 0:
        return
    if step is not None:
        _append({"step": int(step), "time": time.time(), **values})
        return
    result: dict[str, Any] = {
        "schema_version": 1,
        "metrics": spelled(values),
        "status": "completed" if math.isfinite(_score(values)) else "diverged",
        "attempt": attempt(),
    }
    if cost_seconds is not None:
        result["cost_seconds"] = _number("cost_seconds", cost_seconds)
    _write_result(result, values)


def checkpoint_dir() -> Path:
    """Return a folder that outlives this attempt: look there first, and write there often."""
    folder = Path(os.environ.get("PROTEIN_CHECKPOINT_DIR") or "checkpoints")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def attempt() -> int:
    """Return 1 in the first attempt, more when this trial was interrupted before."""
    return int(os.environ.get("PROTEIN_ATTEMPT") or 1)


def spelled(values: Mapping[str, float]) -> dict[str, float | str]:
    """Write what JSON has no number for as "NaN", "Infinity" or "-Infinity"."""
    return {name: value if math.isfinite(value) else _word(value) for name, value in values.items()}


def _score(values: Mapping[str, float]) -> float:
    """The sweep's metric, if it is among them: a side metric may well be NaN."""
    return values.get(os.environ.get("PROTEIN_METRIC", ""), 0.0)


def _word(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


def _number(name: str, value: Any) -> float:
    if isinstance(value, str):
        raise TypeError(f"report({name}=…) needs a number, not {value!r}")
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise TypeError(f"report({name}=…) needs a number: {error}") from error


def _node() -> int:
    return int(os.environ.get("NODE_INDEX") or 0)


def _folder() -> Path | None:
    folder = os.environ.get("PROTEIN_RUN_DIR")
    return Path(folder) if folder else None


def _append(line: Mapping[str, float]) -> None:
    folder = _folder()
    text = json.dumps(spelled(line)) + "\n"
    if folder is None:
        sys.stdout.write(text)
        return
    fd = os.open(folder / "metrics.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    try:
        os.write(fd, text.encode())  # one write: a kill leaves a whole line or none
    finally:
        os.close(fd)


def _write_result(result: Mapping[str, Any], values: Mapping[str, float]) -> None:
    folder = _folder()
    if folder is None:
        sys.stdout.write(f"PROTEIN_RESULT {json.dumps(spelled(values))}\n")
        sys.stdout.flush()
        return
    draft = folder / f".result.json.{os.getpid()}"
    with draft.open("w", encoding="utf-8") as file:
        json.dump(result, file)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(folder / "result.json")
