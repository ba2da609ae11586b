"""What the benchmark measures is what it says: real trainings, and the first trials of sweeps."""

import math

import numpy as np
import pytest

pytest.importorskip("benchmarks.optimizer", reason="not in an installed package")

from benchmarks.optimizer.classic import classic, paths
from benchmarks.optimizer.live import live
from benchmarks.optimizer.table import table
from benchmarks.optimizer.tabular import Table

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
