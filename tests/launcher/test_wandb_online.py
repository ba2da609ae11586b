"""Whole sweeps: real coordinator, real processes, the real client, a stand-in for W&B's server."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from launcher.budget import Offer
from launcher.coordinator import Coordinator, World
from launcher.events import EndReason, Failure, SweepCreated
from launcher.executors.local import LocalExecutor
from launcher.folder import SweepFolder
from launcher.journal import JournalWriter
from launcher.optimizer import ask
from launcher.state import State, TrialState, apply, fold
from launcher.sweep import SystemClock
from launcher.wandb.metrics import metrics_of
from launcher.wandb.sweep_page import find_or_create_sweep
from tests.launcher.builders import a_config
from tests.wandb_server.server import WandbServer, wandb_server

TRAIN = """
import os, wandb
run = wandb.init()
gamma = run.config["trainer.gamma"]
is_interrupted = DIES and os.environ["PROTEIN_ATTEMPT"] == "1"
run.log({"reward": gamma / 2 if is_interrupted else gamma})
if is_interrupted:
    os.kill(os.getpid(), 15)
run.finish()
"""


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WandbServer]:
    with wandb_server() as running:
        for name, value in {"HOME": str(tmp_path), **running.environ}.items():
            monkeypatch.setenv(name, value)
        yield running
        assert running.errors == []


def run_sweep(folder: SweepFolder, *, dies: bool = False, **changes: Any) -> State:
    program = folder.path / "train.py"
    program.parent.mkdir(parents=True, exist_ok=True)
    program.write_text(TRAIN.replace("DIES", str(dies)))
    config = a_config(
        task={"run": f"python {program}"}, execution={"retry_delay_seconds": 0.0}, **changes
    )
    with JournalWriter(folder.database, now=time.time()) as journal:
        state = fold(journal.read())
        if state is None:
            created = SweepCreated("abcd", config.to_mapping(), "0")
            state = apply(None, journal.append(created, time.time()))
        clock = SystemClock()
        metrics = metrics_of(config, clock.now)
        executor = LocalExecutor(folder.path)
        world = World(executor, metrics, clock, Offer(parallel=2), ask, poll_seconds=0.1)
        return Coordinator(folder, journal, state, world).run()


def test_every_trial_is_a_run_of_the_sweep_with_its_own_parameters(
    server: WandbServer, tmp_path: Path
) -> None:
    folder = SweepFolder(tmp_path / "demo")
    find_or_create_sweep(folder, a_config(), "abcd")
    state = run_sweep(folder, trials=2)
    assert state.end is EndReason.COMPLETED
    assert set(server.store.runs) == {trial.run_id for trial in state.ordered}
    for trial in state.ordered:
        run = server.store.runs[trial.run_id]
        assert trial.state is TrialState.SUCCEEDED
        assert trial.score == run.summary["reward"] == trial.params["trainer.gamma"]
        assert {name: run.values[name] for name in trial.params} == trial.params
        assert (run.project, run.group, run.sweep) == ("metta", "demo", "sweep001")
        assert run.tags == ["sweep_id:abcd", "sweep_name:demo"]
        assert run.state == "finished"


def test_a_trial_that_went_on_elsewhere_is_the_same_run(
    server: WandbServer, tmp_path: Path
) -> None:
    folder = SweepFolder(tmp_path / "demo")
    state = run_sweep(folder, dies=True, trials=1)
    trial = state.trials[1]
    assert [a.failure for a in trial.attempts] == [Failure.PREEMPTED, None]
    (run,) = server.store.runs.values()
    assert trial.score == trial.params["trainer.gamma"] == run.summary["reward"]
    assert run.values["protein"]["attempt"] == 2
    assert json.loads(run.history[-1])["reward"] == trial.score
    assert "RunResumeStatus" in server.operations


def test_offline_a_sweep_gets_its_scores_from_the_logs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("WANDB_API_KEY", "WANDB_BASE_URL", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    state = run_sweep(SweepFolder(tmp_path / "demo"), trials=2)
    assert [t.score for t in state.ordered] == [t.params["trainer.gamma"] for t in state.ordered]


def test_logs_lie_where_the_user_wants_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("WANDB_API_KEY", "WANDB_BASE_URL", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("WANDB_DIR", str(tmp_path / "scratch"))
    state = run_sweep(SweepFolder(tmp_path / "demo"), trials=1)
    trial = state.trials[1]
    assert trial.score == trial.params["trainer.gamma"]
    (log,) = tmp_path.glob(f"scratch/{trial.run_id}/wandb/offline-run-*/run-*.wandb")
    assert tmp_path / "demo" not in log.resolve().parents
