"""A supervisor may be killed between any two of its system calls."""

import json
from pathlib import Path

import pytest

from launcher.errors import ExecutorError
from launcher.executors import local, supervisor
from launcher.executors.local import LocalExecutor
from launcher.ports import Job, Phase
from tests.launcher.waiting import eventually

STEPS = 40  # more than one attempt takes


def _job(folder: Path) -> Job:
    run_dir = folder / "runs" / "run"
    run_dir.mkdir(parents=True)
    script = 'echo start >> "$PROTEIN_RUN_DIR/starts"; exit 3'
    variables = {"PROTEIN_RUN_DIR": str(run_dir)}
    return Job("run-1", "run", 1, run_dir, folder, script, environment=variables)


def _starts(job: Job) -> int:
    file = job.run_dir / "starts"
    return len(file.read_text().splitlines()) if file.exists() else 0


@pytest.mark.parametrize("step", range(1, STEPS))
def test_a_supervisor_killed_at_any_step_starts_nothing_twice_and_loses_nothing(
    step: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, executor = _job(tmp_path), LocalExecutor(tmp_path)
    monkeypatch.setenv("KILL_AT", str(step))
    monkeypatch.setenv("SUPERVISOR", supervisor.__file__)
    refused = False
    with monkeypatch.context() as killing:
        killing.setattr(local, "_SUPERVISOR", Path(__file__).with_name("killed_supervisor.py"))
        try:
            executor.submit(job)
        except ExecutorError:
            refused = True
    first = eventually(lambda: (o := executor.poll([job.name])[job.name]).is_over and o)
    if refused:
        assert (first.phase, _starts(job)) == (Phase.ABSENT, 0)
    executor.submit(job)  # what the next coordinator does
    last = eventually(lambda: (o := executor.poll([job.name])[job.name]).is_over and o)
    assert last.phase in (Phase.EXITED, Phase.LOST)
    assert refused or last.phase is first.phase
    assert _starts(job) == 1 or (last.phase is Phase.LOST and _starts(job) == 0)
    if last.phase is Phase.EXITED:
        assert last.exit_code == 3


def test_the_last_step_is_after_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job, executor = _job(tmp_path), LocalExecutor(tmp_path)
    monkeypatch.setenv("KILL_AT", str(STEPS))
    monkeypatch.setenv("SUPERVISOR", supervisor.__file__)
    monkeypatch.setattr(local, "_SUPERVISOR", Path(__file__).with_name("killed_supervisor.py"))
    executor.submit(job)
    eventually(lambda: executor.poll([job.name])[job.name].is_over)
    ending = json.loads((tmp_path / "jobs" / job.name / "exit.json").read_text())
    assert ending["ended_by"] == "program"
