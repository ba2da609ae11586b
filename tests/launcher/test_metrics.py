"""Results are read from what trials leave, and no trial can break the reading."""

import json
import math
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher import metrics
from launcher.metrics import (
    RunFolderMetrics,
    as_number,
    flatten,
    grown_at,
    is_whole,
    reported_names,
)
from launcher.ports import Result, Run
from launcher.trainlog import header
from tests.launcher.builders import a_config

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=20,
)


def _read(folder: Path, attempt: int = 1) -> Result | None:
    return RunFolderMetrics().read([Run("run", folder, attempt)]).get("run")


def _write_result(folder: Path, **report: Any) -> None:
    (folder / "result.json").write_text(json.dumps({"schema_version": 1, **report}))


def test_an_empty_folder_has_no_result(tmp_path: Path) -> None:
    assert _read(tmp_path) is None
    assert _read(tmp_path / "nowhere") is None


def test_the_result_file_is_read_with_its_cost(tmp_path: Path) -> None:
    _write_result(tmp_path, metrics={"reward": 0.7}, cost_seconds=12.5, status="completed")
    assert _read(tmp_path) == Result({"reward": 0.7}, 12.5, "result.json")


def test_a_trial_may_say_that_it_diverged(tmp_path: Path) -> None:
    _write_result(tmp_path, metrics={"reward": 0.7}, status="diverged")
    result = _read(tmp_path)
    assert result is not None
    assert result.diverged


def test_metrics_beside_the_rest_are_taken_as_well(tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text('{"reward": 0.7, "cost_seconds": 3}')
    assert _read(tmp_path) == Result({"reward": 0.7}, 3.0, "result.json")


@pytest.mark.parametrize("cost", [-1.0, "soon", None, math.nan, math.inf, [1], 10**400])
def test_an_absurd_cost_is_none(tmp_path: Path, cost: object) -> None:
    _write_result(tmp_path, metrics={"reward": 0.7}, cost_seconds=cost)
    assert _read(tmp_path) == Result({"reward": 0.7}, None, "result.json")


def test_an_earlier_attempts_result_is_not_this_ones(tmp_path: Path) -> None:
    _write_result(tmp_path, metrics={"reward": 0.7}, attempt=1)
    assert _read(tmp_path, attempt=2) is None
    assert _read(tmp_path, attempt=1) is not None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "0.7",
        "\ud800",
        "[" * 100_000,
        '{"metrics": []}',
        '{"metrics": {"reward": "high"}}',
        '{"metrics": {"reward": null}}',
        '{"reward": ' + "9" * 5000 + "}",
    ],
)
def test_a_broken_result_file_is_no_result(tmp_path: Path, text: str) -> None:
    (tmp_path / "result.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    assert _read(tmp_path) is None


def test_a_huge_result_file_is_not_read(tmp_path: Path) -> None:
    padding = "x" * metrics.MAX_RESULT_BYTES
    _write_result(tmp_path, metrics={"reward": 0.7}, padding=padding)
    assert _read(tmp_path) is None


@pytest.mark.parametrize("name", ["result.json", "train.log", "metrics.jsonl"])
def test_a_folder_or_a_pipe_instead_of_a_file_does_not_hang(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    assert _read(tmp_path) is None
    (tmp_path / name).rmdir()
    os.mkfifo(tmp_path / name)
    assert _read(tmp_path) is None


@given(JSON)
def test_any_json_is_read_without_an_error(tmp_path_factory: Any, value: object) -> None:
    folder = tmp_path_factory.mktemp("run")
    text = json.dumps(value)
    (folder / "result.json").write_text(text)
    (folder / "train.log").write_text(f"PROTEIN_RESULT {text}\n")
    (folder / "metrics.jsonl").write_text(f"{text}\n")
    result = _read(folder)
    assert result is None or all(isinstance(v, float) for v in result.metrics.values())


@given(st.binary(max_size=300))
def test_any_bytes_are_read_without_an_error(tmp_path_factory: Any, data: bytes) -> None:
    folder = tmp_path_factory.mktemp("run")
    for name in ("result.json", "train.log", "metrics.jsonl"):
        (folder / name).write_bytes(b"PROTEIN_RESULT " * (name == "train.log") + data)
    _read(folder)
    reported_names(Run("run", folder, 1))


def test_one_bad_run_does_not_hide_the_others(tmp_path: Path) -> None:
    good, bad = tmp_path / "good", tmp_path / "bad"
    good.mkdir()
    bad.mkdir()
    _write_result(good, metrics={"reward": 1})
    (bad / "result.json").write_text("{")
    read = RunFolderMetrics().read([Run("bad", bad, 1), Run("good", good, 1)])
    assert read == {"good": Result({"reward": 1.0}, None, "result.json")}


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (1, 1.0),
        (0.5, 0.5),
        (True, 1.0),
        ("Infinity", math.inf),
        ("-inf", -math.inf),
        (" +INF ", math.inf),
        (10**400, math.inf),
        (-(10**400), -math.inf),
        ("0.7", None),
        (None, None),
        ([1], None),
        ("", None),
    ],
)
def test_numbers_are_told_from_the_rest(value: object, number: float | None) -> None:
    assert as_number(value) == number


@pytest.mark.parametrize("text", ["NaN", '"NaN"', '"nan"', '" NAN "'])
def test_nan_is_read_however_it_is_spelled(tmp_path: Path, text: str) -> None:
    (tmp_path / "result.json").write_text(f'{{"metrics": {{"reward": {text}}}}}')
    result = _read(tmp_path)
    assert result is not None
    assert math.isnan(result.metrics["reward"])


def test_nested_names_are_joined_by_dots() -> None:
    nested = {"eval": {"navigation": {"score": 0.5}, "n": 3}, "a.b": 1}
    assert flatten(nested) == {"eval.navigation.score": 0.5, "eval.n": 3.0, "a.b": 1.0}


def test_the_number_of_metrics_is_bounded() -> None:
    assert len(flatten(dict.fromkeys(map(str, range(20_000)), 1.0))) == metrics.MAX_METRICS


def test_the_last_result_line_of_this_attempt_counts(tmp_path: Path) -> None:
    lines = [header("run", 1, "now"), 'PROTEIN_RESULT {"reward": 1}', header("run", 2, "now")]
    lines += ['PROTEIN_RESULT {"reward": 2}', 'PROTEIN_RESULT {"reward": 3}', "PROTEIN_RESULT oh"]
    lines += [header("run", 3, "now"), "no result"]
    (tmp_path / "train.log").write_text("\n".join(lines) + "\n")
    values = [_read(tmp_path, attempt) for attempt in (1, 2, 3)]
    assert values == [
        Result({"reward": 1.0}, None, "log"),
        Result({"reward": 3.0}, None, "log"),
        None,
    ]


@pytest.mark.parametrize("line", ["(task, pid=7) %s", "\x1b[36m(head)\x1b[0m %s\x1b[0m", "%s\r"])
def test_a_result_line_may_be_dressed_up_by_the_cloud(tmp_path: Path, line: str) -> None:
    text = line.replace("%s", 'PROTEIN_RESULT {"reward": 1}')
    (tmp_path / "train.log").write_text(f"{text}\n")
    assert _read(tmp_path) == Result({"reward": 1.0}, None, "log")


def test_only_the_end_of_a_long_log_is_read(tmp_path: Path) -> None:
    early = 'PROTEIN_RESULT {"reward": 1}\n' + "x" * 99 + "\n"
    (tmp_path / "train.log").write_text(early + ("y" * 99 + "\n") * 5000)
    assert _read(tmp_path) is None
    with (tmp_path / "train.log").open("a") as log:
        log.write('PROTEIN_RESULT {"reward": 2}\n')
    assert _read(tmp_path) == Result({"reward": 2.0}, None, "log")


def test_metric_lines_give_the_latest_value_of_each(tmp_path: Path) -> None:
    lines = ['{"step": 1, "time": 9, "reward": 1, "loss": 5}', '{"step": 2, "time": 9, "loss": 4}']
    (tmp_path / "metrics.jsonl").write_text("\n".join([*lines, '{"step": 3, "lo']))
    assert _read(tmp_path) == Result({"reward": 1.0, "loss": 4.0}, None, "metrics.jsonl")


def test_the_file_wins_over_the_log_and_the_log_over_the_lines(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "reward": 1}\n')
    assert _read(tmp_path).source == "metrics.jsonl"  # type: ignore[union-attr]
    (tmp_path / "train.log").write_text('PROTEIN_RESULT {"reward": 2}\n')
    assert _read(tmp_path).source == "log"  # type: ignore[union-attr]
    _write_result(tmp_path, metrics={"reward": 3})
    assert _read(tmp_path).source == "result.json"  # type: ignore[union-attr]


def test_all_names_that_appear_are_listed(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "loss": 1}\n')
    _write_result(tmp_path, metrics={"reward": 3, "note": "good"})
    assert reported_names(Run("run", tmp_path, 1)) == ["loss", "reward"]


def test_a_trial_has_grown_when_its_log_or_its_metrics_did(tmp_path: Path) -> None:
    assert grown_at(tmp_path) is None
    for name, time in (("train.log", 100.0), ("metrics.jsonl", 200.0)):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (time, time))
        assert grown_at(tmp_path) == time


def test_a_result_is_whole_when_it_has_all_that_the_sweep_asks_for() -> None:
    simple, timed = a_config(), a_config(sweep={"cost": "wandb"})
    second = {"metric": "latency", "goal": "minimize"}
    two = a_config(sweep={"second_objective": second})
    plain = Result({"reward": 1.0}, 12.0)
    assert is_whole(simple, plain)
    assert not is_whole(simple, None)
    assert not is_whole(simple, Result({"loss": 1.0}))
    assert is_whole(simple, Result({"loss": 1.0}, diverged=True))
    assert not is_whole(timed, plain)
    assert is_whole(timed, Result({"reward": 1.0}, runtime_seconds=9.0))
    assert not is_whole(two, plain)
    assert is_whole(two, Result({"reward": 1.0, "latency": 2.0}))
