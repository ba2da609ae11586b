"""What a run tells the world: metrics as it goes, its result at the end."""

import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, TextIO

from trainer.errors import OutputError


class Log(Protocol):
    """Takes metrics as they come."""

    def write(self, step: int, metrics: dict[str, float]) -> None:
        """Metrics after `step` environment steps."""

    def close(self, summary: dict[str, float], *, exit_code: int) -> None:
        """The last word; nothing is written after it."""


@dataclass(frozen=True, slots=True)
class Result:
    """What the run hands back. `cost_seconds` counts all attempts."""

    metrics: dict[str, float]
    cost_seconds: float
    status: Literal["completed", "diverged"]


def write_result(folder: Path, result: Result) -> None:
    """result.json, atomically and durably: it is there in full or not at all."""
    document = {
        "schema_version": 1,
        "metrics": {name: plain(value) for name, value in result.metrics.items()},
        "cost_seconds": result.cost_seconds,
        "status": result.status,
    }
    write_atomically(folder / "result.json", json.dumps(document, indent=2).encode() + b"\n")


def write_cost(folder: Path, cost: dict[str, float]) -> None:
    """cost.json: what all attempts cost up to now, for the next one."""
    write_atomically(folder / "cost.json", json.dumps(cost).encode() + b"\n")


def read_cost(folder: Path) -> dict[str, float]:
    """What `write_cost` wrote; nothing where no attempt came to its end."""
    file = folder / "cost.json"
    cost: dict[str, float] = json.loads(file.read_bytes()) if file.exists() else {}
    return cost


def write_atomically(path: Path, data: bytes) -> None:
    """Replaces the file's content, synced to the disk before it takes the name."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with writing(path):
        try:
            with draft.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Whatever the disk refuses meanwhile is an OutputError that names `path`."""
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"{path}: cannot be written: {error.strerror or error}",
            hint="make room or allow it, then start again from the checkpoint",
        ) from error


def plain(value: float) -> float | str:
    """A number for JSON, which has no NaN and no infinity."""
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


class JsonLines:
    """metrics.jsonl: one object a line, readable while the run goes on.

    A run that went on from a checkpoint comes to steps that stand in the file already: what an
    earlier attempt wrote of them is dropped, as is a line that a kill cut off.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines = [line for line in _read_lines(path) if line is not None]
        self.file: TextIO | None = None

    def last(self, name: str) -> float:
        """The newest value of a metric that earlier attempts wrote, 0 if they wrote none."""
        values = [line[name] for line in self.lines if isinstance(line.get(name), (int, float))]
        return float(values[-1]) if values else 0.0

    def write(self, step: int, metrics: dict[str, float]) -> None:
        """Appends one line."""
        if self.file is None:
            kept = [json.dumps(line) + "\n" for line in self.lines if line["step"] < step]
            write_atomically(self.path, "".join(kept).encode())
            self.file = self.path.open("a", encoding="utf-8", buffering=1)
        line: dict[str, Any] = {"step": step, "time": time.time()}
        line |= {name: plain(value) for name, value in metrics.items()}
        with writing(self.path):
            self.file.write(json.dumps(line) + "\n")

    def close(self, summary: dict[str, float], *, exit_code: int) -> None:  # noqa: ARG002 Log's
        """Closes the file; the summary is result.json's."""
        if self.file is not None:
            with writing(self.path):
                self.file.close()


def _read_lines(path: Path) -> Iterator[dict[str, Any] | None]:
    """Each line's object, None for one that is damaged."""
    if not path.exists():
        return
    for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            line = json.loads(text)
        except ValueError:
            yield None
        else:
            yield line if isinstance(line, dict) and isinstance(line.get("step"), int) else None


class WandbLog:
    """The run in Weights & Biases; who and where it is stands in WANDB_* variables.

    Where they name no run, W&B does, and `folder` keeps the name: the next attempt is the same run.
    """

    def __init__(self, config: dict[str, Any], folder: Path) -> None:
        import wandb

        online = os.environ.get("WANDB_MODE") != "offline"
        kept = folder / "wandb_run_id"
        known = kept.read_text() if kept.exists() else None
        run_id = os.environ.get("WANDB_RUN_ID") or known
        self.run = wandb.init(config=config, id=run_id, resume="allow" if online else None)
        write_atomically(kept, self.run.id.encode())
        self.is_lost = False

    def write(self, step: int, metrics: dict[str, float]) -> None:
        """Logs at the environment step."""
        self._unless_lost(lambda: self.run.log(metrics, step=step))

    def close(self, summary: dict[str, float], *, exit_code: int) -> None:
        """Writes the summary and ends the run."""
        self._unless_lost(lambda: self.run.summary.update(summary))
        self._unless_lost(lambda: self.run.finish(exit_code=exit_code))

    def _unless_lost(self, tell: Callable[[], object]) -> None:
        """W&B is a program of its own, which may end before the run does."""
        import wandb

        if self.is_lost:
            return
        try:
            tell()
        except (OSError, wandb.errors.Error) as error:
            self.is_lost = True
            warn_without_wandb(error)


class NoLog:
    """Where W&B is absent or switched off, or on ranks that do not write."""

    def write(self, step: int, metrics: dict[str, float]) -> None:
        """Nothing."""

    def close(self, summary: dict[str, float], *, exit_code: int) -> None:
        """Nothing."""


def wandb_log(config: dict[str, Any], folder: Path) -> Log:
    """W&B where WANDB_MODE or WANDB_API_KEY asks for it and the package is there, else nothing.

    A W&B that cannot be reached is a warning: the result does not depend on it.
    """
    wanted = "WANDB_MODE" in os.environ or "WANDB_API_KEY" in os.environ
    if not wanted or os.environ.get("WANDB_MODE") == "disabled":
        return NoLog()
    try:
        import wandb
    except ImportError:
        return NoLog()
    try:
        return WandbLog(config, folder)
    except (wandb.errors.Error, ValueError) as error:  # ValueError: settings of the environment
        warn_without_wandb(error)
        return NoLog()


def warn_without_wandb(error: Exception) -> None:
    """Says that the run goes on, and why W&B does not hear of it."""
    print(f"warning: without Weights & Biases: {error}", file=sys.stderr)  # noqa: T201
