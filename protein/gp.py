# ruff: noqa: F722 - jaxtyping's shapes are strings, not forward references
"""Gaussian-process regression with closed-form gradients, in float64.

Notation and shapes
    n, m, D, G     rows known, rows asked about, feature columns, lengthscale groups
    X [n, D]       features; a categorical parameter owns several columns of one group
    y [n]          targets, standardised by the caller
    weight [n]     how much a row says: its noise variance is noise / weight + doubt
    doubt [n]      variance of a target beyond the noise, known beforehand; None: 0
    theta [G + 3]  log lengthscales, log variances of the trend, the noise and the signal
    K              signal * matern52(r) + trend * T + MEAN_VARIANCE + diag(noise / weight + doubt)
    T              inner products of `_bends`: what a parabola in each column explains
    L, alpha       lower Cholesky factor of K, and K^-1 y

The unknown constant mean is integrated out under N(0, MEAN_VARIANCE) (Rasmussen & Williams 2006,
section 2.7), hence the constant in K. The marginal likelihood and its gradient are their equations
5.8 and 5.9; r^2 is the sum over columns of squared differences over squared lengthscales. The
trend is a linear model whose coefficients have one variance (their section 2.7 again): where scores
are a sum of a slope or bowl for each parameter two dozen rows tell it; a product of correlations
does not see it.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray
from scipy.linalg import lapack, solve_triangular

Array = NDArray[np.float64]

MEAN_VARIANCE = 1.0
_TREND, _NOISE, _SIGNAL = -3, -2, -1  # places in theta, behind the lengthscales
_TRENDS, _NO_TREND = (-7.0, 3.0), (-30.0, -30.0)  # bounds of the logarithm of its variance
_SQRT5 = math.sqrt(5.0)
_BLOCK = 64  # rows of a kernel at a time, so that what is in between stays in the cache


@dataclass(frozen=True, slots=True)
class Prior:
    """Priors on theta, which make the fit a MAP estimate.

    Lengthscales l: exp(-`lengthscale` (l^2 + l^-2)), nearly flat from 0.3 to 3 and steep beyond, so
    that a few trials are explained neither by one parameter that changes everything nor by noise.
    Noise variance: Gamma(`noise_shape`, `noise_rate`), small unless the rows insist. Both as in
    Optuna's GPSampler. Signal variance: log-normal around 1, deviation `signal_sd`. The trend's
    variance: exponential with `trend_rate`, most likely none.
    """

    lengthscale: float = 0.1
    noise_shape: float = 1.1
    noise_rate: float = 30.0
    signal_sd: float = 1.0
    trend_rate: float = 0.5

    def negative_log(self, theta: Float[Array, " T"]) -> tuple[float, Float[Array, " T"]]:
        """Give the negative log density and its gradient, without constants."""
        log_ell, log_noise, log_signal = theta[:_TREND], theta[_NOISE], theta[_SIGNAL]
        trend = self.trend_rate * math.exp(theta[_TREND])
        noise = self.noise_rate * math.exp(log_noise)
        value = 2.0 * self.lengthscale * float(np.cosh(2.0 * log_ell).sum())
        value += trend + noise - (self.noise_shape - 1.0) * log_noise
        value += 0.5 * (log_signal / self.signal_sd) ** 2
        gradient = np.empty_like(theta)
        gradient[:_TREND] = 4.0 * self.lengthscale * np.sinh(2.0 * log_ell)
        gradient[_TREND] = trend
        gradient[_NOISE] = noise - (self.noise_shape - 1.0)
        gradient[_SIGNAL] = log_signal / self.signal_sd**2
        return value, gradient


PRIOR = Prior()


@dataclass(frozen=True, slots=True)
class GP:
    """A Gaussian process conditioned on rows. Build it with `condition` or `fit`."""

    X: Array
    y: Array
    group: NDArray[np.int64]
    theta: Array
    L: Array
    alpha: Array

    @property
    def lengthscale(self) -> Float[Array, " D"]:
        """The lengthscale of each column."""
        return lengthscales(self.theta, self.group)

    @property
    def noise(self) -> float:
        """The noise variance of a row of weight 1."""
        return math.exp(self.theta[_NOISE])

    def leave_one_out(self) -> Float[Array, " n"]:
        """Give y minus what the other rows predict for it (Rasmussen & Williams, equation 5.12)."""
        residual: Array = self.alpha / np.diagonal(_inverse(self.L))
        return residual

    def predict(self, Z: Float[Array, "m D"]) -> tuple[Float[Array, " m"], Float[Array, " m"]]:
        """Give mean and variance of the noise-free function at rows Z."""
        k = _kernel(self.theta, self.group, Z, self.X)
        v = solve_triangular(self.L, k.T, lower=True, check_finite=False)
        prior = _prior_variance(self.theta, Z)
        variance = prior - np.einsum("nm,nm->m", v, v)
        return k @ self.alpha, np.maximum(variance, 1e-10 * prior)

    def glance(self, Z: Float[Array, "m D"]) -> tuple[Float[Array, " m"], Float[Array, " m"]]:
        """Give the mean, and what the variance is at most, for a fraction of the time.

        Fewer rows leave more variance: the bound is what the first quarter of the rows leave.
        """
        some = len(self.X) // 4
        k = _kernel(self.theta, self.group, Z, self.X)
        few = self.L[:some, :some]
        v = solve_triangular(few, k[:, :some].T, lower=True, check_finite=False)
        prior = _prior_variance(self.theta, Z)
        return k @ self.alpha, prior - np.einsum("nm,nm->m", v, v)

    def predict_mean(self, Z: Float[Array, "m D"]) -> Float[Array, " m"]:
        """Give the mean alone, which is cheaper."""
        return _kernel(self.theta, self.group, Z, self.X) @ self.alpha

    def draw(
        self, Z: Float[Array, "m D"], count: int, rng: np.random.Generator
    ) -> Float[Array, "count m"]:
        """Draw noise-free functions from the posterior, at rows Z."""
        k = _kernel(self.theta, self.group, Z, self.X)
        v = solve_triangular(self.L, k.T, lower=True, check_finite=False)
        covariance = _kernel(self.theta, self.group, Z, Z) - v.T @ v
        covariance[np.diag_indices_from(covariance)] += 1e-8 * covariance.max()
        draws: Array = (
            k @ self.alpha + rng.standard_normal((count, len(Z))) @ _cholesky(covariance).T
        )
        return draws

    def extend(self, Z: Float[Array, "m D"], y: Float[Array, " m"] | None = None) -> "GP":
        """Add rows by growing the Cholesky factor: O(n^2 m) instead of O(n^3).

        Without y the mean is believed to be what will be seen (kriging believer, Ginsbourger et
        al. 2010): the mean stays, the variance shrinks.
        """
        if len(Z) == 0:
            return self
        n, m = len(self.X), len(Z)
        k = _kernel(self.theta, self.group, self.X, Z)
        B = solve_triangular(self.L, k, lower=True, check_finite=False)
        S = _kernel(self.theta, self.group, Z, Z) + self.noise * np.eye(m) - B.T @ B
        L = np.zeros((n + m, n + m))
        L[:n, :n], L[n:, :n], L[n:, n:] = self.L, B.T, _cholesky(S)
        targets = np.concatenate([self.y, k.T @ self.alpha if y is None else y])
        alpha = np.append(self.alpha, np.zeros(m)) if y is None else _solve(L, targets)
        return replace(self, X=np.vstack([self.X, Z]), y=targets, L=L, alpha=alpha)


def lengthscales(
    theta: Float[Array, " T"], group: Int[NDArray[np.int64], " D"]
) -> Float[Array, " D"]:
    """Give the lengthscale of each column."""
    ell: Array = np.exp(theta[:_TREND])[group]
    return ell


def condition(
    X: Float[Array, "n D"],
    y: Float[Array, " n"],
    group: Int[NDArray[np.int64], " D"],
    theta: Float[Array, " T"],
    weight: Float[Array, " n"] | None = None,
    doubt: Float[Array, " n"] | None = None,
) -> GP:
    """Condition a process with known theta on rows."""
    K = _kernel(theta, group, X, X)
    K[np.diag_indices_from(K)] += math.exp(theta[_NOISE]) / (1.0 if weight is None else weight)
    if doubt is not None:
        K[np.diag_indices_from(K)] += doubt
    L = _cholesky(K)
    return GP(X, y, group, theta, L, _solve(L, y))


def fit(
    X: Float[Array, "n D"],
    y: Float[Array, " n"],
    group: Int[NDArray[np.int64], " D"],
    *,
    prior: Prior = PRIOR,
    weight: Float[Array, " n"] | None = None,
    doubt: Float[Array, " n"] | None = None,
    start: Float[Array, " T"] | None = None,
    iterations: int = 40,
    trend: bool = True,
) -> Float[Array, " T"]:
    """Find the theta of the highest posterior density by L-BFGS-B, with a trend or without."""
    from scipy.optimize import minimize  # a quarter of a second to import

    groups = int(group.max()) + 1
    bounds = [(math.log(0.01), math.log(100.0))] * groups
    bounds += [_TRENDS if trend else _NO_TREND, (math.log(1e-6), 1.0), (-4.0, 4.0)]
    result = minimize(
        negative_log_posterior,
        smooth_start(groups) if start is None else start,
        args=(X, y, group, prior, weight, doubt),
        jac=True,
        method="L-BFGS-B",
        bounds=bounds,
        options={"maxiter": iterations},
    )
    theta: Array = result.x
    return theta


def smooth_start(groups: int) -> Float[Array, " T"]:
    """Give where a fit starts: a smooth function with little noise, smoother in more dimensions."""
    theta = np.zeros(groups - _TREND)
    theta[:groups] = 0.4 + 0.5 * math.log(groups)
    theta[_TREND], theta[_NOISE] = -1.5, -6.0
    return theta


def negative_log_posterior(
    theta: Float[Array, " T"],
    X: Float[Array, "n D"],
    y: Float[Array, " n"],
    group: Int[NDArray[np.int64], " D"],
    prior: Prior | None,
    weight: Float[Array, " n"] | None,
    doubt: Float[Array, " n"] | None = None,
) -> tuple[float, Float[Array, " T"]]:
    """Give the function that `fit` minimises and its gradient, without constants.

    Without a prior it is the negative log marginal likelihood.
    """
    n, groups = len(X), len(theta) + _TREND
    Xs = X * (_SQRT5 / lengthscales(theta, group))
    nugget = math.exp(theta[_NOISE]) / (np.ones(n) if weight is None else weight)
    decay, r = _decay(theta, Xs, Xs)
    slope = (r + 1.0) * decay
    correlated = slope + _third_of_square(r) * decay
    trend = _trend(theta, X, X)
    K = correlated + trend
    K += MEAN_VARIANCE
    K[np.diag_indices(n)] += nugget if doubt is None else nugget + doubt
    L = _cholesky(K)
    alpha = _solve(L, y)
    W = _inverse(L)
    W -= np.outer(alpha, alpha)  # dnll/dK = W / 2
    B = np.multiply(W, slope, out=slope)
    per_column = B.sum(axis=1) @ Xs**2 - np.einsum("nd,nd->d", Xs, B @ Xs)
    gradient = np.empty_like(theta)
    gradient[:groups] = np.bincount(group, per_column / 3.0, minlength=groups)
    gradient[_TREND] = 0.5 * float(np.vdot(W, trend))
    gradient[_NOISE] = 0.5 * float(np.diagonal(W) @ nugget)
    gradient[_SIGNAL] = 0.5 * float(np.vdot(W, correlated))
    value = 0.5 * float(y @ alpha) + float(np.log(np.diagonal(L)).sum())
    if prior is None:
        return value, gradient
    against, slope = prior.negative_log(theta)
    return value + against, gradient + slope


def _kernel(
    theta: Float[Array, " T"],
    group: Int[NDArray[np.int64], " D"],
    A: Float[Array, "a D"],
    B: Float[Array, "b D"],
) -> Float[Array, "a b"]:
    scale, K = _SQRT5 / lengthscales(theta, group), _trend(theta, A, B)
    A, B = A * scale, B * scale
    for start in range(0, len(A), _BLOCK):
        block = slice(start, start + _BLOCK)
        decay, r = _decay(theta, A[block], B)
        k = _third_of_square(r)
        k += r
        k += 1.0
        k *= decay
        k += MEAN_VARIANCE
        K[block] += k
    return K


def _trend(
    theta: Float[Array, " T"], A: Float[Array, "a D"], B: Float[Array, "b D"]
) -> Float[Array, "a b"]:
    covariance: Array = (math.exp(theta[_TREND]) * _bends(A)) @ _bends(B).T
    return covariance


def _bends(X: Float[Array, "n D"]) -> Float[Array, "n two_D"]:
    """Give the first two Legendre polynomials of each column, which runs from 0 to 1."""
    t = 2.0 * X - 1.0
    return np.hstack([t, 1.5 * t * t - 0.5]) / math.sqrt(X.shape[1])


def _prior_variance(theta: Float[Array, " T"], Z: Float[Array, "m D"]) -> Float[Array, " m"]:
    bends = _bends(Z)
    trend = math.exp(theta[_TREND]) * np.einsum("md,md->m", bends, bends)
    variance: Array = trend + (math.exp(theta[_SIGNAL]) + MEAN_VARIANCE)
    return variance


def _decay(
    theta: Float[Array, " T"], A: Float[Array, "a D"], B: Float[Array, "b D"]
) -> tuple[Float[Array, "a b"], Float[Array, "a b"]]:
    """Give signal * exp(-r) and r = sqrt(5) times the distance. In place: the arrays are large."""
    r = (-2.0 * A) @ B.T
    r += np.einsum("ad,ad->a", A, A)[:, None]
    r += np.einsum("bd,bd->b", B, B)
    np.maximum(r, 0.0, out=r)
    np.sqrt(r, out=r)
    decay = theta[_SIGNAL] - r
    np.exp(decay, out=decay)
    return decay, r


def _third_of_square(r: Float[Array, "a b"]) -> Float[Array, "a b"]:
    square: Array = r * r
    square *= 1.0 / 3.0
    return square


def _cholesky(K: Float[Array, "n n"]) -> Float[Array, "n n"]:
    """Factor K, with as much jitter as it takes and no more."""
    if not np.isfinite(K).all():
        raise FloatingPointError("the kernel matrix is not finite")
    jitter = 0.0
    while True:
        L, info = lapack.dpotrf(K + jitter * np.eye(len(K)) if jitter else K, lower=1, clean=1)
        if info == 0:
            factor: Array = L
            return factor
        jitter = max(10.0 * jitter, 1e-10 * float(np.trace(K)) / len(K))


def _solve(L: Float[Array, "n n"], y: Float[Array, " n"]) -> Float[Array, " n"]:
    solution: Array = lapack.dpotrs(L, y, lower=1)[0]
    return solution


def _inverse(L: Float[Array, "n n"]) -> Float[Array, "n n"]:
    lower: Array = lapack.dpotri(L, lower=1)[0]  # zero above the diagonal, as L is
    inverse = lower + lower.T
    inverse[np.diag_indices_from(inverse)] *= 0.5
    return inverse
