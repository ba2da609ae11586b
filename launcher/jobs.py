"""From a trial to the job that an executor starts: the contract with a trial's program."""

import json
import os
import re
from pathlib import Path

from launcher.config import SweepConfig
from launcher.folder import SweepFolder
from launcher.ports import Job
from launcher.state import State, Trial
from launcher.sweepfile.parameters import variable
from launcher.wandb import environment as wandb_environment
from launcher.wandb.sweep_page import recorded_sweep

_ARGS = re.compile(r"\$\{args\}|\$args\b")


def make_job(
    folder: SweepFolder, config: SweepConfig, state: State, trial: Trial, attempt: int, name: str
) -> Job:
    """Return the job of one attempt.

    `${args}` in `task.run` becomes bash's `"$@"`: values are never part of the script.
    """
    run_dir = folder.run(trial.run_id).resolve()
    return Job(
        name=name,
        run_id=trial.run_id,
        attempt=attempt,
        run_dir=run_dir,
        workdir=Path(config.task.workdir or ".").resolve(),
        script=_ARGS.sub('"$@"', config.task.run),
        arguments=tuple(f"--{key}={_text(value)}" for key, value in trial.params.items()),
        environment=_environment(config, state, trial, attempt, run_dir, recorded_sweep(folder)),
        secrets=secrets_of(config),
        nodes=config.task.num_nodes,
        timeout_seconds=config.execution.timeout_seconds,
        stall_seconds=config.execution.stall_seconds,
    )


def _environment(
    config: SweepConfig,
    state: State,
    trial: Trial,
    attempt: int,
    run_dir: Path,
    wandb_sweep_id: str | None,
) -> dict[str, str]:
    wandb = wandb_environment.variables(
        config, state, trial, attempt, run_dir, wandb_sweep_id=wandb_sweep_id
    )
    price = trial.attempt.price_usd_per_hour if trial.attempt is not None else 0.0
    return {
        **{key: _text(value) for key, value in config.task.envs.items()},
        **wandb,
        **({"PROTEIN_PRICE_USD_PER_HOUR": repr(price)} if price else {}),
        **{variable(key): _text(v) for key, v in trial.params.items()},
        "PROTEIN_PARAMS": str(run_dir / "params.json"),
        "PROTEIN_RUN_ID": trial.run_id,
        "PROTEIN_RUN_DIR": str(run_dir),
        "PROTEIN_ATTEMPT": str(attempt),
        "PROTEIN_CHECKPOINT_DIR": str(run_dir / "checkpoints"),
        "PROTEIN_METRIC": config.sweep.metric,
        "PROTEIN_SWEEP": config.name,
        "PROTEIN_TRIAL": str(trial.number),
    }


def secrets_of(config: SweepConfig) -> dict[str, str]:
    """Return the secrets that the task names, from this process's environment, and W&B's key."""
    named = {key: os.environ[key] for key in config.task.secrets if key in os.environ}
    return {**wandb_environment.secrets(config), **named}


def _text(value: object) -> str:
    """Return a value as a program's argument: strings bare, the rest as JSON has it."""
    return value if isinstance(value, str) else json.dumps(value)
