"""A trial's program asks for its parameters and reports, in a sweep or without one."""

import json
import math
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher import trial
from launcher.metrics import RunFolderMetrics
from launcher.ports import Run


@pytest.fixture
def run_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The environment of a trial."""
    monkeypatch.setenv("PROTEIN_RUN_DIR", str(tmp_path))
    monkeypatch.setenv("PROTEIN_PARAMS", str(tmp_path / "params.json"))
    monkeypatch.setenv("PROTEIN_CHECKPOINT_DIR", str(tmp_path / "checkpoints"))
    monkeypatch.setenv("PROTEIN_METRIC", "reward")
    return tmp_path


def _result(run_dir: Path) -> Any:
    return json.loads((run_dir / "result.json").read_text())


def test_without_a_sweep_the_defaults_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PROTEIN_PARAMS", raising=False)
    assert trial.params(learning_rate=1e-3) == {"learning_rate": 1e-3}
    assert trial.attempt() == 1


def test_a_sweeps_parameters_win_over_the_defaults(run_dir: Path) -> None:
    (run_dir / "params.json").write_text('{"trainer.learning_rate": 0.1, "depth": 3}')
    assert trial.params(depth=1, width=2) == {"trainer.learning_rate": 0.1, "depth": 3, "width": 2}


def test_parameters_that_are_no_object_are_an_error(run_dir: Path) -> None:
    (run_dir / "params.json").write_text("[1]")
    with pytest.raises(TypeError, match=r"params\.json"):
        trial.params()


def test_a_final_report_is_the_result(run_dir: Path) -> None:
    trial.report(reward=0.7, cost_seconds=12)
    assert _result(run_dir) == {
        "schema_version": 1,
        "metrics": {"reward": 0.7},
        "status": "completed",
        "attempt": 1,
        "cost_seconds": 12.0,
    }
    assert [f.name for f in run_dir.iterdir()] == ["result.json"]


def test_reports_with_a_step_are_lines(run_dir: Path) -> None:
    trial.report(step=1, loss=0.5)
    trial.report({"eval.reward": math.nan}, step=2)
    lines = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    assert [line.pop("time") > 0 for line in lines] == [True, True]
    assert lines == [{"step": 1, "loss": 0.5}, {"step": 2, "eval.reward": "NaN"}]


@given(st.dictionaries(st.text(min_size=1).filter(lambda n: "." not in n), st.floats(), min_size=1))
def test_what_is_reported_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, values: dict[str, float]
) -> None:
    folder = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PROTEIN_RUN_DIR", str(folder))
        trial.report(values)
    read = RunFolderMetrics().read([Run("run", folder, 1)])["run"].metrics
    assert list(map(repr, read.values())) == list(map(repr, values.values()))
    assert read.keys() == values.keys()


@pytest.mark.parametrize(("reward", "status"), [(math.nan, "diverged"), (-math.inf, "diverged")])
def test_a_score_that_is_no_number_has_diverged(run_dir: Path, reward: float, status: str) -> None:
    trial.report(reward=reward)
    assert _result(run_dir)["status"] == status
    trial.report(reward=1.0, side=math.nan)
    assert _result(run_dir)["status"] == "completed"


def test_scalars_of_numeric_libraries_are_numbers(run_dir: Path) -> None:
    trial.report(reward=np.float32(0.5), count=np.int64(3), solved=np.bool_(True))  # type: ignore[arg-type]
    assert _result(run_dir)["metrics"] == {"reward": 0.5, "count": 3.0, "solved": 1.0}


@pytest.mark.parametrize("value", ["0.5", None, [1.0, 2.0], {"a": 1}, object()])
def test_what_is_no_number_is_an_error_that_names_it(run_dir: Path, value: Any) -> None:
    with pytest.raises(TypeError, match="reward"):
        trial.report(reward=value)
    assert not (run_dir / "result.json").exists()


def test_an_empty_report_is_an_error(run_dir: Path) -> None:
    with pytest.raises(ValueError, match="at least one"):
        trial.report()


def test_only_the_first_node_writes(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NODE_INDEX", "1")
    trial.report(reward=0.7)
    trial.report(step=1, reward=0.7)
    assert list(run_dir.iterdir()) == []


def test_a_result_names_its_attempt(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROTEIN_ATTEMPT", "3")
    trial.report(reward=0.7)
    assert (trial.attempt(), _result(run_dir)["attempt"]) == (3, 3)


def test_without_a_sweep_reports_go_to_stdout(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("PROTEIN_RUN_DIR", raising=False)
    trial.report(step=1, loss=0.5)
    trial.report(reward=0.7)
    first, last = capsys.readouterr().out.splitlines()
    assert json.loads(first)["loss"] == 0.5
    assert last == 'PROTEIN_RESULT {"reward": 0.7}'


def test_the_checkpoint_folder_exists(run_dir: Path) -> None:
    assert trial.checkpoint_dir() == run_dir / "checkpoints"
    assert trial.checkpoint_dir().is_dir()


def test_lines_of_many_threads_stay_whole(run_dir: Path) -> None:
    def work() -> None:
        for step in range(50):
            trial.report({"x" * 200: 1.0}, step=step)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = (run_dir / "metrics.jsonl").read_text().splitlines()
    assert len([json.loads(line) for line in lines]) == 400


def test_importing_it_is_light() -> None:
    """Nothing outside the standard library, and little of that."""
    code = (
        "import sys; before = set(sys.modules); import launcher.trial;"
        "print(*{m.partition('.')[0] for m in set(sys.modules) - before} - sys.stdlib_module_names)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    asked = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert asked.stdout.split() == ["launcher"]
