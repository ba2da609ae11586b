import json
import math
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.trainer.training import ROOT
from trainer.errors import OutputError
from trainer.output import JsonLines, NoLog, Result, wandb_log, write_atomically, write_result


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_result_is_plain_json_also_where_a_metric_is_no_number(tmp_path):
    metrics = {"reward": math.nan, "up": math.inf, "down": -math.inf, "x": 1.5}
    write_result(tmp_path, Result(metrics, 2.5, "diverged"))
    assert json.loads((tmp_path / "result.json").read_text()) == {
        "schema_version": 1,
        "metrics": {"reward": "NaN", "up": "Infinity", "down": "-Infinity", "x": 1.5},
        "cost_seconds": 2.5,
        "status": "diverged",
    }


def test_a_write_that_fails_leaves_the_old_file(tmp_path):
    file = tmp_path / "x"
    write_atomically(file, b"old")
    with pytest.raises(TypeError):
        write_atomically(file, "not bytes")
    assert file.read_bytes() == b"old"


def test_what_the_disk_refuses_is_told_with_the_files_name(tmp_path):
    """A folder stands where the file should be: after all has been written."""
    (tmp_path / "x").mkdir()
    with pytest.raises(OutputError, match=r"x: cannot be written: Is a directory"):
        write_atomically(tmp_path / "x", b"new")
    assert [file.name for file in tmp_path.iterdir()] == ["x"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="asks Linux for a full disk")
def test_metrics_that_do_not_fit_on_the_disk_are_told_with_the_files_name(tmp_path):
    log = JsonLines(tmp_path / "metrics.jsonl")
    log.write(1, {})
    log.file.close()
    with Path("/dev/full").open("a", buffering=1) as log.file:
        with pytest.raises(OutputError, match=r"metrics\.jsonl: cannot be written: No space left"):
            log.write(2, {})
        with pytest.raises(OutputError):
            log.close({}, exit_code=1)


def test_a_run_that_goes_on_replaces_the_steps_that_it_takes_again(tmp_path):
    path = tmp_path / "metrics.jsonl"
    first = JsonLines(path)
    for step in (1, 2, 3):
        first.write(step, {"x": float(step)})
    first.close({}, exit_code=1)
    with path.open("a") as file:
        file.write('{"step": 4, "x"')  # cut off by a kill
    second = JsonLines(path)
    assert second.last("x") == 3
    assert second.last("y") == 0
    second.write(2, {"x": 20.0})
    second.close({}, exit_code=0)
    assert [(line["step"], line["x"]) for line in lines(path)] == [(1, 1.0), (2, 20.0)]


def test_lines_can_be_read_while_the_run_goes_on(tmp_path):
    log = JsonLines(tmp_path / "metrics.jsonl")
    log.write(1, {"x": math.nan})
    assert lines(tmp_path / "metrics.jsonl")[0]["x"] == "NaN"
    log.close({}, exit_code=0)


@pytest.mark.parametrize("mode", [None, "disabled"])
def test_wandb_stays_out_unless_it_is_asked_for(monkeypatch, tmp_path, mode):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    if mode:
        monkeypatch.setenv("WANDB_MODE", mode)
    log = wandb_log({}, tmp_path)
    assert isinstance(log, NoLog)
    log.write(1, {"x": 1.0})
    log.close({}, exit_code=0)


def test_a_wandb_that_does_not_understand_its_settings_does_not_end_the_run(tmp_path):
    """In a process of its own: W&B keeps what its first session in a process was told."""
    pytest.importorskip("wandb")
    code = (
        "import pathlib, sys; from trainer.output import NoLog, wandb_log\n"
        "assert isinstance(wandb_log({}, pathlib.Path(sys.argv[1])), NoLog)"
    )
    environment = {**os.environ, "WANDB_MODE": "sometimes", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "sometimes" in done.stderr


def test_a_wandb_that_fails_does_not_end_the_run(monkeypatch, tmp_path, capsys):
    wandb = pytest.importorskip("wandb")

    def fail(**settings):
        raise wandb.errors.CommError("no way to the server")

    monkeypatch.setattr(wandb, "init", fail)
    monkeypatch.setenv("WANDB_MODE", "online")
    assert isinstance(wandb_log({}, tmp_path), NoLog)
    assert "no way to the server" in capsys.readouterr().err


def test_the_next_attempt_is_the_same_run_of_wandb(monkeypatch, tmp_path):
    """Also where nobody but W&B has named it."""
    wandb = pytest.importorskip("wandb")
    asked = []

    def init(*, id, **_):  # noqa: A002 W&B's name
        asked.append(id)
        return SimpleNamespace(id=id or "named-by-wandb")

    monkeypatch.setattr(wandb, "init", init)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.delenv("WANDB_RUN_ID", raising=False)
    wandb_log({}, tmp_path)
    wandb_log({}, tmp_path)
    monkeypatch.setenv("WANDB_RUN_ID", "named-by-the-launcher")
    wandb_log({}, tmp_path)
    assert asked == [None, "named-by-wandb", "named-by-the-launcher"]


def test_a_wandb_that_ends_on_the_way_is_told_once_and_the_run_goes_on(
    monkeypatch, tmp_path, capsys
):
    wandb = pytest.importorskip("wandb")

    def gone(*_, **__):
        raise ConnectionResetError("Connection lost")

    run = SimpleNamespace(id="x", log=gone, summary=SimpleNamespace(update=gone), finish=gone)
    monkeypatch.setattr(wandb, "init", lambda **_: run)
    monkeypatch.setenv("WANDB_MODE", "offline")
    log = wandb_log({}, tmp_path)
    log.write(1, {"x": 1.0})
    log.close({}, exit_code=0)
    assert capsys.readouterr().err.count("without Weights & Biases: Connection lost") == 1
