"""What the benchmark measures is what it says: real trainings, and the first trials of sweeps."""

import math
from pathlib import Path
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
