import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate
from scipy.stats import norm

from protein import Observation, Settings, Space
from protein.acquisition import BELIEF, ELITE, Acquisition, Expected, enough, log_h, patience
from protein.data import Data
from protein.encoding import Encoding
from protein.surrogates import learn


@settings(deadline=None)
@given(st.floats(-6, 6))
def test_log_h_is_the_logarithm_of_the_integral_of_the_improvement(u: float) -> None:
    area, _ = integrate.quad(lambda t: t * norm.pdf(t - u), 0.0, max(u, 0.0) + 12.0)
    assert log_h(np.array([u]))[0] == pytest.approx(math.log(area), abs=1e-4)


@settings(deadline=None)
@given(st.floats(-1e6, 50), st.floats(1e-3, 10))
def test_log_h_grows_and_stays_finite_far_out(u: float, step: float) -> None:
    low, high = log_h(np.array([u, u + step]))
    assert math.isfinite(low)
    assert low < high


def test_log_h_has_no_jumps_where_its_formulas_meet() -> None:
    for seam in (-1.0, -1e3):
        left, right = log_h(np.array([seam - 1e-9 * abs(seam), seam + 1e-9 * abs(seam)]))
        assert left == pytest.approx(right, rel=1e-6)


def test_nothing_is_traded_for_cost_without_skill() -> None:
    assert patience(-3.0) == patience(0.6) == 1.0
    assert 1.0 < patience(0.7) < patience(0.9) == patience(1.0)


def wild(
    n: int, *, least: float = -math.inf, priced: bool = False
) -> tuple[Acquisition, np.ndarray]:
    """An acquisition of `n` trials, a quarter of which failed, and rows to value."""
    rng = np.random.default_rng(n)
    space = Space.from_dict({name: {"min": 0.0, "max": 1.0} for name in "abc"})
    rows = rng.random((n, 3))
    told = [
        Observation(dict(zip("abc", map(float, u), strict=True)), float(np.sin(9 * u).sum()), None)
        for u in rows
    ]
    failed = [Observation(o.params, None, None, True) for o in told if o.params["a"] > 0.75]
    encoding = Encoding(space)
    surrogates = learn(encoding, Data.of(encoding, Settings(), told[: 3 * n // 4] + failed))
    acquisition = Acquisition(
        encoding,
        surrogates,
        surrogates.incumbent,
        share=lambda U: -U[:, 0],
        price=(lambda U: 3.0 * U[:, 1]) if priced else None,
        least=least,
    )
    return acquisition, rng.random((200, 3))


def one_by_one(acquisition: Acquisition, U: np.ndarray) -> np.ndarray:
    return np.concatenate([acquisition(row[None]) for row in U])


@pytest.mark.parametrize("n", [8, 40])
@pytest.mark.parametrize("priced", [False, True])
def test_the_best_rows_are_valued_as_if_each_were_asked_alone(n: int, priced: bool) -> None:
    acquisition, U = wild(n, priced=priced, least=-6.0)
    alone, together = one_by_one(acquisition, U), acquisition(U)
    best = np.argsort(-alone)[:ELITE]
    assert set(np.argsort(-together)[:ELITE]) == set(best)
    assert together[best] == pytest.approx(alone[best])
    assert (together >= alone - 1e-9).all()


def test_rows_below_the_floor_stay_below_it() -> None:
    acquisition, U = wild(40)
    alone = one_by_one(acquisition, U)
    floor = enough(alone) - 1e-9
    assert ((acquisition(U, floor) >= floor) == (alone >= floor)).all()


def test_what_is_worth_too_little_is_not_taken_for_its_price() -> None:
    acquisition, U = wild(40, priced=True, least=-2.0)
    worth = one_by_one(wild(40)[0], U)
    assert (np.isneginf(one_by_one(acquisition, U)) == (worth < -2.0)).all()


def expected(trials: int, *u: float, skill: float = 0.0, **field: object) -> float:
    """What is expected of a row whose first parameter has a field more than a range."""
    space = {"x": {"min": 0.0, "max": 1.0, **field}, "y": {"values": ["a", "b", "c"]}}
    weigh = Expected.of(Encoding(Space.from_dict(space)), trials, skill)
    return float(weigh(np.array([u]))[0])


def test_the_mean_is_expected_most_and_a_category_as_much_as_any_other() -> None:
    assert expected(6, 0.2, 0.1, mean=0.2) == expected(6, 0.2, 0.9, mean=0.2) == 0.0
    assert expected(6, 0.5, 0.1) == 0.0 > expected(6, 0.6, 0.1) > expected(6, 0.9, 0.1)


def test_what_is_expected_is_the_logarithm_of_a_normal_that_trials_flatten() -> None:
    normal = norm.logpdf(0.9, 0.2, 0.4) - norm.logpdf(0.2, 0.2, 0.4)
    for trials in (2, 10, 1000):
        told = expected(trials, 0.9, 0.1, mean=0.2, scale=0.8)
        assert told == pytest.approx(BELIEF / trials * normal)


def test_the_better_scores_are_predicted_the_less_counts_what_was_expected() -> None:
    told = [expected(6, 0.9, 0.1, skill=skill) for skill in (-3.0, 0.0, 0.5, 1.0)]
    assert told == pytest.approx([told[0], told[0], told[0] / 2.0, 0.0])


def test_every_other_trial_takes_the_model_at_its_word() -> None:
    told = [expected(trials, 0.9, 0.1) for trials in range(1, 7)]
    assert [value == 0.0 for value in told] == [True, False] * 3


def test_a_scale_narrower_than_a_quarter_of_the_range_is_no_wall() -> None:
    assert expected(6, 0.9, 0.1, scale=0.01) == expected(6, 0.9, 0.1, scale=0.5)
