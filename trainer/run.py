"""One run in its folder: threads, ranks, logs, signals around `train`; the result at the end."""

import math
import os
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Literal

from trainer import output
from trainer.config import Config
from trainer.errors import DivergedError
from trainer.parse import as_mapping


def run(config: Config, *, started: float, stop: Callable[[], str]) -> int:
    """Trains in PROTEIN_RUN_DIR, or in the current folder; returns the exit code.

    `started`: time.perf_counter() when the program began; imports are part of the cost.
    `stop`: the name of the signal that asks the run to go, or nothing.
    """
    use_threads()
    from trainer.checkpoint import Checkpoints, checkpoint_folder
    from trainer.device import find_device
    from trainer.ranks import Ranks, find_place
    from trainer.train import Surroundings, train

    folder = Path(os.environ.get("PROTEIN_RUN_DIR") or ".")
    with output.writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    place = find_place(os.environ)
    device = find_device(config.device, local_rank=place.local_rank)
    run_id = os.environ.get("PROTEIN_RUN_ID") or config.run
    checkpoints = Checkpoints(checkpoint_folder(folder), config.checkpoint.keep)
    exit_code = 1
    metrics: dict[str, float] = {}
    # W&B may take longer to start than ranks that have met wait for each other.
    writer = Writer(folder, config, first=place.rank == 0, started=started)
    try:
        with closing(Ranks(place, run_id=run_id, device=device, stop=stop)) as ranks:
            around = Surroundings(device, ranks, checkpoints, writer.report, stop)
            metrics = train(config, around)
            writer.result(metrics, "completed")
        exit_code = 0
    except DivergedError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        writer.result(metrics, "diverged")
        exit_code = error.exit_code
    finally:
        writer.close(metrics, exit_code=exit_code)
    return exit_code


class Writer:
    """The run's logs and its progress line; only the first rank writes.

    What earlier attempts cost counts: it stands in cost.json where they ended by themselves, else
    in the last line of metrics.jsonl. Dollars are told where the launcher says what the machines of
    this attempt cost by the hour.
    """

    def __init__(self, folder: Path, config: Config, *, first: bool, started: float) -> None:
        self.folder = folder
        self.first = first
        self.total = config.trainer.total_timesteps
        self.started = self.shown = started
        self.first_step: int | None = None
        self.spent = self.spent_usd = 0.0
        self.price_usd_per_hour = price(os.environ)
        self.logs: list[output.Log] = []
        if first:
            lines = output.JsonLines(folder / "metrics.jsonl")
            at_end, names = output.read_cost(folder), ("cost_seconds", "cost_usd")
            self.spent, self.spent_usd = (max(lines.last(n), at_end.get(n, 0.0)) for n in names)
            self.logs = [lines, output.wandb_log(as_mapping(config), folder)]

    @property
    def cost_seconds(self) -> float:
        """Seconds of all attempts so far."""
        return self.spent + time.perf_counter() - self.started

    def report(self, step: int, metrics: dict[str, float]) -> None:
        """Writes the metrics after `step` environment steps, and shows how far the run is."""
        if not self.first:
            return
        metrics |= self._cost()
        for log in self.logs:
            log.write(step, metrics)
        now = time.perf_counter()
        if now - self.shown >= 2 or step >= self.total:
            self.shown = now
            self._show(step, metrics)

    def result(self, metrics: dict[str, float], status: Literal["completed", "diverged"]) -> None:
        """Writes result.json, before W&B is told: closing W&B may take minutes."""
        if self.first:
            cost = self._cost()
            metrics |= cost
            output.write_result(self.folder, output.Result(metrics, cost["cost_seconds"], status))

    def close(self, summary: dict[str, float], *, exit_code: int) -> None:
        """Writes down what it cost, then closes the logs."""
        with ExitStack() as stack:
            for log in reversed(self.logs):
                stack.callback(log.close, summary, exit_code=exit_code)
            if self.first:
                output.write_cost(self.folder, self._cost())

    def _cost(self) -> dict[str, float]:
        seconds = self.cost_seconds
        if self.price_usd_per_hour is None:
            return {"cost_seconds": seconds}
        hours = (seconds - self.spent) / 3600
        usd = self.spent_usd + hours * self.price_usd_per_hour
        return {"cost_seconds": seconds, "cost_usd": usd}

    def _show(self, step: int, metrics: dict[str, float]) -> None:
        left = max(0, self.total - step) / metrics["steps_per_second"]
        score = f"{metrics['episode/return']:.2f}" if metrics["episode/count"] else "–"
        tasks = "".join(
            f"  {name.removeprefix('episode/return/')} {value:.2f}"
            for name, value in metrics.items()
            if name.startswith("episode/return/")
        )
        line = (
            f"{step:>13,} of {self.total:,} steps  return {score}{tasks}"
            f"  {metrics['steps_per_second']:,.0f} steps/s  {left:,.0f} s left"
        )
        print(line, file=sys.stderr, flush=True)  # noqa: T201


def price(environment: Mapping[str, str]) -> float | None:
    """What all machines of this run cost by the hour, from PROTEIN_PRICE_USD_PER_HOUR."""
    try:
        found = float(environment.get("PROTEIN_PRICE_USD_PER_HOUR") or "nan")
    except ValueError:
        return None
    return found if math.isfinite(found) and found > 0 else None


def use_threads() -> None:
    """One thread unless OMP_NUM_THREADS or NUM_CPUS says more: small networks lose by sharing."""
    wanted = os.environ.get("OMP_NUM_THREADS") or os.environ.get("NUM_CPUS") or "1"
    threads = int(wanted) if wanted.isdigit() and int(wanted) else 1
    os.environ["OMP_NUM_THREADS"] = str(threads)
    import torch

    torch.set_num_threads(threads)
