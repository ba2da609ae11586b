"""Upload later what trials logged offline: `protein-sky sync NAME`.

The client's own uploader replays a log: run id, name, tags, group and sweep are in it. It marks a
log as uploaded with a file beside it, which we read: nothing is uploaded twice. A sweep that was
never online has no W&B sweep yet: it is made once all its runs are there, with these.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from launcher.config import SweepConfig
from launcher.errors import ProteinSkyError, UsageError
from launcher.folder import SweepFolder
from launcher.wandb import offline as wandb_offline
from launcher.wandb.access import KEY_HINT, check_access, has_key
from launcher.wandb.sweep_page import find_or_create_sweep, recorded_sweep

CHUNK = 50
"""Logs in one call of the uploader: few enough for a command line, and for news between calls."""


_NOT_OURS = frozenset(
    {"WANDB_MODE", "WANDB_RUN_ID", "WANDB_SWEEP_ID", "WANDB_SERVICE", "WANDB_CONFIG"}
)


@dataclass(frozen=True, slots=True)
class SyncReport:
    """What became of the logs. `failed` and `running` are for the next time."""

    uploaded: tuple[Path, ...] = ()
    already: tuple[Path, ...] = ()
    failed: tuple[Path, ...] = ()
    empty: tuple[Path, ...] = ()
    running: tuple[Path, ...] = ()
    message: str = ""


def sync(
    folder: SweepFolder,
    config: SweepConfig,
    sweep_id: str,
    *,
    running: Collection[str] = (),
    environ: Mapping[str, str] = os.environ,
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> SyncReport:
    """Upload the offline logs of a sweep that are not uploaded yet, oldest first.

    Logs of trials that run, `running` by run id, still grow: they are left for the next time, for
    the uploader would mark them as done. `progress` is told how many of how many are done.
    Raises UsageError without the right key or without wandb, ProteinSkyError if W&B is away or not
    even one log could be uploaded.
    """
    if trouble := _why_not(environ):
        raise ProteinSkyError(f"W&B: {trouble}", hint="nothing is lost; try again later")
    # The mode and the identity of whoever calls us are not those of the runs.
    kept = {name: value for name, value in environ.items() if name not in _NOT_OURS}
    command = _uploader(kept)
    runs = sorted(folder.path.glob("runs/*"))
    found = [(run, log) for run in runs for log in wandb_offline.logs(run, kind="offline-run")]
    growing = tuple(log for run, log in found if run.name in running)
    logs = [log for run, log in found if run.name not in running]
    already = tuple(log for log in logs if _is_uploaded(log))
    empty = tuple(log for log in logs if log not in already and not _says_anything(log))
    waiting = [log for log in logs if log not in already and log not in empty]
    message = ""
    for start in range(0, len(waiting), CHUNK):
        progress(start, len(waiting))
        message = _upload(command, waiting[start : start + CHUNK], kept) or message
    uploaded = tuple(log for log in waiting if _is_uploaded(log))
    failed = tuple(log for log in waiting if log not in uploaded)
    if failed and not uploaded:
        raise ProteinSkyError(
            f"W&B took none of {len(failed)} offline runs: {message}",
            hint="nothing is lost; try again later",
        )
    if not failed and not growing:
        run_ids = sorted({log.parents[2].name for log in (*uploaded, *already)})
        message = _show_as_sweep(folder, config, sweep_id, environ, run_ids) or message
    return SyncReport(uploaded, already, failed, empty, growing, message)


def _why_not(environ: Mapping[str, str]) -> str:
    """Return why W&B would take nothing now, empty if it would. Raises UsageError for the key."""
    if not has_key(environ):
        raise UsageError("there is no key for W&B", hint=KEY_HINT)
    return check_access(environ)


def _show_as_sweep(
    folder: SweepFolder,
    config: SweepConfig,
    sweep_id: str,
    environ: Mapping[str, str],
    run_ids: Sequence[str],
) -> str:
    """Make the W&B sweep of runs that had none; return why that was not possible."""
    if not run_ids or recorded_sweep(folder) is not None:
        return ""
    try:
        find_or_create_sweep(folder, config, sweep_id, environ, prior_runs=run_ids)
    except Exception as error:  # noqa: BLE001 - the client raises whatever broke inside it
        return f"the runs are there, and no sweep to show them: {type(error).__name__}: {error}"
    return ""


def _uploader(environ: Mapping[str, str]) -> Sequence[str]:
    """Return the command of the new uploader: `wandb sync`, in older clients `wandb beta sync`."""
    if find_spec("wandb") is None:
        hint = "pip install 'protein-sky[wandb]'"
        raise UsageError("uploading needs the wandb package", hint=hint)
    wandb = [sys.executable, "-m", "wandb"]
    words = subprocess.run(
        [*wandb, "sync", "--help"], env=dict(environ), capture_output=True, text=True, check=False
    )
    is_new = "--yes" in words.stdout
    return [*wandb, "sync", "--yes"] if is_new else [*wandb, "beta", "sync", "--skip-synced"]


def _upload(command: Sequence[str], logs: Sequence[Path], environ: Mapping[str, str]) -> str:
    """Upload some logs; return the last words of the uploader if it failed."""
    done = subprocess.run(
        [*command, *map(str, logs)],
        env=dict(environ),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    lines = (done.stdout + done.stderr).strip().splitlines()
    return lines[-1] if done.returncode != 0 and lines else ""


def _is_uploaded(log: Path) -> bool:
    return log.with_name(log.name + ".synced").exists()


def _says_anything(log: Path) -> bool:
    """Whether a log holds more than its header: of a run killed early it may not."""
    return log.stat().st_size > len(wandb_offline.HEADER)
