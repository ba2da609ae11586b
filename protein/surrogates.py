# ruff: noqa: F722 - jaxtyping's shapes are strings, not forward references
"""What the observations teach: a process for the score, one for log cost, one for feasibility."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from scipy.special import log_ndtr

from protein import gp
from protein.compress import merge, spread_by_rank
from protein.data import Data
from protein.encoding import Encoding
from protein.scale import Scale

Array = NDArray[np.float64]

_SCORE_ROWS = 150  # rows that the score's hyperparameters are fitted on
_OTHER_ROWS = 100  # the same for cost and feasibility, which are smoother
_ROWS = 1000  # rows that a process is conditioned on; of more, the worse are merged
_OWN_SCALE = 8  # successes
_EARLIER_NEEDS = 3  # successes of an earlier sweep
_OWN_JUDGE = 4  # successes that can tell whether an earlier sweep misleads
_RIDGE = 0.03  # how reluctantly the plane under log cost tilts
_LABEL_VARIANCE = 0.25  # how soft the step from failing to succeeding is


@dataclass(frozen=True, slots=True)
class Feasibility:
    """P(a trial succeeds): a process on labels, +1 for a success and -1 for a failure.

    Least-squares classification (Rasmussen & Williams 2006, section 6.5): as good here as
    Laplace's approximation would be, at the price of a regression. Far from all data it returns
    to the share of successes seen.
    """

    process: gp.GP
    mean_label: float

    def log_p(self, F: Float[Array, "m D"]) -> Float[Array, " m"]:
        """Give the logarithm of the probability at rows F."""
        mean, variance = self.process.predict(F)
        log_p: Array = log_ndtr((mean + self.mean_label) / np.sqrt(_LABEL_VARIANCE + variance))
        return log_p


@dataclass(frozen=True, slots=True)
class LogCost:
    """The logarithm of a trial's cost: a plane, and a process for what is beside it.

    Costs mostly are products of powers: the plane says what is dear where nothing was tried yet.
    """

    process: gp.GP
    mean: float
    deviation: float
    slope: Array  # [D]

    def predict(self, F: Float[Array, "m D"]) -> Float[Array, " m"]:
        """Give the expected logarithm at rows F."""
        standardised = self.process.predict_mean(F) + F @ self.slope
        log_cost: Array = standardised * self.deviation + self.mean
        return log_cost


@dataclass(frozen=True, slots=True)
class Surrogates:
    """The beliefs about score, log cost (None if unknown) and feasibility (None if certain).

    `skill` is the share of the scores' variance that the score process predicts for rows left out,
    at most 1, below 0 where it misleads. `at_known` [n] is what it expects at `known`, the rows
    of all successes, of which the first `own` are of the present sweep.
    """

    score: gp.GP
    scale: Scale
    log_cost: LogCost | None
    feasibility: Feasibility | None
    skill: float
    known: Array
    at_known: Array
    own: int

    @property
    def incumbent(self) -> float:
        """The best score that is expected at a success: no lucky draw of the noise.

        Before the first success of the present sweep, at one of the earlier ones.
        """
        return float(self.at_known[: self.own or None].max())

    def log_p_feasible(self, F: Float[Array, "m D"]) -> Float[Array, " m"]:
        """Give log P(a trial succeeds)."""
        return np.zeros(len(F)) if self.feasibility is None else self.feasibility.log_p(F)

    def expecting(self, F: Float[Array, "k D"]) -> "Surrogates":
        """Believe that pending trials will score what is predicted."""
        return replace(self, score=self.score.extend(F))


def learn(encoding: Encoding, data: Data, earlier: Sequence[Data] = ()) -> Surrogates:
    """Fit all surrogates to at least one success, of the present sweep or of `earlier` ones."""
    sweeps = (data, *earlier)
    F = np.vstack([encoding.features(one.U, k) for k, one in enumerate(sweeps)])
    failed = np.vstack([encoding.features(one.failed, k) for k, one in enumerate(sweeps)])
    scale = _scale(data, earlier)
    scales = [scale, *(Scale.of(one.score) for one in earlier)]
    y = np.concatenate([s.forward(one.score) for s, one in zip(scales, sweeps, strict=True)])
    doubts = [s.deviation_of(one.score, one.doubt) for s, one in zip(scales, sweeps, strict=True)]
    doubt = np.concatenate(doubts) ** 2
    score = _fitted(encoding, F, y, _SCORE_ROWS, doubt)
    known = np.vstack([one.U for one in sweeps])
    return Surrogates(
        score,
        scale,
        learn_cost(encoding, F, np.concatenate([one.cost for one in sweeps])),
        _learn_feasibility(encoding, F, failed),
        _skill(F, y, doubt, score),
        known,
        score.predict_mean(encoding.features(known)),
        len(data.U),
    )


def helpful(plain: Encoding, data: Data, earlier: Sequence[Data]) -> list[Data]:
    """Choose the earlier sweeps to learn from; `plain` is the encoding without any.

    They need some successes, and must not have ranked the present ones upside down.
    """
    return [one for one in earlier if is_enough(one) and not _misleads(plain, one, data)]


def is_enough(earlier: Data) -> bool:
    """Tell whether an earlier sweep has enough successes to learn from."""
    return len(earlier.U) >= _EARLIER_NEEDS


def _misleads(plain: Encoding, earlier: Data, data: Data) -> bool:
    if len(data.U) < _OWN_JUDGE:
        return False
    y = Scale.of(earlier.score).forward(earlier.score)
    alone = _fitted(plain, plain.features(earlier.U), y, _OTHER_ROWS)
    expected = alone.predict_mean(plain.features(data.U))
    return _rank_correlation(expected, data.score) <= 0.0


def _rank_correlation(a: Float[Array, " n"], b: Float[Array, " n"]) -> float:
    """Give Spearman's coefficient, 1 where all values of one side are equal."""
    if np.ptp(a) == 0.0 or np.ptp(b) == 0.0:
        return 1.0
    ranks = [np.argsort(np.argsort(x, kind="stable"), kind="stable") for x in (a, b)]
    return 1.0 - 6.0 * float(((ranks[0] - ranks[1]) ** 2).sum()) / (len(a) ** 3 - len(a))


def _scale(data: Data, earlier: Sequence[Data]) -> Scale:
    """Scale by the sweep's own scores once they show how far scores vary.

    Until then by all that were seen, if the earlier ones are in the same units by the look of it.
    """
    own = data.score
    if len(own) >= _OWN_SCALE or not earlier:
        return Scale.of(own)
    before = np.concatenate([one.score for one in earlier])
    reach = np.ptp(before)
    alike = (own >= before.min() - reach) & (own <= before.max() + reach)
    return Scale.of(np.concatenate([own, before]) if alike.all() else own)


def _learn_feasibility(
    encoding: Encoding, good: Float[Array, "n D"], failed: Float[Array, "f D"]
) -> Feasibility | None:
    if len(failed) == 0:
        return None
    label = np.concatenate([np.ones(len(good)), -np.ones(len(failed))])
    mean = float(label.mean())
    process = _fitted(encoding, np.vstack([good, failed]), label - mean, _OTHER_ROWS, trend=False)
    return Feasibility(process, mean)


def learn_cost(
    encoding: Encoding, F: Float[Array, "n D"], cost: Float[Array, " n"]
) -> LogCost | None:
    """Learn from known costs; a cost of 0 counts as a tenth of the smallest positive one."""
    known = np.isfinite(cost)
    positive = cost[known & (np.nan_to_num(cost) > 0)]
    if len(positive) < 2 or positive.max() <= positive.min() * (1 + 1e-9):
        return None
    log_cost = np.log(np.maximum(cost[known], positive.min() / 10.0))
    mean, deviation = float(log_cost.mean()), float(log_cost.std())
    targets = np.round((log_cost - mean) / deviation, 9)
    centred = F[known] - F[known].mean(axis=0)
    ridge = _RIDGE * np.eye(F.shape[1])
    slope = np.linalg.solve(centred.T @ centred + ridge, centred.T @ targets)
    beside = targets - F[known] @ slope
    return LogCost(
        _fitted(encoding, F[known], beside, _OTHER_ROWS, trend=False), mean, deviation, slope
    )


def _fitted(
    encoding: Encoding,
    F: Float[Array, "n D"],
    y: Float[Array, " n"],
    fit_rows: int,
    doubt: Float[Array, " n"] | None = None,
    *,
    trend: bool = True,
) -> gp.GP:
    doubt = np.zeros(len(y)) if doubt is None else doubt
    chosen = spread_by_rank(y, fit_rows)
    theta = gp.fit(F[chosen], y[chosen], encoding.group, doubt=doubt[chosen], trend=trend)
    few = merge(F, y, F / gp.lengthscales(theta, encoding.group), limit=_ROWS, doubt=doubt)
    return gp.condition(few.X, few.y, encoding.group, theta, few.weight, few.doubt)


def _skill(
    F: Float[Array, "n D"], y: Float[Array, " n"], doubt: Float[Array, " n"], score: gp.GP
) -> float:
    """Give the share of the variance that is predicted, of scores that were seen."""
    chosen = spread_by_rank(y, _SCORE_ROWS)
    few = gp.condition(F[chosen], y[chosen], score.group, score.theta, doubt=doubt[chosen])
    seen = doubt[chosen] == 0.0
    variance = float(few.y[seen].var()) if seen.any() else 0.0
    missed = few.leave_one_out()[seen]
    return 1.0 - float((missed**2).mean()) / variance if variance > 0 else 0.0
