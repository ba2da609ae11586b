import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import approx_fprime
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, PairwiseKernel

from protein import gp

RNG = np.random.default_rng(0)
X = RNG.random((25, 3))
Y = np.sin(4 * X[:, 0]) + X[:, 1] ** 2 + 0.1 * RNG.standard_normal(25)
GROUP = np.array([0, 1, 1])
THETA = np.array([math.log(0.5), math.log(0.9), math.log(0.7), math.log(0.02), math.log(1.3)])


def alike_in_trend(a: np.ndarray, b: np.ndarray, gamma: float) -> float:
    """The covariance of two rows in sums of parabolas with independent standard coefficients."""
    a, b = (np.polynomial.legendre.legvander(2.0 * x - 1.0, 2)[:, 1:] for x in (a, b))
    return float((a * b).sum()) / len(a)


def reference(x: np.ndarray, y: np.ndarray, noise: np.ndarray) -> GaussianProcessRegressor:
    """Scikit-learn's process of the same hyperparameters, as a second implementation."""
    matern = Matern([0.5, 0.9, 0.9], "fixed", nu=2.5)
    trend = PairwiseKernel(metric=alike_in_trend)
    kernel = ConstantKernel(1.3, "fixed") * matern + ConstantKernel(0.7, "fixed") * trend
    kernel += ConstantKernel(gp.MEAN_VARIANCE, "fixed")
    return GaussianProcessRegressor(kernel, alpha=noise, optimizer=None).fit(x, y)


def test_predictions_are_those_of_scikit_learn() -> None:
    weight, doubt = RNG.integers(1, 5, 25).astype(float), 0.1 * RNG.random(25)
    Z = RNG.random((7, 3))
    mean, variance = gp.condition(X, Y, GROUP, THETA, weight, doubt).predict(Z)
    expected, sd = reference(X, Y, 0.02 / weight + doubt).predict(Z, return_std=True)
    assert mean == pytest.approx(expected)
    assert np.sqrt(variance) == pytest.approx(sd)


def test_the_likelihood_is_that_of_scikit_learn() -> None:
    value, _ = gp.negative_log_posterior(THETA, X, Y, GROUP, None, None)
    model = reference(X, Y, np.full(25, 0.02))
    constant = 25 / 2 * math.log(2 * math.pi)
    assert value + constant == pytest.approx(-model.log_marginal_likelihood())


def test_the_gradient_is_that_of_finite_differences() -> None:
    weight, doubt = RNG.integers(1, 5, 25).astype(float), 0.1 * RNG.random(25)
    arguments = (X, Y, GROUP, gp.Prior(), weight, doubt)
    numeric = approx_fprime(
        THETA, lambda theta: gp.negative_log_posterior(theta, *arguments)[0], 1e-7
    )
    _, gradient = gp.negative_log_posterior(THETA, *arguments)
    assert gradient == pytest.approx(numeric, rel=1e-4, abs=1e-4)


@settings(deadline=None)
@given(st.permutations(range(3)), st.tuples(*[st.booleans()] * 3))
def test_mirrored_and_permuted_columns_change_nothing(order: list[int], flip: tuple) -> None:
    def turned(rows: np.ndarray) -> np.ndarray:
        return np.where(flip, 1.0 - rows, rows)[:, order]

    Z = RNG.random((7, 3))
    plain = gp.condition(X, Y, GROUP, THETA)
    other = gp.condition(turned(X), Y, GROUP[order], THETA)
    for a, b in zip(plain.predict(Z), other.predict(turned(Z)), strict=True):
        assert a == pytest.approx(b)


def test_extending_is_conditioning_on_everything() -> None:
    Z, z = RNG.random((4, 3)), RNG.standard_normal(4)
    grown = gp.condition(X, Y, GROUP, THETA).extend(Z, z)
    whole = gp.condition(np.vstack([X, Z]), np.concatenate([Y, z]), GROUP, THETA)
    for a, b in zip(grown.predict(X + 0.1), whole.predict(X + 0.1), strict=True):
        assert a == pytest.approx(b)


def test_a_believed_row_keeps_the_mean_and_shrinks_the_variance() -> None:
    before = gp.condition(X, Y, GROUP, THETA)
    Z = RNG.random((2, 3))
    after = before.extend(Z)
    W = RNG.random((9, 3))
    assert after.predict_mean(W) == pytest.approx(before.predict_mean(W))
    assert (after.predict(W)[1] <= before.predict(W)[1] + 1e-12).all()
    assert (after.predict(Z)[1] < before.predict(Z)[1]).all()


def test_a_glance_gives_the_mean_and_never_too_little_variance() -> None:
    grown = gp.condition(X, Y, GROUP, THETA).extend(RNG.random((3, 3)))
    W = RNG.random((150, 3))
    mean, variance = grown.predict(W)
    seen, at_most = grown.glance(W)
    assert seen == pytest.approx(mean)
    assert (at_most >= variance - 1e-12).all()
    nothing_known = gp.condition(X[:1], Y[:1], GROUP, THETA, np.array([1e-9])).predict(W)[1]
    assert (at_most < nothing_known).all()


def test_leaving_one_out_is_what_it_says() -> None:
    residual = gp.condition(X, Y, GROUP, THETA).leave_one_out()
    others = np.arange(25) != 7
    without = gp.condition(X[others], Y[others], GROUP, THETA)
    assert residual[7] == pytest.approx(Y[7] - without.predict_mean(X[7:8])[0])


def test_a_fit_finds_which_feature_matters_and_how_noisy_rows_are() -> None:
    x = RNG.random((80, 2))
    y = np.sin(6 * x[:, 0]) + 0.1 * RNG.standard_normal(80)
    theta = gp.fit(x, (y - y.mean()) / y.std(), np.arange(2))
    assert theta[0] < theta[1] - 0.5
    assert math.sqrt(math.exp(theta[-2])) * y.std() == pytest.approx(0.1, rel=0.5)


def test_two_dozen_rows_tell_a_sum_of_bowls() -> None:
    rng = np.random.default_rng(3)
    x, elsewhere, group = rng.random((25, 8)), rng.random((200, 8)), np.arange(8)
    center = rng.uniform(0.2, 0.8, 8)
    y, truth = (-((rows - center) ** 2).sum(axis=1) for rows in (x, elsewhere))
    y = (y - y.mean()) / y.std()
    expected = gp.condition(x, y, group, gp.fit(x, y, group)).predict_mean(elsewhere)
    assert np.corrcoef(expected, truth)[0, 1] > 0.95


def test_a_ripple_is_no_trend() -> None:
    x = np.random.default_rng(4).random((60, 2))
    y = np.sin(12 * x[:, 0]) * np.sin(12 * x[:, 1])
    trend_variance = math.exp(gp.fit(x, y / y.std(), np.arange(2))[-3])
    assert trend_variance < 0.01


def test_few_rows_are_not_explained_by_one_parameter_that_changes_everything() -> None:
    x = np.random.default_rng(1).random((12, 6))
    y = np.random.default_rng(2).standard_normal(12)
    lengthscales = gp.lengthscales(gp.fit(x, y, np.arange(6)), np.arange(6))
    assert lengthscales.min() > 0.15
    assert lengthscales.max() < 4.0


def test_identical_rows_do_not_break_the_factorisation() -> None:
    same = np.zeros((30, 3))
    theta = np.array([0.0, 0.0, 0.0, math.log(1e-6), 4.0])
    mean, _ = gp.condition(same, np.ones(30), GROUP, theta).predict(same[:1])
    assert mean[0] == pytest.approx(1.0, abs=1e-2)


def test_rows_that_are_not_finite_are_refused() -> None:
    with pytest.raises(FloatingPointError):
        gp.condition(np.full((2, 3), np.nan), np.zeros(2), GROUP, THETA)
