"""Offline runs, uploaded later by the real client to the stand-in server."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from launcher.errors import ProteinSkyError, UsageError
from launcher.folder import SweepFolder
from launcher.wandb.sync import SyncReport, sync
from tests.launcher.builders import PARAMS
from tests.launcher.wandb_programs import RUN_ID, run_trial
from tests.wandb_server.server import WandbServer, wandb_server


@pytest.fixture
def server() -> Iterator[WandbServer]:
    with wandb_server() as running:
        yield running
        assert running.errors == []


def environ(server: WandbServer, home: Path) -> dict[str, str]:
    known = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    return {**known, "HOME": str(home), **server.environ}


def test_attempts_made_offline_become_one_run_with_all_that_belongs_to_it_once(
    server: WandbServer, tmp_path: Path
) -> None:
    offline = {"WANDB_MODE": "offline"}
    run_trial(tmp_path, offline, values=(0.1, 0.2))
    run_trial(tmp_path, offline, values=(0.3,), attempt=2)
    report = sync(SweepFolder(tmp_path), environ=environ(server, tmp_path))
    assert (len(report.uploaded), report.failed) == (2, ())
    (run,) = server.store.runs.values()
    assert (run.name, run.project, run.group, run.job_type) == (RUN_ID, "metta", "demo", "trial")
    assert (run.tags, run.sweep) == (["sweep_id:abc123", "sweep_name:demo"], "sweep001")
    assert [json.loads(line)["reward"] for line in run.history] == [0.1, 0.2, 0.3]
    assert {name: run.values[name] for name in PARAMS} == PARAMS
    assert (run.summary["reward"], run.values["protein"]["attempt"]) == (0.3, 2)
    asked = len(server.operations)
    again = sync(SweepFolder(tmp_path), environ=environ(server, tmp_path))
    assert (len(again.already), again.uploaded) == (2, ())
    assert len(server.operations) == asked


def test_what_the_server_refuses_is_kept_for_the_next_time(
    server: WandbServer, tmp_path: Path
) -> None:
    run_trial(tmp_path, {"WANDB_MODE": "offline"})
    known = environ(server, tmp_path)
    with pytest.raises(ProteinSkyError, match="none of 1"):
        sync(SweepFolder(tmp_path), environ={**known, "WANDB_API_KEY": "1" * 40})
    report = sync(SweepFolder(tmp_path), environ=known)
    assert len(report.uploaded) == 1


def test_without_a_key_it_says_so_before_anything_happens(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no key"):
        sync(SweepFolder(tmp_path), environ={"HOME": str(tmp_path)})


def test_the_log_of_a_trial_that_runs_is_left_for_the_next_time(
    server: WandbServer, tmp_path: Path
) -> None:
    log = tmp_path / "runs" / "x" / "wandb" / "offline-run-20260101_000000-x" / "run-x.wandb"
    log.parent.mkdir(parents=True)
    log.write_bytes(b":W&B\xe1\xbe\x00 and more to come")
    report = sync(SweepFolder(tmp_path), running=["x"], environ=environ(server, tmp_path))
    assert report == SyncReport(running=(log,))


def test_a_log_of_a_run_that_died_at_once_is_left_alone(
    server: WandbServer, tmp_path: Path
) -> None:
    log = tmp_path / "runs" / "x" / "wandb" / "offline-run-20260101_000000-x" / "run-x.wandb"
    log.parent.mkdir(parents=True)
    log.write_bytes(b":W&B\xe1\xbe\x00")
    report = sync(SweepFolder(tmp_path), environ=environ(server, tmp_path))
    assert (report.empty, report.uploaded) == ((log,), ())
