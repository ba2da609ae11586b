"""Reading what the real client logged offline, also where the program was killed."""

import math
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from launcher.ports import Run
from launcher.wandb.offline import (
    as_result,
    from_summary_file,
    from_wandb_log,
    logs,
    over_history,
    read,
    with_aggregates,
)

Logging = Callable[..., Path]
RUN_ID = "demo.abcd.r.1"

PROGRAM = """
import os, sys, wandb
run = wandb.init(config={"protein": {"attempt": int(sys.argv[1])}})
run.define_metric("loss", summary="min")
run.define_metric("accuracy", summary="max,mean")
values = [0.2, 0.9, 0.4]
for value in values:
    run.log({"reward": value, "eval": {"score": 2 * value}, "bad": float("nan"),
             "loss": value, "accuracy": value})
"""
FINISH = "run.summary['final.score'] = float('-inf')\nrun.finish()\n"
TO_THE_DISK = """
import time
for step in range(2000):
    run.log({"reward": step, "text": "x" * 100})
here = __import__("pathlib").Path(".")
while not any(p.stat().st_size > 70_000 for p in here.rglob("*.wandb")):
    time.sleep(0.05)  # until the client has written whole blocks out
"""


@pytest.fixture(scope="module")
def log_of(tmp_path_factory: pytest.TempPathFactory) -> Logging:
    """Run a program under the real client and return its run folder."""

    def run(program: str = PROGRAM + FINISH, attempt: int = 1, into: Path | None = None) -> Path:
        folder = into or tmp_path_factory.mktemp("run")
        environ = {"PATH": os.environ["PATH"], "HOME": str(folder), "WANDB_MODE": "offline"}
        environ |= {"WANDB_DIR": str(folder), "WANDB_RUN_ID": RUN_ID, "WANDB_SILENT": "true"}
        command = [sys.executable, "-c", program, str(attempt)]
        subprocess.run(command, env=environ, cwd=folder, capture_output=True, check=False)
        return folder

    return run


@pytest.fixture(scope="module")
def finished(log_of: Logging) -> Path:
    return log_of()


def test_a_finished_run_gives_its_summary(finished: Path) -> None:
    result = from_wandb_log(Run(RUN_ID, finished, 1))
    assert result is not None
    assert result.source == "wandb"
    found = result.metrics
    assert (found["reward"], found["eval.score"]) == (0.4, 0.8)
    assert found["loss"] == found["loss.min"] == 0.2
    assert (found["accuracy.max"], found["accuracy.mean"]) == (0.9, 0.5)
    assert "accuracy" not in found
    assert math.isnan(found["bad"])
    assert found["final.score"] == -math.inf
    assert not [name for name in found if name.startswith("_")]


def test_the_log_says_how_the_run_ended(finished: Path) -> None:
    (path,) = logs(finished)
    run = read(path)
    assert run is not None
    assert (run.run_id, run.exit_code) == (RUN_ID, 0)


def test_another_attempts_log_is_not_this_attempts_result(finished: Path) -> None:
    assert from_wandb_log(Run(RUN_ID, finished, 2)) is None


def test_another_runs_log_is_not_this_runs_result(finished: Path) -> None:
    assert from_wandb_log(Run("other", finished, 1)) is None


def test_of_two_attempts_the_asked_one_counts(log_of: Logging) -> None:
    folder = log_of()
    again = PROGRAM.replace("[0.2, 0.9, 0.4]", "[0.7]")
    log_of(again + FINISH, attempt=2, into=folder)
    assert len(logs(folder)) == 2
    rewards = [from_wandb_log(Run(RUN_ID, folder, attempt)) for attempt in (1, 2)]
    assert [r and r.metrics["reward"] for r in rewards] == [0.4, 0.7]
    best = from_wandb_log(Run(RUN_ID, folder, 2), wanted="reward.max")
    assert best is not None
    assert best.metrics["reward.max"] == 0.9


@pytest.mark.parametrize(
    ("wanted", "value"),
    [
        ("reward.max", 0.9),
        ("reward.min", 0.2),
        ("reward.last", 0.4),
        ("reward.mean", 0.5),
        ("reward.mean_last_2", 0.65),
        ("eval.score.max", 1.8),
    ],
)
def test_a_metric_may_be_taken_over_the_history(finished: Path, wanted: str, value: float) -> None:
    result = from_wandb_log(Run(RUN_ID, finished, 1), wanted=wanted)
    assert result is not None
    assert result.metrics[wanted] == pytest.approx(value)


def test_what_the_client_aggregated_counts_over_our_own(finished: Path) -> None:
    result = from_wandb_log(Run(RUN_ID, finished, 1), wanted="loss.min")
    assert result is not None
    assert result.metrics["loss.min"] == 0.2


def test_a_metric_that_the_summary_lacks_is_the_last_that_was_logged(log_of: Logging) -> None:
    hidden = 'run.define_metric("reward", summary="none")\n'
    folder = log_of(PROGRAM.replace("values =", hidden + "values =") + FINISH)
    assert [
        (r := from_wandb_log(Run(RUN_ID, folder, 1), wanted=wanted)) and r.metrics.get("reward")
        for wanted in ("", "reward")
    ] == [None, 0.4]


@pytest.mark.slow
def test_the_run_time_of_offline_attempts_adds_up(log_of: Logging) -> None:
    waiting = "import time\ntime.sleep(1.1)\n"
    folder = log_of(PROGRAM + waiting + FINISH)
    first = from_wandb_log(Run(RUN_ID, folder, 1))
    log_of(PROGRAM + waiting + FINISH, attempt=2, into=folder)
    second = from_wandb_log(Run(RUN_ID, folder, 2))
    assert first is not None
    assert second is not None
    assert second.runtime_seconds >= first.runtime_seconds + 1 >= 2


def test_a_nan_spoils_a_mean_and_no_maximum() -> None:
    assert over_history([1.0, math.nan, 3.0], "max") == 3.0
    assert math.isnan(over_history([1.0, math.nan, 3.0], "mean"))
    assert over_history([math.nan, 3.0], "mean_last_1") == 3.0
    assert math.isnan(over_history([math.nan], "min"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV])
def test_a_killed_run_gives_what_reached_the_disk(log_of: Logging, number: int) -> None:
    kill = f"os.kill(os.getpid(), {int(number)})\n"
    folder = log_of(PROGRAM + TO_THE_DISK + kill)
    result = from_wandb_log(Run(RUN_ID, folder, 1))
    assert result is not None
    assert result.metrics["reward"] > 100
    run = read(logs(folder)[0])
    assert run is not None
    assert run.exit_code is None


def test_a_log_cut_off_anywhere_is_read_up_to_there(finished: Path, tmp_path: Path) -> None:
    whole = logs(finished)[0].read_bytes()
    cut = tmp_path / "run-x.wandb"
    seen = set()
    for length in range(0, len(whole), 7):
        cut.write_bytes(whole[:length])
        run = read(cut)
        seen.add(run.summary.get("reward") if run else None)
    assert seen == {None, 0.2, 0.9, 0.4}


def test_a_damaged_record_ends_the_log(finished: Path, tmp_path: Path) -> None:
    whole = bytearray(logs(finished)[0].read_bytes())
    whole[len(whole) // 2] ^= 0xFF
    damaged = tmp_path / "run-x.wandb"
    damaged.write_bytes(whole)
    run = read(damaged)
    assert run is not None
    assert run.exit_code is None


def test_what_is_no_log_is_no_result(tmp_path: Path) -> None:
    folder = tmp_path / "wandb" / "offline-run-20260101_000000-x"
    folder.mkdir(parents=True)
    (folder / "run-x.wandb").write_bytes(b"not a log at all")
    assert from_wandb_log(Run("x", tmp_path, 1)) is None
    assert from_wandb_log(Run("x", tmp_path / "nowhere", 1)) is None


def test_without_the_clients_package_the_summary_file_is_read(tmp_path: Path) -> None:
    files = tmp_path / "wandb" / "run-20260101_000000-x" / "files"
    files.mkdir(parents=True)
    (files / "wandb-summary.json").write_text('{"reward": 0.5, "bad": NaN, "_step": 3}')
    (files / "config.yaml").write_text("protein:\n  value: {attempt: 2}\n")
    result = from_summary_file(Run("x", tmp_path, 2))
    assert result is not None
    assert result.metrics["reward"] == 0.5
    assert math.isnan(result.metrics["bad"])
    assert from_summary_file(Run("x", tmp_path, 1)) is None
    assert from_summary_file(Run("y", tmp_path, 2)) is None


def test_the_only_aggregate_stands_for_its_metric() -> None:
    found = with_aggregates({"a.min": 1.0, "b.min": 1.0, "b.max": 2.0, "c.max": 3.0, "c": 4.0})
    assert (found["a"], found["c"], "b" in found) == (1.0, 4.0, False)


def test_a_summary_of_wandbs_own_values_is_no_result() -> None:
    assert as_result({"_step": 1, "_wandb": {"runtime": 3}, "note": "x"}, source="wandb") is None
