"""The command line: `python -m trainer --config FILE [key=value …]`."""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from trainer import output, parse
from trainer.config import Config
from trainer.errors import DivergedError, TrainerError


def main(arguments: Sequence[str] | None = None) -> int:
    """Parses, trains, writes; returns the exit code."""
    started = time.perf_counter()
    options = parser().parse_intermixed_args(arguments)
    try:
        file = options.check or options.config
        config = parse.load(file, options.overrides)
        if options.check:
            print(f"{file}: is valid")  # noqa: T201
            return 0
        return run(config, started=started)
    except TrainerError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return error.exit_code


def run(config: Config, *, started: float) -> int:
    """Trains in the run's folder, PROTEIN_RUN_DIR or the current one."""
    use_threads()
    folder = Path(os.environ.get("PROTEIN_RUN_DIR", "."))
    folder.mkdir(parents=True, exist_ok=True)
    logs = [output.JsonLines(folder / "metrics.jsonl"), output.wandb_log(parse.as_mapping(config))]
    progress = Progress(config.trainer.total_timesteps)

    def report(step: int, metrics: dict[str, float]) -> None:
        metrics["cost_seconds"] = time.perf_counter() - started
        for log in logs:
            log.write(step, metrics)
        progress.show(step, metrics)

    from trainer.train import train

    status: Literal["completed", "diverged"] = "completed"
    try:
        metrics, exit_code = train(config, report), 0
    except DivergedError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        metrics, status, exit_code = {}, "diverged", error.exit_code
    metrics["cost_seconds"] = time.perf_counter() - started
    result = output.Result(metrics, metrics["cost_seconds"], status)
    output.write_result(folder, result)
    for log in logs:
        log.close(metrics, exit_code=exit_code)
    return exit_code


def use_threads() -> None:
    """One thread unless OMP_NUM_THREADS or NUM_CPUS says more: small networks lose by sharing."""
    threads = os.environ.get("OMP_NUM_THREADS") or os.environ.get("NUM_CPUS") or "1"
    os.environ["OMP_NUM_THREADS"] = threads
    import torch

    torch.set_num_threads(max(1, int(threads)) if threads.isdigit() else 1)


class Progress:
    """A line of progress on stderr, at most every two seconds."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.shown = self.started = time.perf_counter()

    def show(self, step: int, metrics: dict[str, float]) -> None:
        """Steps, return, speed and the time that is left."""
        now = time.perf_counter()
        if now - self.shown < 2 and step < self.total:
            return
        self.shown = now
        left = (now - self.started) * max(0, self.total - step) / step
        episode = metrics.get("episode/return", float("nan"))
        line = (
            f"{step:>12,} of {self.total:,} steps  return {episode:.1f}"
            f"  {metrics['steps_per_second']:,.0f} steps/s  {left:.0f} s left"
        )
        print(line, file=sys.stderr)  # noqa: T201


def parser() -> argparse.ArgumentParser:
    """The options; `--help` lists every key of the config with its sentence."""
    result = argparse.ArgumentParser(
        prog="python -m trainer",
        description="Train a policy with PPO and score it. Writes result.json and metrics.jsonl.",
        epilog=describe(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    result.add_argument("--config", type=Path, metavar="FILE", help="a YAML file of the keys below")
    result.add_argument("--check", type=Path, metavar="FILE", help="only check the file")
    result.add_argument("overrides", nargs="*", metavar="key=value", help="replaces the file's")
    return result


def describe() -> str:
    """Every key with its default and its sentence."""
    lines = ["keys of the config, with their defaults:"]
    for option in parse.options():
        default = "" if option.default is None else option.default
        lines.append(f"  {option.key} = {default}\n      {option.rule.sentence}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
