"""The files of a sweep that people and trials read. They are written from the state, never read
back into it, and written again before each attempt: losing them loses nothing."""

import json
from pathlib import Path
from typing import Any

from launcher.config import SweepConfig, trial_config, trial_parameters
from launcher.files import write_atomic
from launcher.folder import SweepFolder
from launcher.ports import Job
from launcher.standing import Standing
from launcher.state import State, Trial
from launcher.sweepfile import yamlio
from launcher.wandb import environment as wandb_environment
from launcher.wandb import settings_file


def write_sweep(folder: SweepFolder, config: SweepConfig, state: State) -> None:
    """Write `config.yaml`: the sweep as it is run, everything merged, defaults spelled out."""
    facts = {"sweep_id": state.sweep_id, "created_at": state.created_at}
    _write(folder.path / "config.yaml", yamlio.dump({**facts, **config.to_mapping()}))


def write_nodes(folder: SweepFolder, num_nodes: int, *, is_over: bool) -> None:
    """Write `nodes.yaml`: whether workers that were started by hand have more to wait for."""
    _write(folder.nodes, yamlio.dump({"num_nodes": num_nodes, "is_over": is_over}))


def write_trial(
    folder: SweepFolder, config: SweepConfig, state: State, trial: Trial, standing: Standing
) -> None:
    """Write what a trial reads, and what people want to know about how it came to be."""
    run = folder.run(trial.run_id)
    (run / "checkpoints").mkdir(parents=True, exist_ok=True)
    wandb_environment.use_dir(config, run)
    params = trial_parameters(config, trial.params)
    _write(run / "params.json", json.dumps(params, indent=1, allow_nan=False) + "\n")
    overrides = {"run": trial.run_id, **trial_config(config, trial.params)}
    _write(run / "train_config_overrides.yaml", yamlio.dump(overrides))
    suggestion = {"run_id": trial.run_id, "origin": trial.origin.value, "params": trial.params}
    _write(run / "protein_suggestion.yaml", yamlio.dump({**suggestion, "info": trial.info}))
    _write(run / "protein_state.yaml", yamlio.dump(_optimizer_state(config, state, standing)))


def write_job(folder: SweepFolder, job: Job) -> None:
    """Write `dist_<id>.yaml`, how the nodes of one attempt find their trial, and W&B's settings."""
    facts = {"run": job.run_id, "attempt": job.attempt, "num_nodes": job.nodes}
    _write(folder.run(job.run_id) / f"dist_{job.name}.yaml", yamlio.dump(facts))
    settings_file.write(job.run_dir, job.environment)


def _optimizer_state(config: SweepConfig, state: State, standing: Standing) -> dict[str, Any]:
    """Return what the optimizer knew: counts and the best of its Pareto front."""
    best = [state.trials[number] for _, _, number in standing.front[-FRONT_SHOWN:]]
    return {
        "method": config.sweep.method,
        "goal": config.sweep.goal,
        "seed": config.sweep.seed,
        "num_suggestions": len(state.trials),
        "num_observations": standing.observations,
        "num_failures": standing.failures,
        "num_pending": state.num_open,
        "pareto_front": [
            {"score": t.score, "cost_seconds": t.cost_seconds, "params": t.params} for t in best
        ],
    }


FRONT_SHOWN = 8
"""Points of the front in each trial's file: a front of hundreds would take longer than the rest."""


def _write(path: Path, text: str) -> None:
    write_atomic(path, text, is_durable=False)  # written again before each attempt
