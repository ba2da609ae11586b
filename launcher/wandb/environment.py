"""A trial's place in W&B as environment variables, under which a bare `wandb.init()` is right.

Project, entity, group, name, id and tags go by W&B's own names; the run's config by `WANDB_LAUNCH`
and `WANDB_CONFIG` (how W&B Launch hands a config over). The client locks it: the run's config shows
the parameters as Protein gave them, whatever the program passes to `wandb.init`, and an `id` or
`project` that the program passes is ignored with a warning. Tried with wandb 0.26.1 and 0.31.0.
The same stands in a settings file of the trial, see `settings_file`, for programs that lose theirs.
"""

import contextlib
import hashlib
import json
import os
import socket
import subprocess
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal

from launcher.config import SweepConfig
from launcher.executors.skypilot.resources import resources_of
from launcher.state import State, Trial
from launcher.wandb import settings_file
from launcher.wandb.access import DEFAULT_BASE_URL, api_key, base_url, can_connect, has_key

Mode = Literal["online", "offline", "disabled"]

DEFAULT_PROJECT = "metta"
MAX_TAG_LENGTH = 64  # W&B refuses longer tags
MAX_NAME_LENGTH = 128  # and longer ids, names and groups
_HASH_LENGTH = 8
_SPELLINGS: Mapping[str, Mode] = {"dryrun": "offline", "run": "online", "shared": "online"}


def variables(
    config: SweepConfig,
    state: State,
    trial: Trial,
    attempt: int,
    run_dir: Path,
    *,
    environ: Mapping[str, str] = os.environ,
    wandb_sweep_id: str | None = None,
    is_reachable: Callable[[Mapping[str, str]], bool] = lambda environ: can_connect(environ),
) -> dict[str, str]:
    """Return the variables of one attempt. `wandb_sweep_id`: the W&B sweep that shows the run.

    A trial that starts while W&B is away logs offline: online, `wandb.init` would end it after
    90 s. `protein-sky sync` uploads it later.
    """
    mode = resolve_mode(config, environ)
    if mode == "online" and not is_reachable(environ):
        mode = "offline"
    team, url = entity(config, environ), base_url(environ)
    run_config = {**trial.params, "protein": provenance(config, state, trial, attempt)}
    return {
        "WANDB_PROJECT": project(config, environ),
        **({"WANDB_ENTITY": team} if team else {}),
        **({"WANDB_BASE_URL": url} if url != DEFAULT_BASE_URL else {}),
        **_config_dir(config, run_dir, environ),
        **({"WANDB_SWEEP_ID": wandb_sweep_id} if wandb_sweep_id else {}),
        "WANDB_RUN_ID": trial.run_id,
        "WANDB_NAME": trial.run_id,
        "WANDB_RUN_GROUP": shortened(config.wandb.group or config.name, MAX_NAME_LENGTH),
        "WANDB_JOB_TYPE": "trial",
        "WANDB_TAGS": ",".join(tags(config, state.sweep_id)),
        **({"WANDB_RESUME": "allow"} if mode == "online" else {}),
        "WANDB_DIR": str(run_dir),
        "WANDB_MODE": mode,
        "WANDB_SILENT": "true",
        "WANDB_LAUNCH": "true",
        "WANDB_CONFIG": json.dumps(run_config),
        # Write the log out while the run goes on, so that a killed run keeps its data. Clients
        # before 0.31 do not know it and keep what filled whole blocks of 32 KiB.
        "WANDB_X_TRANSACTION_LOG_FLUSH_INTERVAL": "0.5",
    }


def project(config: SweepConfig, environ: Mapping[str, str] = os.environ) -> str:
    """Return the W&B project of a sweep."""
    return config.wandb.project or _asked(config, environ, "WANDB_PROJECT") or DEFAULT_PROJECT


def entity(config: SweepConfig, environ: Mapping[str, str] = os.environ) -> str | None:
    """Return the user or team that a sweep's project belongs to; None: W&B knows by the key."""
    return config.wandb.entity or _asked(config, environ, "WANDB_ENTITY")


def _asked(config: SweepConfig, environ: Mapping[str, str], variable: str) -> str | None:
    return config.task.envs.get(variable) or settings_file.asked(environ, variable)


def _config_dir(
    config: SweepConfig, run_dir: Path, environ: Mapping[str, str]
) -> Mapping[str, str]:
    """Point to the trial's settings file, unless that would hide one of the user's.

    On other machines this is looked at there.
    """
    name = settings_file.CONFIG_DIR
    runs_here = config.execution.cloud == "local"
    is_users = runs_here and os.access(settings_file.global_file(environ), os.R_OK)
    if name in config.task.envs or is_users:
        return {}
    return {name: str((run_dir / settings_file.SETTINGS).parent)}


def tags(config: SweepConfig, sweep_id: str) -> Sequence[str]:
    """Return a trial's tags, each short enough for W&B and none of them cut to equal another."""
    wanted = [f"sweep_id:{sweep_id}", f"sweep_name:{config.name}", *config.wandb.tags]
    return [shortened(tag, MAX_TAG_LENGTH) for tag in dict.fromkeys(wanted)]


def shortened(text: str, length: int) -> str:
    """Return the text, or its beginning and a hash of the whole: different texts stay different."""
    if len(text) <= length:
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()[:_HASH_LENGTH]
    return f"{text[: length - _HASH_LENGTH - 1]}~{digest}"


def provenance(config: SweepConfig, state: State, trial: Trial, attempt: int) -> dict[str, Any]:
    """Return where a run comes from: W&B itself adds the host and its hardware.

    The machine is the one that was asked for; on this cloud or that it gets its name later.
    """
    latest = trial.attempt
    runs_here = config.execution.cloud == "local"
    return {
        "sweep": config.name,
        "sweep_id": state.sweep_id,
        "trial": trial.number,
        "attempt": attempt,
        "origin": trial.origin.value,
        "commit": _commit_once(Path(config.task.workdir or ".")),
        "cloud": config.execution.cloud,
        "machine": socket.gethostname() if runs_here else resources_of(config),
        "price_usd_per_hour": latest.price_usd_per_hour if latest is not None else None,
    }


def commit(folder: Path) -> str | None:
    """Return the commit that a folder is at, None where there is no git."""
    command = ["git", "-C", str(folder), "rev-parse", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None


_commit_once = cache(commit)  # trial after trial starts from the same folder


def use_dir(config: SweepConfig, run_dir: Path, environ: Mapping[str, str] = os.environ) -> None:
    """Let W&B's part of a run folder lie in the user's $WANDB_DIR.

    It is linked, so that results are found there also by who does not know the variable. Where
    that cannot be, it stays in the run folder.
    """
    wanted, here = _asked(config, environ, "WANDB_DIR"), run_dir / "wandb"
    if not wanted or config.execution.cloud != "local" or here.exists():
        return
    there = Path(wanted).expanduser().resolve() / run_dir.name / "wandb"
    with contextlib.suppress(OSError):
        there.mkdir(parents=True, exist_ok=True)
        here.symlink_to(there)


def resolve_mode(config: SweepConfig, environ: Mapping[str, str] = os.environ) -> Mode:
    """Return what the file says, else $WANDB_MODE or W&B's settings, else online with a key."""
    if config.wandb.mode != "auto":
        return config.wandb.mode
    asked = (_asked(config, environ, "WANDB_MODE") or "").lower()
    if asked in ("online", "offline", "disabled"):
        return asked  # type: ignore[return-value]  # one of the three
    return _SPELLINGS.get(asked) or ("online" if has_key(environ) else "offline")


def secrets(config: SweepConfig, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return what a trial on another machine needs to reach W&B; nothing unless it is online.

    The key is a secret: it belongs into `Job.secrets`, and is never written anywhere.
    """
    if resolve_mode(config, environ) != "online":
        return {}
    key = api_key(environ)
    return {"WANDB_API_KEY": key} if key else {}
