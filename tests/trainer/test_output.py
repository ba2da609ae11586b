import json
import math

import pytest

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
def test_wandb_stays_out_unless_it_is_asked_for(monkeypatch, mode):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    if mode:
        monkeypatch.setenv("WANDB_MODE", mode)
    log = wandb_log({})
    assert isinstance(log, NoLog)
    log.write(1, {"x": 1.0})
    log.close({}, exit_code=0)


def test_a_wandb_that_fails_does_not_end_the_run(monkeypatch, capsys):
    wandb = pytest.importorskip("wandb")

    def fail(**settings):
        raise wandb.errors.CommError("no way to the server")

    monkeypatch.setattr(wandb, "init", fail)
    monkeypatch.setenv("WANDB_MODE", "online")
    assert isinstance(wandb_log({}), NoLog)
    assert "no way to the server" in capsys.readouterr().err
