"""The simulated cluster keeps the contract, and its own promises about time and crashes."""

import json
import math
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from launcher.errors import ExecutorError
from launcher.executors.rehearsal import duration_seconds, score
from launcher.executors.simulated import (
    Report,
    SimulatedExecutor,
    SimulatedJob,
    SimulatedRun,
    VirtualClock,
    started_twice,
)
from launcher.metrics import RunFolderMetrics, grown_at
from launcher.ports import Cause, Executor, Job, Phase, Run
from tests.launcher.executor_contract import Cluster, ExecutorContract


class SimulatedCluster(Cluster):
    """Kept in a folder, so that each new executor finds what the others started."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.clock = VirtualClock()
        self.given: dict[str, Job] = {}
        self.started: list[str] = []

    def executor(self) -> Executor:
        return SimulatedExecutor(self.clock, self._run, folder=self.folder / "cluster")

    def _run(self, job: Job) -> SimulatedRun:
        self.started.append(job.name)
        self.given[job.name] = job
        match job.script.split():
            case ["exit", code]:
                return SimulatedRun(duration_seconds=5.0, exit_code=int(code))
            case ["show"]:
                return SimulatedRun(duration_seconds=5.0)
            case ["measure", *_]:
                code = len(job.secrets["CANARY"])
                return SimulatedRun(duration_seconds=5.0, exit_code=code)
            case _:
                return SimulatedRun(duration_seconds=None, lost_after=1e6, cause=Cause.NODE_LOST)

    def script(self, program: str) -> str:
        return program

    def pass_time(self) -> None:
        self.clock.sleep(1.0)

    def lose(self, name: str) -> None:
        self.clock.sleep(1e6)

    def starts(self, job: Job) -> int:
        return self.started.count(job.name)

    def received(self, job: Job) -> tuple[Sequence[str], Mapping[str, str]]:
        given = self.given[job.name]
        return given.arguments, given.environment


class TestContract(ExecutorContract):
    @pytest.fixture
    def cluster(self, tmp_path: Path) -> Cluster:
        return SimulatedCluster(tmp_path)


def _job(folder: Path, name: str = "a-1", **changes: object) -> Job:
    job = Job(name, "a", 1, folder / "runs" / "a", folder, "true")
    return replace(job, **changes)  # type: ignore[arg-type]


def _phases(run: SimulatedRun, folder: Path, *times: float) -> list[Phase]:
    clock = VirtualClock(0.0)
    executor = SimulatedExecutor(clock, lambda _job: run)
    executor.submit(_job(folder))
    phases = []
    for time in times:
        clock.sleep(time - clock.now())
        phases.append(executor.poll(["a-1"])["a-1"].phase)
    return phases


def test_a_job_waits_for_its_machine_then_runs_then_ends(tmp_path: Path) -> None:
    run = SimulatedRun(pending_seconds=10.0, duration_seconds=20.0)
    phases = _phases(run, tmp_path, 0, 9.9, 10, 29.9, 30)
    assert phases == [Phase.PENDING, Phase.PENDING, Phase.RUNNING, Phase.RUNNING, Phase.EXITED]


def test_a_preempted_job_is_lost_with_its_cause(tmp_path: Path) -> None:
    clock = VirtualClock()
    run = SimulatedRun(lost_after=30.0, cause=Cause.PREEMPTED, metrics={"r": 1.0})
    executor = SimulatedExecutor(clock, lambda _job: run)
    executor.submit(_job(tmp_path))
    clock.sleep(60.0)
    outcome = executor.poll(["a-1"])["a-1"]
    assert (outcome.phase, outcome.cause) == (Phase.LOST, Cause.PREEMPTED)
    assert outcome.ended_at == clock.now() - 30.0
    assert not (tmp_path / "runs" / "a" / "result.json").exists()


def test_without_capacity_the_program_never_starts(tmp_path: Path) -> None:
    clock = VirtualClock()
    run = SimulatedRun(pending_seconds=5.0, cause=Cause.NO_CAPACITY)
    executor = SimulatedExecutor(clock, lambda _job: run)
    executor.submit(_job(tmp_path))
    clock.sleep(100.0)
    outcome = executor.poll(["a-1"])["a-1"]
    assert (outcome.phase, outcome.cause) == (Phase.LOST, Cause.NO_CAPACITY)
    assert outcome.started_at is None


def test_a_launch_error_leaves_no_job(tmp_path: Path) -> None:
    executor = SimulatedExecutor(VirtualClock(), lambda _job: SimulatedRun(launch_error="quota"))
    with pytest.raises(ExecutorError, match="quota"):
        executor.submit(_job(tmp_path))
    assert executor.poll(["a-1"])["a-1"].phase is Phase.ABSENT


def test_a_job_cancelled_before_its_machine_came_never_started(tmp_path: Path) -> None:
    clock = VirtualClock()
    executor = SimulatedExecutor(clock, lambda _job: SimulatedRun(pending_seconds=9.0))
    executor.submit(_job(tmp_path))
    executor.cancel(["a-1"])
    clock.sleep(100.0)
    outcome = executor.poll(["a-1"])["a-1"]
    assert (outcome.phase, outcome.started_at) == (Phase.KILLED, None)


def test_the_result_appears_in_the_run_folder_when_the_job_ends(tmp_path: Path) -> None:
    clock, job = VirtualClock(), _job(tmp_path)
    run = SimulatedRun(metrics={"reward": math.nan, "loss": 0.5}, cost_seconds=7.0)
    executor = SimulatedExecutor(clock, lambda _job: run, folder=tmp_path / "cluster")
    executor.submit(job)
    asked = Run(job.run_id, job.run_dir, 1)
    executor.poll([job.name])
    assert RunFolderMetrics().read([asked]) == {}
    clock.sleep(60.0)
    SimulatedExecutor(clock, folder=tmp_path / "cluster").poll([job.name])
    result = RunFolderMetrics().read([asked])["a"]
    assert math.isnan(result.metrics.pop("reward"))
    assert (result.metrics, result.cost_seconds) == ({"loss": 0.5}, 7.0)


def test_reports_appear_once_as_time_passes(tmp_path: Path) -> None:
    clock, job = VirtualClock(0.0), _job(tmp_path)
    run = SimulatedRun(reports=tuple(Report(10.0 * k, k, {"loss": 1 / k}) for k in (1, 2, 3, 9)))
    folder = tmp_path / "cluster"
    SimulatedExecutor(clock, lambda _job: run, folder=folder).submit(job)
    steps = []
    for _ in range(8):
        clock.sleep(10.0)
        SimulatedExecutor(clock, folder=folder).poll([job.name])  # each a restarted coordinator
        lines = (job.run_dir / "metrics.jsonl").read_text().splitlines()
        assert grown_at(job.run_dir) == min(clock.now(), 30.0)
        steps.append([json.loads(line)["step"] for line in lines])
    assert steps[:3] == [[1], [1, 2], [1, 2, 3]]
    assert steps[-1] == [1, 2, 3]  # the fourth would come after its end
    assert len((job.run_dir / "train.log").read_text().splitlines()) == 1


def test_a_faulty_call_raises_and_does_nothing(tmp_path: Path) -> None:
    def fault(method: str, number: int) -> str:
        return "503" if (method, number) == ("submit", 1) else ""

    executor = SimulatedExecutor(VirtualClock(), lambda _job: SimulatedRun(), fault=fault)
    with pytest.raises(ExecutorError, match="503"):
        executor.submit(_job(tmp_path))
    assert executor.names("") == []
    executor.submit(_job(tmp_path))
    assert executor.names("") == ["a-1"]
    assert executor.calls("submit") == 2


def test_two_attempts_alive_at_once_are_told(tmp_path: Path) -> None:
    def job(name: str, at: float) -> SimulatedJob:
        return SimulatedJob(
            name=name,
            run_id="a",
            attempt=1,
            run_dir=str(tmp_path),
            submitted_at=at,
            run=SimulatedRun(duration_seconds=10.0),
        )

    assert started_twice([job("a-1", 0.0), job("a-2", 10.0)]) == []
    assert started_twice([job("a-2", 9.0), job("a-1", 0.0)]) == [("a-1", "a-2")]


def test_the_price_counts_every_node(tmp_path: Path) -> None:
    clock = VirtualClock()
    executor = SimulatedExecutor(clock, lambda _job: SimulatedRun(), price_usd_per_hour=2.5)
    executor.submit(_job(tmp_path, nodes=4))
    assert executor.poll(["a-1"])["a-1"].price_usd_per_hour == 10.0


CRASHING = """
import os, signal, sys
from pathlib import Path
from launcher.executors.simulated import SimulatedExecutor, SimulatedRun, VirtualClock
from launcher.ports import Job
folder = Path(sys.argv[1])
clock = VirtualClock(path=folder / "time")
executor = SimulatedExecutor(clock, lambda job: SimulatedRun(), folder=folder / "cluster")
executor.submit(Job("a-1", "a", 1, folder / "runs" / "a", folder, "true"))
clock.sleep(20.0)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_the_cluster_and_its_time_outlive_a_killed_coordinator(tmp_path: Path) -> None:
    command = [sys.executable, "-c", CRASHING, str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run(command, env=environment, check=False).returncode == -9
    clock = VirtualClock(path=tmp_path / "time")
    executor = SimulatedExecutor(clock, folder=tmp_path / "cluster")
    outcome = executor.poll(["a-1"])["a-1"]
    assert (outcome.phase, outcome.started_at) == (Phase.RUNNING, clock.now() - 20.0)


def test_a_rehearsal_depends_on_every_parameter_and_repeats_itself(tmp_path: Path) -> None:
    params = {"trainer.learning_rate": 1e-3, "trainer.batch_size": 64, "activation": "relu"}
    changed = {"trainer.learning_rate": 2e-3, "trainer.batch_size": 128, "activation": "tanh"}
    assert score(params) == score(dict(reversed(params.items())))
    for name, value in changed.items():
        assert score({**params, name: value}) != score(params)
        assert duration_seconds({**params, name: value}) != duration_seconds(params)


def test_a_rehearsal_scores_the_parameter_file_under_the_sweeps_metric(tmp_path: Path) -> None:
    clock = VirtualClock()
    executor = SimulatedExecutor(clock)
    (tmp_path / "params.json").write_text('{"x": 0.25}')
    variables = {"PROTEIN_PARAMS": str(tmp_path / "params.json"), "PROTEIN_METRIC": "reward"}
    job = _job(tmp_path, environment=variables)
    executor.submit(job)
    clock.sleep(10_000.0)
    executor.poll([job.name])
    result = RunFolderMetrics().read([Run("a", job.run_dir, 1)])["a"]
    assert result.metrics["reward"] == pytest.approx(score({"x": 0.25}), abs=0.15)
