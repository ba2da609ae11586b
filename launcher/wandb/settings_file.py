"""W&B's settings files: the user's own, and one for each trial.

The client reads `settings` in $WANDB_CONFIG_DIR, or else in ~/.config/wandb, then `wandb/settings`
in the working directory, then the variables; the later counts. So a trial's file in its run folder
makes its run right where variables got lost (a scheduler or a program that starts others with a
clean environment): where only WANDB_CONFIG_DIR came through, and without any variable in a program
that works in the run folder. It holds no secrets. Keys that a client does not know make it refuse
the whole file: these are known from 0.26 to 0.31, and one tag is all that a file can say.
"""

import configparser
import os
from collections.abc import Mapping
from pathlib import Path

from launcher.files import write_atomic

CONFIG_DIR = "WANDB_CONFIG_DIR"
SETTINGS, RUN_CONFIG = "wandb/settings", "wandb/launch.json"
"""A trial's files, inside of its run folder: where it is, and what its run's config shows."""

_KEYS = {
    "WANDB_BASE_URL": "base_url",
    "WANDB_ENTITY": "entity",
    "WANDB_PROJECT": "project",
    "WANDB_RUN_ID": "run_id",
    "WANDB_NAME": "run_name",
    "WANDB_RUN_GROUP": "run_group",
    "WANDB_JOB_TYPE": "run_job_type",
    "WANDB_TAGS": "run_tags",
    "WANDB_SWEEP_ID": "sweep_id",
    "WANDB_MODE": "mode",
    "WANDB_RESUME": "resume",
    "WANDB_SILENT": "silent",
    "WANDB_LAUNCH": "launch",
}


def asked(environ: Mapping[str, str], variable: str) -> str | None:
    """Return what the user wants: the variable, else what their settings files say; None: nothing.

    `wandb login --host`, `wandb init` and `wandb offline` write these files.
    """
    key = variable.removeprefix("WANDB_").lower()
    return environ.get(variable) or _settings_of_user(environ).get(key)


def global_file(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the file of settings that the user has for everything; it need not be there."""
    home = Path(environ.get("HOME") or Path.home())
    named = environ.get(CONFIG_DIR)
    outer_trial = environ.get("PROTEIN_RUN_DIR")
    if not named or (outer_trial and Path(named) == Path(outer_trial, SETTINGS).parent):
        return home / ".config" / "wandb" / "settings"
    return Path(named).expanduser() / "settings"


def write(run_dir: Path, environment: Mapping[str, str]) -> None:
    """Write a trial's file, from the trial's variables. Raises OSError when the disk refuses."""
    said = {key: environment[name] for name, key in _KEYS.items() if name in environment}
    said["run_tags"] = said["run_tags"].partition(",")[0]
    said["launch_config_path"] = str(run_dir / RUN_CONFIG)
    lines = [f"{key} = {value.replace('%', '%%')}" for key, value in said.items()]
    write_atomic(run_dir / SETTINGS, "\n".join(["[default]", *lines, ""]), is_durable=False)
    run_config = f'{{"overrides": {{"run_config": {environment["WANDB_CONFIG"]}}}}}\n'
    write_atomic(run_dir / RUN_CONFIG, run_config, is_durable=False)


def _settings_of_user(environ: Mapping[str, str]) -> dict[str, str]:
    folder = ".wandb" if Path(".wandb").exists() else "wandb"  # as the client chooses
    return _read(global_file(environ)) | _read(Path(folder, "settings"))


def _read(path: Path) -> dict[str, str]:
    parser = configparser.ConfigParser()
    try:
        parser.read(path, encoding="utf-8")
        return dict(parser.items("default"))
    except (OSError, ValueError, configparser.Error):  # the client says what is wrong with it
        return {}
