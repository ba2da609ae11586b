"""Trials' programs under the real client, for tests of everything around W&B."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from launcher.wandb.environment import variables
from tests.launcher.builders import a_config, a_state, queued

PROGRAM = """
import wandb
run = wandb.init()
for value in {values}:
    run.log({{"reward": value, "bad": float("nan")}})
run.finish()
"""
RUN_ID = "demo.abc123.r.1"


def run_trial(
    folder: Path,
    environ: Mapping[str, str],
    *,
    values: tuple[float, ...] = (0.25, 0.75),
    attempt: int = 1,
    program: str = PROGRAM,
    wandb_sweep_id: str | None = "sweep001",
) -> subprocess.CompletedProcess[str]:
    """Run one attempt of the first trial of a sweep in its run folder, as the launcher would."""
    config = a_config()
    state = a_state(config, queued())
    trial = state.trials[1]
    run_dir = folder / "runs" / trial.run_id
    run_dir.mkdir(parents=True, exist_ok=True)
    inherited = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    known = {**inherited, "HOME": str(folder), **environ}
    wandb = variables(
        config, state, trial, attempt, run_dir, environ=known, wandb_sweep_id=wandb_sweep_id
    )
    return subprocess.run(
        [sys.executable, "-c", program.format(values=values)],
        env={**known, **wandb},
        cwd=run_dir,
        capture_output=True,
        text=True,
        check=False,
    )
