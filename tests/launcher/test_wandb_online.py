"""Whole sweeps: real coordinator, real processes, the real client, a stand-in for W&B's server."""

import json
import math
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from launcher.budget import Offer
from launcher.coordinator import Coordinator, World
from launcher.errors import UsageError
from launcher.events import EndReason, Failure, SweepCreated
from launcher.executors.local import LocalExecutor
from launcher.executors.simulated import SimulatedRun
from launcher.folder import SweepFolder
from launcher.health import environment
from launcher.journal import JournalWriter
from launcher.optimizer import ask
from launcher.ports import Run
from launcher.state import State, TrialState, apply, fold
from launcher.sweep import SystemClock, create
from launcher.wandb.curves import sources_elsewhere
from launcher.wandb.environment import commit
from launcher.wandb.metrics import RemoteRun, WandbMetrics, from_api, metrics_of
from launcher.wandb.sweep_page import find_or_create_sweep
from tests.launcher.builders import a_config
from tests.launcher.test_coordinator import Lab
from tests.launcher.waiting import eventually
from tests.wandb_server.server import DROP, WandbServer, wandb_server

pytestmark = pytest.mark.timeout(300)  # each client is a process or two

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


def run_sweep(
    folder: SweepFolder, train: str = TRAIN.replace("DIES", "False"), **changes: Any
) -> State:
    program = folder.path / "train.py"
    program.parent.mkdir(parents=True, exist_ok=True)
    program.write_text(train)
    execution = {"retry_delay_seconds": 0.0, "price_usd_per_hour": 0.5}
    config = a_config(
        task={"run": f"python {program}", "workdir": str(folder.path)},
        execution=execution,
        **changes,
    )
    with JournalWriter(folder.database, now=time.time()) as journal:
        state = fold(journal.read())
        if state is None:
            created = SweepCreated("abcd", config.to_mapping(), "0")
            state = apply(None, journal.append(created, time.time()))
        clock = SystemClock()
        metrics = metrics_of(config, clock.now)
        executor = LocalExecutor(folder.path)
        offer = Offer(0.5, parallel=2)
        world = World(executor, metrics, clock, offer, ask, poll_seconds=0.1)
        return Coordinator(folder, journal, state, world).run()


def test_every_trial_is_a_run_of_the_sweep_with_its_own_parameters(
    server: WandbServer, tmp_path: Path
) -> None:
    name = "a-name-as-long-as-a-name-may-be-and-that-is-sixty-three-letters"
    folder = SweepFolder(tmp_path / name)
    find_or_create_sweep(folder, a_config(name=name), "abcd")
    state = run_sweep(folder, name=name, trials=2)
    assert state.end is EndReason.COMPLETED
    assert set(server.store.runs) == {trial.run_id for trial in state.ordered}
    for trial in state.ordered:
        run = server.store.runs[trial.run_id]
        assert trial.state is TrialState.SUCCEEDED
        assert trial.score == run.summary["reward"] == trial.params["trainer.gamma"]
        assert {name: run.values[name] for name in trial.params} == trial.params
        assert (run.project, run.group, run.sweep) == ("metta", name, "sweep001")
        assert run.tags[0] == "sweep_id:abcd"
        assert (run.tags[1][:40], len(run.tags[1])) == (f"sweep_name:{name}"[:40], 64)
        assert run.state == "finished"


def test_a_trial_that_went_on_elsewhere_is_the_same_run(
    server: WandbServer, tmp_path: Path
) -> None:
    folder = SweepFolder(tmp_path / "demo")
    at = a_commit(folder.path)
    state = run_sweep(folder, TRAIN.replace("DIES", "True"), trials=1)
    trial = state.trials[1]
    assert [a.failure for a in trial.attempts] == [Failure.PREEMPTED, None]
    (run,) = server.store.runs.values()
    assert trial.score == trial.params["trainer.gamma"] == run.summary["reward"]
    assert run.values["protein"] == {
        "sweep": "demo",
        "sweep_id": "abcd",
        "trial": 1,
        "attempt": 2,
        "origin": "optimizer",
        "commit": at,
        "cloud": "local",
        "machine": socket.gethostname(),
        "price_usd_per_hour": 0.5,
    }
    assert json.loads(run.history[-1])["reward"] == trial.score
    assert "RunResumeStatus" in server.operations


def a_commit(folder: Path) -> str:
    folder.mkdir(parents=True)
    as_someone = ["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run([*as_someone, "init", "-q"], check=True)
    subprocess.run([*as_someone, "commit", "-q", "--allow-empty", "-m", "x"], check=True)
    return commit(folder) or ""


ELSEWHERE = """
import os, tempfile, wandb
os.environ["WANDB_DIR"] = tempfile.mkdtemp()  # as on a machine whose files nobody brings home
run = wandb.init()
run.define_metric("best", summary="max")
run.define_metric("hidden", summary="none")
for value in (0.25, 0.75, 0.5):
    run.log({"reward": value, "best": value, "hidden": value, "nan": float("nan"),
             "inf": float("-inf"), "eval": {"score": value}, "eval.loss": -value})
run.finish()
"""


def test_what_only_the_service_has_is_read_from_there(server: WandbServer, tmp_path: Path) -> None:
    (trial,) = run_sweep(SweepFolder(tmp_path / "demo"), ELSEWHERE, trials=1).ordered
    assert (trial.state, trial.score) == (TrialState.SUCCEEDED, 0.5)
    found = {}
    for metric in ("hidden", "reward.max", "reward.mean_last_2", "hidden.min"):
        config = a_config(sweep={"metric": metric})
        service = WandbMetrics(from_api(config), time.time, config, start=lambda work: work())
        (result,) = service.read([Run(trial.run_id, tmp_path, 1)]).values()
        found |= result.metrics
    assert math.isnan(found.pop("nan"))
    assert found == {
        "reward": 0.5, "best": 0.75, "best.max": 0.75, "inf": -math.inf, "eval.score": 0.5,
        "eval.loss": -0.5, "hidden": 0.5, "reward.max": 0.75, "reward.mean_last_2": 0.625,
        "hidden.min": 0.25,
    }  # fmt: skip
    (source,) = sources_elsewhere(a_config(wandb={"mode": "online"}), time.time)
    run = Run(trial.run_id, tmp_path, 1)
    curve = eventually(lambda: source.read([run], metric="reward", resource="step")[run.run_id])
    assert curve == ((0.0, 0.25), (1.0, 0.75), (2.0, 0.5))
    (source,) = sources_elsewhere(a_config(wandb={"mode": "online"}), time.time)
    by_seconds = eventually(
        lambda: source.read([run], metric="reward", resource="cost_seconds")[run.run_id]
    )
    assert by_seconds[0][1] == 0.25
    assert 0 <= by_seconds[0][0] <= by_seconds[-1][0] < 600


@pytest.mark.parametrize("place", [ELSEWHERE, "import wandb\nwandb.init().log({'loss': 3.0})"])
def test_a_metric_that_never_appears_is_told_with_those_that_did(
    server: WandbServer, tmp_path: Path, place: str
) -> None:
    state = run_sweep(SweepFolder(tmp_path / "demo"), place, trials=1, sweep={"metric": "rewrad"})
    trial = state.trials[1]
    assert trial.failure is Failure.NO_RESULT
    assert "'rewrad'" in trial.detail
    assert ("eval.score" if place == ELSEWHERE else "loss") in trial.detail


def test_cost_may_be_wandbs_own_measure(server: WandbServer, tmp_path: Path) -> None:
    slow = "import time\n" + TRAIN.replace("DIES", "False").replace(
        "run.finish()", "time.sleep(1.2)\nrun.finish()"
    )
    state = run_sweep(SweepFolder(tmp_path / "demo"), slow, trials=1, sweep={"cost": "wandb"})
    trial = state.trials[1]
    (run,) = server.store.runs.values()
    attempt = trial.attempts[0]
    assert trial.cost_seconds is not None
    assert 1.0 <= trial.cost_seconds < attempt.machine_seconds
    assert trial.cost_seconds == pytest.approx(run.summary["_wandb"]["runtime"], abs=1.0)


@pytest.mark.slow
def test_a_trial_comes_through_a_storm(server: WandbServer, tmp_path: Path) -> None:
    """Each operation fails at first, and each in another way."""
    faults = (429, 500, 502, DROP)
    seen: Counter[str] = Counter()

    def fault(operation: str) -> int | None:
        seen[operation] += 1
        return faults[len(seen) % 4] if seen[operation] == 1 else None

    server.fault = fault
    (trial,) = run_sweep(SweepFolder(tmp_path / "demo"), trials=1).ordered
    (run,) = server.store.runs.values()
    assert (run.state, run.summary["reward"], len(run.history)) == ("finished", trial.score, 1)
    assert {"UpsertBucket", "file_stream"} <= set(seen)


def test_a_wrong_key_is_found_by_doctor_and_before_anything_exists(
    server: WandbServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = {f.subject: f for f in environment()}["W&B"]
    assert (said.level, said.text) == ("ok", "the key is accepted")
    folder = SweepFolder(tmp_path / "demo")
    monkeypatch.setenv("WANDB_API_KEY", "1" * 40)
    said = {f.subject: f for f in environment()}["W&B"]
    assert (said.level, "refuses the key" in said.text) == ("error", True)
    with pytest.raises(UsageError, match="refuses the key"):
        create(folder, a_config())
    monkeypatch.delenv("WANDB_API_KEY")
    with pytest.raises(UsageError, match="no key"):
        create(folder, a_config(wandb={"mode": "online"}))
    assert not folder.path.exists()


def test_a_day_without_wandb_loses_nothing_and_keeps_the_budget(tmp_path: Path) -> None:
    """In virtual time: its trials log there alone, and it is away from the first to the last."""
    changes = {"trials": 20, "parallel": 2, "budget": {"usd": 1.0}}
    config = a_config(execution={"timeout_seconds": 3600.0}, **changes)
    sweep = Lab(tmp_path, config, lambda _job: SimulatedRun(duration_seconds=3600.0))
    asked, back_at = [], sweep.clock.now() + 86_400

    def fetch(run_ids: Sequence[str]) -> Mapping[str, RemoteRun]:
        asked.append(sweep.clock.now())
        if sweep.clock.now() < back_at:
            raise ConnectionError("service process is busy")
        return {name: RemoteRun("finished", {"reward": 0.5}) for name in run_ids}

    metrics = WandbMetrics(fetch, sweep.clock.now, config, start=lambda work: work())
    state = sweep.run(metrics=metrics, offer=Offer(0.25, parallel=2), poll_seconds=300.0)
    assert state.end is EndReason.BUDGET
    # Four would fit if none of them were late in going: with teardown the last could exceed it.
    assert [t.score for t in state.ordered] == [0.5] * 3
    assert state.settled_usd == pytest.approx(0.75)
    assert len(asked) < 24 * 5 + 10


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
