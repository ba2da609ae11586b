"""What the benchmark measures is what it says: real trainings, and the first trials of sweeps."""

import math

import numpy as np
import pytest

pytest.importorskip("benchmarks.optimizer", reason="not in an installed package")

from benchmarks.optimizer.live import live
from benchmarks.optimizer.table import table
from benchmarks.optimizer.tabular import Table

REFUSED = {
    "model": "linear",
    "C": 1.0,
    "components": 5,
    "scaled": True,
    "penalty": "l1",
    "loss": "hinge",
    "dual": True,
}


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
