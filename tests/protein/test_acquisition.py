import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate
from scipy.stats import norm

from protein.acquisition import log_h, patience


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
