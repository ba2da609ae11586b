"""From a sweep's config to its executor on SkyPilot, and to what that can offer."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from launcher.budget import Offer
from launcher.config import SweepConfig
from launcher.errors import UsageError
from launcher.executors.skypilot import prices, wheel, wrapping
from launcher.executors.skypilot.executor import SkyPilotExecutor
from launcher.executors.skypilot.outcomes import SET_UP_SECONDS
from launcher.executors.skypilot.placing import PREFIX, Placing, Settings
from launcher.executors.skypilot.prices import Price
from launcher.executors.skypilot.resources import resources_of
from launcher.executors.skypilot.sdk import RealSky
from launcher.files import write_atomic
from launcher.sweepfile.infra import Infra

PARALLEL = 8
"""Trials at once where the sweep does not say: what a local API server carries with ease."""

START_SECONDS = 120.0
"""From the end of a trial to the next one on a warm cluster if it is asked for then, at most
(measured: docs/skypilot.md). Longer trials lose little, and the optimizer knows more by waiting."""

OWN_POOL = "own"
WHEELS = "~/.protein-sky/wheels"
STORAGE = "~/.protein-sky/storage"
_BUCKETS = ("s3://", "gs://", "r2://", "cos://", "oci://", "https://")
_ONE_LAUNCH_AT_A_TIME = ("slurm",)
"""Clusters that start together on one Slurm node race for a port of SkyPilot 0.14, and lose."""


def placing_of(config: SweepConfig) -> Placing:
    """Return how the sweep uses SkyPilot, where it does not say so itself: what suits its cloud.

    An allocation on Slurm or a reserved node is waited for once and used again; elsewhere the jobs
    controller launches again after a preemption, wherever there is room.
    """
    if config.execution.mode != "auto":
        return config.execution.mode
    if config.execution.pool:
        return "managed_jobs"
    return "reused_clusters" if config.execution.cloud in ("slurm", "ssh") else "managed_jobs"


def executor(folder: Path, config: SweepConfig, prefix: str) -> SkyPilotExecutor:
    """Return the executor of a sweep whose job names begin with `prefix`.

    Raises UsageError for a task that cannot be.
    """
    pool = config.execution.pool
    storage, mounts = _storage(config.execution.storage)
    settings = Settings(
        placing=placing_of(config),
        prefix=prefix,
        task=task_of(folder, config, mounts),
        workers=config.parallel or PARALLEL,
        idle_minutes=config.execution.idle_minutes,
        storage=storage,
        pool=f"{PREFIX}{prefix}pool" if pool == OWN_POOL else pool,
        is_pool_ours=pool == OWN_POOL,
        launches=1 if config.execution.cloud in _ONE_LAUNCH_AT_A_TIME else 4,
    )
    return SkyPilotExecutor(folder, RealSky(), settings)


def task_of(folder: Path, config: SweepConfig, mounts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the user's task as SkyPilot's mapping, all but name, nodes and run section.

    A setup that installs protein-sky finds the running code first, without any registry.
    """
    task = config.task
    made: dict[str, Any] = {
        "resources": resources_of(config),
        "envs": dict(task.envs),
        "file_mounts": {**task.file_mounts, **mounts},
    }
    if task.workdir is not None:
        made["workdir"] = str(Path(task.workdir).expanduser().resolve())
    if task.setup:
        made["setup"] = task.setup
        if "protein-sky" in task.setup or "protein_sky" in task.setup:
            built = wheel.build(folder / "wheels").resolve()
            made["file_mounts"][f"{WHEELS}/{built.name}"] = str(built)
            made["setup"] = f"{_pinned(built)}\n{task.setup}"
    if task.volumes:
        made["volumes"] = task.volumes
    if own := _with_hook(task.config, made["resources"]):
        made["config"] = own
    return made


def _with_hook(own: Mapping[str, Any], resources: Mapping[str, Any]) -> dict[str, Any]:
    """Return the task's `config` with our hook, which asks trials for a checkpoint.

    SkyPilot 0.14 runs it in pods alone, and asks each machine with a hook before it takes it down:
    elsewhere that would be seconds for nothing.
    """
    choices = resources.get("any_of") or resources.get("ordered") or [resources]
    places = {Infra.of(choice).cloud or Infra.of(resources).cloud for choice in choices}
    if places.isdisjoint({None, "kubernetes"}):
        return dict(own)
    hook = {
        "run": wrapping.PREEMPTION_HOOK,
        "events": ["preemption"],
        "timeout": wrapping.PREEMPTION_SECONDS,
    }
    return {**own, "hooks": [*(own.get("hooks") or ()), hook]}


def offer(folder: Path, config: SweepConfig) -> Offer:
    """Return what SkyPilot's catalogue offers, as it was when the sweep was first looked at.

    Raises UsageError where nobody knows a price and the sweep has a budget in dollars.
    """
    found = price_of(folder, config)
    usd = found.most_usd_per_hour
    if usd is None and config.budget.usd is not None:
        raise UsageError(
            "budget.usd is set, and nobody knows what the machines cost",
            hint="say it: execution.price_usd_per_hour, for one trial with all its machines",
        )
    idle_seconds = config.execution.idle_minutes * 60.0
    return Offer(
        price_usd_per_hour=usd or 0.0,
        gpus=found.gpus,
        parallel=PARALLEL,
        overhead_seconds=SET_UP_SECONDS + idle_seconds,
        start_seconds=START_SECONDS if _has_turns(config) else 0.0,
    )


def _has_turns(config: SweepConfig) -> bool:
    """Whether trials wait for each other on their machine, and not beside each other."""
    return placing_of(config) == "reused_clusters" and config.task.num_nodes == 1


def price_of(folder: Path, config: SweepConfig) -> Price:
    """Return the price that the sweep was planned with; ask SkyPilot for it once."""
    path = folder / "price.json"
    resources, nodes = resources_of(config), config.task.num_nodes
    asked = {"resources": resources, "nodes": nodes}
    override = config.execution.price_usd_per_hour
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
        if known["asked"] == asked and known["price"]["override_usd_per_hour"] == override:
            return Price.from_mapping(known["price"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    found = prices.price(resources, nodes, override_usd_per_hour=override)
    if folder.is_dir():
        write_atomic(path, json.dumps({"asked": asked, "price": found.to_mapping()}))
    return found


def _pinned(built: Path) -> str:
    """Return the bash after which pip and uv take `protein-sky` from our wheel, and no other.

    Its version has our hash in it, which no registry can have: a stranger's higher version under
    our name would win otherwise.
    """
    home, version = f"$HOME{WHEELS[1:]}", built.name.split("-")[1]
    return f"""\
export PIP_FIND_LINKS="{home}" UV_FIND_LINKS="{home}"
echo 'protein-sky=={version}' >"{home}/{version}.txt"
export PIP_CONSTRAINT="{home}/{version}.txt${{PIP_CONSTRAINT:+ $PIP_CONSTRAINT}}"
export UV_CONSTRAINT="{home}/{version}.txt${{UV_CONSTRAINT:+ $UV_CONSTRAINT}}\""""


def _storage(where: str | None) -> tuple[str | None, dict[str, Any]]:
    """Return the folder on the machines where run folders go, and what mounts it."""
    if where is None or not where.startswith(_BUCKETS):
        return where, {}
    return STORAGE, {STORAGE: {"source": where, "mode": "MOUNT"}}
