"""Offline runs, uploaded later by the real client to the stand-in server."""

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from launcher.errors import ProteinSkyError, UsageError
from launcher.folder import SweepFolder
from launcher.wandb.offline import HEADER
from launcher.wandb.sweep_page import FILE
from launcher.wandb.sync import SyncReport, sync
from tests.launcher.builders import PARAMS, a_config
from tests.launcher.wandb_programs import RUN_ID, run_trial
from tests.wandb_server.server import WandbServer, wandb_server

pytestmark = pytest.mark.timeout(300)  # each client is a process or two

Known = dict[str, str]


@pytest.fixture
def server() -> Iterator[WandbServer]:
    with wandb_server() as running:
        yield running
        assert running.errors == []


@pytest.fixture
def known(server: WandbServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Known:
    """What our own process and the uploader find in their environment."""
    for name, value in {"HOME": str(tmp_path), **server.environ}.items():
        monkeypatch.setenv(name, value)
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    return {**kept, "HOME": str(tmp_path), **server.environ}


def synced(folder: Path, environ: Known, running: Sequence[str] = ()) -> SyncReport:
    return sync(SweepFolder(folder), a_config(), "abc123", running=running, environ=environ)


@pytest.mark.slow
def test_attempts_made_offline_become_one_run_with_all_that_belongs_to_it_once(
    server: WandbServer, known: Known, tmp_path: Path
) -> None:
    offline = {"WANDB_MODE": "offline"}
    run_trial(tmp_path, offline, values=(0.1, 0.2))
    run_trial(tmp_path, offline, values=(0.3,), attempt=2)
    (tmp_path / FILE).write_text('{"wandb_sweep_id": "sweep001"}')
    report = synced(tmp_path, known)
    assert (len(report.uploaded), report.failed) == (2, ())
    (run,) = server.store.runs.values()
    assert (run.name, run.project, run.group, run.job_type) == (RUN_ID, "metta", "demo", "trial")
    assert (run.tags, run.sweep) == (["sweep_id:abc123", "sweep_name:demo"], "sweep001")
    assert [json.loads(line)["reward"] for line in run.history] == [0.1, 0.2, 0.3]
    assert {name: run.values[name] for name in PARAMS} == PARAMS
    assert (run.summary["reward"], run.values["protein"]["attempt"]) == (0.3, 2)
    server.operations.clear()
    again = synced(tmp_path, known)
    assert (len(again.already), again.uploaded) == (2, ())
    assert server.operations == ["Viewer"]


@pytest.mark.slow
def test_a_sweep_that_was_never_online_has_its_page_once_all_runs_are_there(
    server: WandbServer, known: Known, tmp_path: Path
) -> None:
    run_trial(tmp_path, {"WANDB_MODE": "offline"}, wandb_sweep_id=None)
    still = a_log(tmp_path, b"and more to come")
    report = synced(tmp_path, known, running=["x"])
    assert (len(report.uploaded), report.message, server.store.sweeps) == (1, "", {})
    still.unlink()
    server.fault = lambda operation: 503 if operation == "Sweeps" else None
    assert "no sweep to show them" in synced(tmp_path, known).message
    server.fault = lambda _operation: None
    for _ in range(2):
        assert synced(tmp_path, known).message == ""
    (sweep,) = server.store.sweeps.values()
    assert sweep.display_name == "demo.abc123"
    assert [run.sweep for run in server.store.runs.values()] == [sweep.name]


@pytest.mark.slow
def test_what_the_server_refuses_is_kept_for_the_next_time(
    server: WandbServer, known: Known, tmp_path: Path
) -> None:
    run_trial(tmp_path, {"WANDB_MODE": "offline"})
    with pytest.raises(UsageError, match="refuses the key"):
        synced(tmp_path, {**known, "WANDB_API_KEY": "1" * 40})
    server.fault = lambda _operation: 503
    with pytest.raises(ProteinSkyError, match="HTTP 503"):
        synced(tmp_path, known)
    server.fault = lambda operation: 400 if operation == "UpsertBucket" else None
    with pytest.raises(ProteinSkyError, match="none of 1"):
        synced(tmp_path, known)
    server.fault = lambda _operation: None
    assert len(synced(tmp_path, known).uploaded) == 1


def test_without_a_key_it_says_so_before_anything_happens(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no key"):
        synced(tmp_path, {"HOME": str(tmp_path)})


def a_log(folder: Path, after_the_header: bytes) -> Path:
    log = folder / "runs" / "x" / "wandb" / "offline-run-20260101_000000-x" / "run-x.wandb"
    log.parent.mkdir(parents=True)
    log.write_bytes(HEADER + after_the_header)
    return log


def test_the_log_of_a_trial_that_runs_is_left_for_the_next_time(
    known: Known, tmp_path: Path
) -> None:
    log = a_log(tmp_path, b" and more to come")
    assert synced(tmp_path, known, running=["x"]) == SyncReport(running=(log,))


def test_a_log_of_a_run_that_died_at_once_is_left_alone(known: Known, tmp_path: Path) -> None:
    log = a_log(tmp_path, b"")
    report = synced(tmp_path, known)
    assert (report.empty, report.uploaded) == ((log,), ())
