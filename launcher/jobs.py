"""From a trial to the job that an executor starts: the contract with a trial's program."""

import json
import os
import re
from pathlib import Path

from launcher.config import SweepConfig
from launcher.folder import SweepFolder
from launcher.ports import Job
from launcher.state import State, Trial

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
        environment=_environment(config, state, trial, attempt, run_dir),
        secrets=_secrets(config),
        nodes=config.task.num_nodes,
        timeout_seconds=config.execution.timeout_seconds,
    )


def _environment(
    config: SweepConfig, state: State, trial: Trial, attempt: int, run_dir: Path
) -> dict[str, str]:
    return {
        **{key: _text(value) for key, value in config.task.envs.items()},
        **_wandb(config, state, trial, run_dir),
        **{f"PROTEIN_PARAM_{_variable(key)}": _text(v) for key, v in trial.params.items()},
        "PROTEIN_PARAMS": str(run_dir / "params.json"),
        "PROTEIN_RUN_ID": trial.run_id,
        "PROTEIN_RUN_DIR": str(run_dir),
        "PROTEIN_ATTEMPT": str(attempt),
        "PROTEIN_CHECKPOINT_DIR": str(run_dir / "checkpoints"),
        "PROTEIN_METRIC": config.sweep.metric,
        "PROTEIN_SWEEP": config.name,
        "PROTEIN_TRIAL": str(trial.number),
    }


def _wandb(config: SweepConfig, state: State, trial: Trial, run_dir: Path) -> dict[str, str]:
    """Return the variables under which a bare `wandb.init()` is right. Offline without a key."""
    wandb = config.wandb
    tags = [f"sweep_id:{state.sweep_id}", f"sweep_name:{config.name}", *wandb.tags]
    project = wandb.project or os.environ.get("WANDB_PROJECT") or "metta"
    entity = wandb.entity or os.environ.get("WANDB_ENTITY")
    return {
        "WANDB_PROJECT": project,
        **({"WANDB_ENTITY": entity} if entity else {}),
        "WANDB_RUN_ID": trial.run_id,
        "WANDB_NAME": trial.run_id,
        "WANDB_RUN_GROUP": wandb.group or config.name,
        "WANDB_JOB_TYPE": "trial",
        "WANDB_TAGS": ",".join(tag[:MAX_TAG_LENGTH] for tag in tags),
        "WANDB_RESUME": "allow",
        "WANDB_DIR": str(run_dir),
        "WANDB_MODE": wandb_mode(config),
        "WANDB_SILENT": "true",
    }


MAX_TAG_LENGTH = 64  # W&B refuses longer tags


def wandb_mode(config: SweepConfig) -> str:
    """Return online, offline or disabled: what the file says, $WANDB_MODE, or by the key."""
    if config.wandb.mode != "auto":
        return config.wandb.mode
    asked = os.environ.get("WANDB_MODE")
    if asked:
        return asked
    return "online" if os.environ.get("WANDB_API_KEY") else "offline"


def _secrets(config: SweepConfig) -> dict[str, str]:
    """Return the secrets that the task names, from this process's environment."""
    return {key: os.environ[key] for key in config.task.secrets if key in os.environ}


def _text(value: object) -> str:
    """Return a value as a program's argument: strings bare, the rest as JSON has it."""
    return value if isinstance(value, str) else json.dumps(value)


def _variable(name: str) -> str:
    return re.sub(r"[^A-Z0-9]", "_", name.upper())
