"""Faults of earlier Proteins, each first shown with the old formula, then not found in ours."""

import math

import numpy as np
import pytest

from protein import Observation, Settings, Space, pareto_front
from protein.candidates import around, reflect
from protein.data import Data
from protein.encoding import Encoding
from protein.scale import Scale
from protein.suggest import suggest
from protein.surrogates import learn

LINE = Space.from_dict({"x": {"min": 0.0, "max": 1.0}})


def seen(x: float, score: float | None, cost: float | None = 1.0, failed: bool = False):
    return Observation({"x": x}, score, cost, failed)


def learned(observed, space=LINE, goal="maximize"):
    encoding = Encoding(space)
    return encoding, learn(encoding, Data.of(encoding, Settings(goal=goal), observed))


def test_equal_costs_do_not_make_the_worst_candidate_win() -> None:
    predicted, cost = np.array([0.0, 0.5, 1.0]), np.zeros(3)  # normalised, all equal
    target = 0.7
    old = predicted * (1 - np.abs(target - cost) * 2)  # a negative weight
    assert old.argmax() == 0  # the worst
    observed = [seen(x, -((x - 0.3) ** 2)) for x in np.linspace(0, 1, 9)]
    tries = [suggest(LINE, Settings(), observed, [], s).params["x"] for s in range(20)]
    assert all(abs(x - 0.3) < 0.25 for x in tries)


def test_a_candidate_that_is_masked_does_not_win_when_minimising() -> None:
    predicted_loss, mask = np.array([3.0, 2.0]), np.array([0.0, 1.0])
    assert (predicted_loss * mask).argmin() == 0  # the forbidden one
    observed = [seen(x, (x - 0.9) ** 2) for x in np.linspace(0, 1, 9)]
    for seed in range(10):
        told = suggest(
            LINE, Settings(goal="minimize"), observed, [], seed, constraint=lambda p: p["x"] < 0.5
        )
        assert told.params["x"] < 0.5


def test_the_front_knows_the_goal() -> None:
    cheap, dear = seen(0.0, 1.0, cost=1.0), seen(1.0, 2.0, cost=9.0)
    old = [cheap, dear]  # "score grows with cost", whatever the goal
    assert list(pareto_front([cheap, dear], "maximize")) == old
    assert pareto_front([cheap, dear], "minimize") == (cheap,)


def test_pending_trials_do_not_knock_the_best_from_its_place() -> None:
    best, lies = 1.0, [1.0, 1.0]  # the constant liar repeats the best for what is pending
    old_front = [s for s in [best, *lies] if not any(t >= s for t in lies)]
    assert old_front == []  # equals dominate each other
    observed = [seen(x, -((x - 0.3) ** 2)) for x in np.linspace(0, 1, 9)]
    pending = [{"x": 0.3}, {"x": 0.31}]
    assert suggest(LINE, Settings(), observed, pending, 0).params["x"] not in (0.3, 0.31)
    assert pareto_front([*observed, seen(0.5, observed[2].score)], "maximize")


def test_failures_are_learned_from() -> None:
    observed = [seen(x, x, failed=x > 0.5) for x in np.linspace(0, 1, 21)]
    old_best = max(o.score for o in observed)  # failures stored as successes
    assert old_best == 1.0
    _, surrogates = learned(observed)
    low, high = np.exp(surrogates.log_p_feasible(np.array([[0.2], [0.9]])))
    assert low > 0.9 > 0.2 > high


def test_repeats_teach_the_noise() -> None:
    rng = np.random.default_rng(0)
    observed = [seen(x, x + 0.3 * rng.standard_normal()) for x in [0.2, 0.5, 0.8] * 10]
    old = {o.params["x"]: o.score for o in observed}  # a repeat overwrites
    assert len(old) == 3
    _, surrogates = learned(observed)
    noise = math.sqrt(surrogates.score.noise) * surrogates.scale.deviation * surrogates.scale.spread
    assert 0.15 < noise < 0.45


def test_a_missing_cost_is_not_free() -> None:
    observed = [seen(x, x, cost=100.0 + 10 * x) for x in np.linspace(0, 1, 9)]
    old = np.array([0.0 if o is None else o for o in [100.0, 105.0, 110.0, None]])
    assert np.ptp(old[:3]) / np.ptp(old) < 0.1  # real costs squeezed into a tenth of the range
    _, surrogates = learned([*observed, seen(0.5, 0.5, cost=None)])
    assert surrogates.log_cost is not None
    assert np.exp(surrogates.log_cost.predict(np.array([[0.5]])))[0] == pytest.approx(105, rel=0.02)


def test_integers_are_rounded_before_they_are_scored() -> None:
    space = Space.from_dict({"n": {"distribution": "int_uniform", "min": 1, "max": 4}})
    encoding = Encoding(space)
    raw = np.array([[0.30], [0.45]])  # different rows, the same trial
    snapped = encoding.snap(raw)
    assert snapped[0] == snapped[1] == encoding.locate({"n": 2})


def test_categories_have_no_neighbours() -> None:
    space = Space.from_dict({"kind": {"values": list("abcd")}})
    encoding = Encoding(space)
    rows = encoding.features(np.array([[0.125], [0.375], [0.875]]))
    old = abs(0 - 1) / 3, abs(0 - 3) / 3
    assert old[0] != old[1]
    near, far = np.linalg.norm(rows[0] - rows[1]), np.linalg.norm(rows[0] - rows[2])
    assert near == far == pytest.approx(1.0)


def test_candidates_do_not_pile_up_on_the_bounds() -> None:
    rng = np.random.default_rng(0)
    steps = 0.95 + 0.2 * rng.standard_normal(4000)
    assert np.isin(np.clip(steps, 0, 1), (0.0, 1.0)).mean() > 0.25
    assert not np.isin(reflect(steps), (0.0, 1.0)).any()
    rows = around(Encoding(LINE), np.array([[0.95]]), 4000, 0.2, rng)
    assert not np.isin(rows, (0.0, 1.0)).any()


def test_a_diverged_score_does_not_flatten_the_others() -> None:
    scores = np.array([0.1, 0.5, 0.9, 0.7, -1e9])
    old = (scores - scores.mean()) / scores.std()
    assert np.ptp(old[:4]) < 1e-6
    ours = Scale.of(scores).forward(scores)
    assert np.ptp(ours[:4]) > 0.1
    assert ours.argmin() == 4


def test_what_is_unknown_is_tried() -> None:
    observed = [seen(x, score) for x, score in [(0.0, 0.5), (0.05, 0.51), (0.1, 0.5)] * 3]
    mean = 0.51 - 0.4 * np.abs(np.linspace(0, 1, 11) - 0.05)
    assert mean.argmax() == 0  # the mean alone never looks away from what it knows
    tries = [suggest(LINE, Settings(), observed, [], seed).params["x"] for seed in range(5)]
    assert max(tries) > 0.2
