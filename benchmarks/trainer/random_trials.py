"""Does the demo's score depend on its hyperparameters, and what does a trial cost?

Draws settings at random from the demo's ranges, trains each in its own process, one after the
other, and prints score and CPU seconds (imports included), the best first.

    python benchmarks/trainer/random_trials.py --trials 12 env.name=swingup
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np


def draw(random: np.random.Generator) -> dict[str, float]:
    """One setting from the ranges of configs/sweep/demo_sweep.yaml."""
    return {
        "trainer.learning_rate": float(np.exp(random.uniform(np.log(3e-4), np.log(3e-2)))),
        "trainer.batch_size": int(2 ** random.integers(10, 15)),
        "trainer.gamma": float(random.uniform(0.9, 0.999)),
    }


def trial(settings: dict[str, float], overrides: list[str]) -> tuple[float, float]:
    """Score and CPU seconds of one training run."""
    command = [sys.executable, "-m", "trainer", *(f"{k}={v}" for k, v in settings.items())]
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"PROTEIN_RUN_DIR": folder, "WANDB_MODE": "disabled"}
        before = os.times()
        subprocess.run(
            [*command, *overrides], env=environment, check=False, stderr=subprocess.DEVNULL
        )
        after = os.times()
        result = json.loads((Path(folder) / "result.json").read_text())
    cpu = after.children_user + after.children_system
    cpu -= before.children_user + before.children_system
    return float(result["metrics"].get("reward", float("nan"))), cpu


def main() -> None:
    """Prints one line per trial, then the spread."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("overrides", nargs="*")
    options = parser.parse_intermixed_args()
    random = np.random.default_rng(options.seed)
    rows = []
    for _ in range(options.trials):
        settings = draw(random)
        rows.append((*trial(settings, options.overrides), settings))
    rows.sort(key=lambda row: -row[0])
    print(f"{'score':>8} {'CPU s':>6}  learning_rate  batch  gamma")
    for score, cpu, s in rows:
        print(
            f"{score:8.1f} {cpu:6.1f}  {s['trainer.learning_rate']:13.2g}"
            f"  {s['trainer.batch_size']:6d}  {s['trainer.gamma']:.3f}"
        )


if __name__ == "__main__":
    main()
