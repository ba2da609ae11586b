"""Is everything as it should be? What the environment offers, and the ledger against reality."""

import math
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal

from launcher import policy, restore, sweep
from launcher.budget import spent_usd
from launcher.config import from_mapping
from launcher.errors import DamageError, ProteinSkyError
from launcher.executors.skypilot import readiness, team
from launcher.folder import SweepFolder, all_sweeps, find
from launcher.journal import Journal
from launcher.ports import Phase
from launcher.reading import state_of
from launcher.state import State
from launcher.wandb.access import check_access, has_key

Level = Literal["ok", "note", "error"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. `hint` says what to do where it is not ok."""

    level: Level
    subject: str
    text: str
    hint: str = ""

    def __str__(self) -> str:
        mark = {"ok": "✓", "note": "•", "error": "✗"}[self.level]
        hint = f"\n    hint: {self.hint}" if self.hint else ""
        return f"{mark} {self.subject}: {self.text}{hint}"

    def to_mapping(self) -> dict[str, Any]:
        """Return it as a JSON-able mapping."""
        return asdict(self)


EXTRAS = {
    "torch": ("trainer", "the shipped trainer"),
    "wandb": ("wandb", "logging to Weights & Biases"),
    "plotly": ("report", "the HTML report"),
    "skypilot": ("sky", "clouds, Kubernetes and Slurm"),
}


def environment() -> list[Finding]:
    """Look at Python and at what the extras would add."""
    found = [Finding("ok", "python", sys.version.split()[0])]
    if shutil.which("bash") is None:
        found.append(Finding("error", "bash", "not found", "trials are bash scripts: install it"))
    for package, (extra, purpose) in EXTRAS.items():
        try:
            found.append(Finding("ok", package, version(package)))
        except PackageNotFoundError:
            hint = f"for {purpose}: pip install 'protein-sky[{extra}]'"
            found.append(Finding("note", package, "not installed", hint))
    if readiness.installed_version() is not None:
        found.append(_skypilot())
    found.append(_wandb_access())
    return found


def _skypilot() -> Finding:
    """Whether SkyPilot's version fits, and which clouds its last check or its server found."""
    where = team.endpoint()
    try:
        readiness.check_installed()
        clouds = team.clouds() if where else readiness.enabled_clouds()
    except ProteinSkyError as error:
        return Finding("error", "SkyPilot", error.message, error.hint)
    if not clouds:
        unknown = "its clouds cannot be told" if clouds is None else "may use no cloud yet"
        return Finding("note", "SkyPilot", unknown, "sky check")
    at = f" at {where}" if where else ""
    return Finding("ok", "SkyPilot", f"may use {', '.join(clouds)}{at}")


def _wandb_access() -> Finding:
    """Whether trials of a sweep that says nothing about W&B would log online, and may."""
    if not has_key():
        hint = "to log online: set WANDB_API_KEY, or run `wandb login`"
        return Finding("note", "W&B", "no key: trials log offline", hint)
    try:
        trouble = check_access()
    except ProteinSkyError as error:
        return Finding("error", "W&B", error.message, error.hint)
    return Finding("note" if trouble else "ok", "W&B", trouble or "the key is accepted")


def has_sweeps() -> bool:
    """Whether there is a sweep to look at."""
    return bool(all_sweeps())


def of_named(name: str | None) -> list[Finding]:
    """Look at the named sweep, or at the latest one.

    Raises NotFoundError.
    """
    try:
        return of_sweep(find(name))
    except DamageError as error:
        return [Finding("error", name or "", error.message, error.hint)]


def of_sweep(folder: SweepFolder) -> list[Finding]:
    """Compare the ledger of a sweep with what its executor says runs."""
    damage = restore.is_damaged(folder.database)
    if damage:
        hint = f"protein-sky doctor {folder.name} --restore"
        return [Finding("error", folder.name, f"its database is damaged: {damage}", hint)]
    try:
        with Journal(folder.database) as journal:
            state = state_of(folder, journal)  # every event, and its checksum
    except ProteinSkyError as error:
        return [Finding("error", folder.name, error.message, error.hint)]
    found = [Finding("ok", folder.name, f"{len(state.trials)} trials, {state.mode}")]
    return [*found, *_differences(folder, state), *_bill(state)]


def _differences(folder: SweepFolder, state: State) -> Iterator[Finding]:
    try:
        running = set(_running(folder, state))
    except ProteinSkyError as error:
        yield Finding("error", folder.name, error.message, error.hint)
        return
    ours = {t.attempt.job_name: t for t in state.live_trials if t.attempt is not None}
    for name in sorted(running - set(ours)):
        hint = f"protein-sky reap {folder.name}"
        yield Finding("error", name, "runs, and the ledger does not know why", hint)
    for name, trial in sorted(ours.items()):
        if name in running:
            yield Finding("ok", name, f"trial {trial.number} runs")
        else:
            hint = f"protein-sky resume {folder.name}" if not sweep.is_live(folder) else ""
            text = f"trial {trial.number} should run and does not; its result is still to be read"
            yield Finding("note", name, text, hint)
    if state.live and not sweep.is_live(folder):
        hint = f"protein-sky resume {folder.name}"
        yield Finding("note", folder.name, "trials run and no coordinator lives", hint)


def _bill(state: State) -> Iterator[Finding]:
    """Hold the dollars of the ledger against SkyPilot's own report."""
    from launcher.executors.skypilot.costs import bill_of

    config = from_mapping(state.config)
    jobs = [attempt.job_name for trial in state.ordered for attempt in trial.attempts]
    if not sweep.is_elsewhere(config) or not jobs:
        return
    now = time.time()
    days = math.ceil((now - state.created_at) / 86_400) + 1
    try:
        bill = bill_of(policy.job_prefix(config, state), jobs, days=days)
    except ProteinSkyError as error:
        yield Finding("note", "cost", error.message, "sky cost-report")
        return
    ours = spent_usd(state, now)
    text = f"{ours:.2f} USD in the ledger, {bill.usd:.2f} USD of {bill.clusters} clusters"
    unpriced = f", {bill.unpriced} without a price" if bill.unpriced else ""
    is_near = abs(ours - bill.usd) <= max(BILL_TOLERANCE_USD, BILL_TOLERANCE * max(ours, bill.usd))
    hint = "" if is_near else "SkyPilot counts by today's prices: sky cost-report --all"
    level: Level = "ok" if is_near else "note"
    yield Finding(level, "cost", f"{text} in SkyPilot's report{unpriced}", hint)


BILL_TOLERANCE = 0.25
BILL_TOLERANCE_USD = 0.05
"""Prices move, and SkyPilot counts from another second: below these two agree."""


def orphans(folder: SweepFolder) -> list[str]:
    """Return the jobs of a sweep that run and that its ledger does not keep."""
    state = sweep.read(folder)
    ours = {t.attempt.job_name for t in state.live_trials if t.attempt is not None}
    return sorted(set(_running(folder, state)) - ours)


def reap(folder: SweepFolder, jobs: list[str]) -> None:
    """End these jobs, and return when they are gone."""
    world = sweep.connect(folder, from_mapping(sweep.read(folder).config))
    world.executor.cancel(jobs)
    while any(
        outcome.phase in (Phase.PENDING, Phase.RUNNING)
        for outcome in world.executor.poll(jobs).values()
    ):
        world.clock.sleep(world.poll_seconds)


def _running(folder: SweepFolder, state: State) -> list[str]:
    """Return what the executor says runs under the sweep's name."""
    config = from_mapping(state.config)
    world = sweep.connect(folder, config)
    return list(world.executor.names(policy.job_prefix(config, state)))
