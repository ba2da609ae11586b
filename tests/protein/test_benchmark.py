"""What the benchmark measures is what it says: real trainings, and the first trials of sweeps."""

import json
import math
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

pytest.importorskip("benchmarks.optimizer", reason="not in an installed package")

from benchmarks.optimizer.classic import classic, paths
from benchmarks.optimizer.figure import figure
from benchmarks.optimizer.live import live
from benchmarks.optimizer.peers import PEERS
from benchmarks.optimizer.table import table
from benchmarks.optimizer.tabular import Table
from benchmarks.optimizer.yahpo import DATA, Surrogate
from protein import Space
from protein.encoding import Encoding

MINIMISERS = {  # as Surjanovic and Bingham's library of test functions gives them
    "branin2": [math.pi, 2.275],
    "goldstein2": [0.0, -1.0],
    "camel2": [0.089842, -0.712656],
    "hartmann3": [0.114614, 0.555649, 0.852547],
    "shekel4": [4.000747, 4.000593, 3.999663, 3.999510],
    "michalewicz5": [2.202906, 1.570796, 1.284992, 1.923058, 1.720470],
    "tang6": [-2.903534] * 6,
    "dixon6": [2.0 ** -(1 - 2.0 ** (1 - i)) for i in range(1, 7)],
    "rosen10": [1.0] * 10,
    "cosine8": [0.0] * 8,
    "trid10": [i * (11.0 - i) for i in range(1, 11)],
}
EVERY_KIND = {
    "layers": {"distribution": "int_uniform", "min": 1, "max": 8},
    "width": {"distribution": "uniform_pow2", "min": 16, "max": 1024},
    "gamma": {"distribution": "logit_normal", "min": 0.8, "max": 0.999},
    "rate": {"distribution": "log_normal", "min": 1e-5, "max": 1e-1, "mean": 1e-3},
    "solver": {"values": ["adam", "sgd"]},
    "beta": {"min": 0.1, "max": 0.9, "when": {"solver": ["adam"]}},
    "momentum": {"min": 0.0, "max": 0.9, "when": {"solver": ["sgd"]}},
}
REFUSED = {
    "model": "linear",
    "C": 1.0,
    "components": 5,
    "scaled": True,
    "penalty": "l1",
    "loss": "hinge",
    "dual": True,
}


def test_known_functions_are_best_where_the_literature_says() -> None:
    for problem in classic(0):
        params = dict(zip(problem.space, MINIMISERS[problem.name], strict=True))
        assert problem.truth(params) == pytest.approx(problem.best, abs=1e-4)


def test_the_best_of_a_path_is_better_than_what_is_drawn() -> None:
    problem = next(paths(3))
    rng = np.random.default_rng(1)
    truths = [problem.truth(dict.fromkeys(problem.space, rng.random())) for _ in range(200)]
    assert problem.typical < max(truths) <= problem.best


def test_a_combination_that_scikit_learn_refuses_fails_at_its_cost() -> None:
    machines = {problem.name: problem for problem in live(3)}["live-vectors"]
    trial = machines.run(REFUSED, np.random.default_rng(0))
    assert trial.score is None
    assert trial.cost > 0


def test_a_live_training_learns_and_is_the_same_again() -> None:
    params = REFUSED | {"loss": "squared_hinge", "penalty": "l2"}
    first, second = (
        {problem.name: problem for problem in live(3)}["live-vectors"] for _ in range(2)
    )
    trial = first.run(params, np.random.default_rng(0))
    assert trial.score is not None
    assert trial.score > 0.5  # ten digits: guessing gives 0.1
    assert trial == second.run(params, np.random.default_rng(1))
    assert first.truth(params) == second.truth(params) != trial.score


def test_a_configuration_is_found_by_the_places_of_its_values() -> None:
    grid = Table({"rate": [0.1, 0.2, 0.3], "activation": ["relu", "tanh"]}, {"21": 7}, [], [])
    assert grid.row({"rate": 2, "activation": "tanh"}) == 7


def line(peer: str, truths: list[float]) -> dict[str, object]:
    return {
        "peer": peer, "family": "f", "problem": "p", "seed": 0, "workers": 1,
        "trials": len(truths), "cpu_seconds": 0.0, "best": 1.0, "typical": 0.0,
        "trace": [(0.0, 1.0, truth, truth) for truth in truths],
    }  # fmt: skip


def test_a_longer_sweep_counts_with_its_first_trials() -> None:
    good, late = [0.5] * 10, [0.2] * 10 + [1.0] * 15
    rows = table([line("a", good), line("b", late)], trials=10).splitlines()
    cells = next(row for row in rows if row.startswith("| b |")).split(" | ")
    assert cells[1] == "0.800 ± 0.000 (2.00)"  # after 10 trials
    assert cells[4] == "0.800 ± 0.000 (2.00)"  # after the cost of 50, which those 10 had


def test_sweeps_that_are_too_short_are_left_out() -> None:
    assert table([line("a", [math.pi])], trials=10) == "(no sweep has 10 trials)"


def test_a_unit_of_cost_is_what_others_paid_where_random_did_not_run() -> None:
    elsewhere = line("random", [0.1] * 10) | {"family": "g"}
    late = line("a", [0.2] * 5 + [0.9] * 5)
    rows = table([late, elsewhere], trials=10).splitlines()
    cells = next(row for row in rows if row.startswith("| a |")).split(" | ")
    assert cells[2] == "0.800 ± 0.000 (1.00)"  # a cost of 5 is five of its own trials


def test_the_figure_shows_each_peer_the_best_first(tmp_path: Path) -> None:
    figure(tmp_path / "a.svg", [line("a worse", [0.2] * 10), line("better", [0.9] * 10)], trials=10)
    texts = [node.text for node in ElementTree.parse(tmp_path / "a.svg").iter() if node.text]
    named = [text for text in texts if text in {"a worse", "better"}]
    assert named == ["better", "a worse"] * 2  # over trials and over cost
    assert any("1 sweeps" in text for text in texts)


def test_the_same_sweeps_are_the_same_figure(tmp_path: Path) -> None:
    for name in ("a.svg", "b.svg"):
        figure(tmp_path / name, [line("a", [0.2] * 10)], trials=10)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_no_figure_is_drawn_of_sweeps_that_differ(tmp_path: Path) -> None:
    lines = [line("a", [0.2] * 10), line("b", [0.2] * 10) | {"seed": 1}]
    with pytest.raises(SystemExit, match="no sweep of 10 trials was run by all of a, b"):
        figure(tmp_path / "a.svg", lines, trials=10)


@pytest.mark.parametrize("peer", ["optuna-tpe-center", "optuna-gp-center"])
def test_optuna_can_begin_where_protein_does(peer: str) -> None:
    encoding = Encoding(Space.from_dict(EVERY_KIND))
    _, params = PEERS[peer](EVERY_KIND, 0).ask()
    assert params == pytest.approx(encoding.decode(encoding.center))


BOUNDS = {  # of rbv2_rpart, as the collection declares them
    "cp": ("uniform_float", 1e-4, 1.0, True),
    "maxdepth": ("uniform_int", 1, 30, False),
    "minbucket": ("uniform_int", 1, 100, False),
    "minsplit": ("uniform_int", 1, 100, False),
    "trainsize": ("uniform_float", 0.03, 1.0, False),
    "repl": ("uniform_int", 1, 10, False),
}


class Echo:
    """Stands for a network: its first output is its inputs' sum, and it keeps what it was given."""

    given: dict[str, Any]

    def run(self, _: None, given: dict[str, Any]) -> list[Any]:
        self.given = given
        total = given["x_cat"].sum(axis=1) + given["x_cont"].sum(axis=1)
        return [np.stack([total, *[0 * total] * 5, 2 * total], axis=1)]


@pytest.fixture
def rpart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Surrogate:
    """A scenario of YAHPO Gym read from files in its format, its network replaced."""
    folder = tmp_path / "rbv2_rpart"
    folder.mkdir()
    declared: list[dict[str, Any]] = [
        {"name": name, "type": kind, "lower": low, "upper": high, "log": log}
        for name, (kind, low, high, log) in BOUNDS.items()
    ]
    impute = "num.impute.selected.cpo"
    declared.append({"name": impute, "type": "categorical", "choices": ["mean", "hist"]})
    declared.append({"name": "task_id", "type": "categorical", "choices": ["3", "12"]})
    condition = {"child": "minsplit", "parent": impute, "type": "EQ", "value": "hist"}
    spaces = {"hyperparameters": declared, "conditions": [condition]}
    (folder / "config_space.json").write_text(json.dumps(spaces))
    codes = {"task_id": {"#na#": 0, "12": 1, "3": 2}, impute: {"#na#": 0, "mean": 1, "hist": 2}}
    (folder / "encoding.json").write_text(json.dumps(codes))
    (folder / "model.onnx").touch()
    onnx = SimpleNamespace(SessionOptions=SimpleNamespace, InferenceSession=lambda *_, **__: Echo())
    monkeypatch.setitem(sys.modules, "onnxruntime", onnx)
    monkeypatch.setenv(DATA, str(tmp_path))
    return Surrogate("rbv2_rpart")


def test_a_space_of_yahpo_is_ours(rpart: Surrogate) -> None:
    assert rpart.data == ["3", "12"]
    assert rpart.space == {
        "cp": {"distribution": "log_normal", "min": 1e-4, "max": 1.0},
        "maxdepth": {"distribution": "int_uniform", "min": 1, "max": 30},
        "minbucket": {"distribution": "int_uniform", "min": 1, "max": 100},
        "minsplit": {
            "distribution": "int_uniform", "min": 1, "max": 100,
            "when": {"num.impute.selected.cpo": ["hist"]},
        },
        "num.impute.selected.cpo": {"values": ["mean", "hist"]},
    }  # fmt: skip


def test_a_network_of_yahpo_gets_its_inputs_in_its_own_order_at_full_compute(
    rpart: Surrogate,
) -> None:
    known = {"maxdepth": 7, "minbucket": 20, "cp": 0.5}  # no minsplit: its condition fails
    out = rpart.predict("3", [known | {"num.impute.selected.cpo": "mean"}, known])
    given = rpart.session.given
    assert given["x_cont"].tolist() == [[0.5, 7, 20, 0, 1.0, 10]] * 2
    assert given["x_cat"].tolist() == [[2, 1], [2, 0]]
    assert out.tolist() == [[41.5, 83.0], [40.5, 81.0]]  # score and seconds


def test_missing_data_of_yahpo_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(DATA, raising=False)
    with pytest.raises(SystemExit, match=f"{DATA} must name .* rbv2_rpart"):
        Surrogate("rbv2_rpart")
