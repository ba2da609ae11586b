"""Two objectives beside cost: their front, and how one optimizer searches along it.

ParEGO (Knowles 2006, section III): each suggestion weighs the objectives anew, at random, and
maximises the augmented Chebyshev scalarisation of the weighed, normalised scores

    s = min_i(w_i z_i) + ρ Σ_i w_i z_i,     z_i in [0, 1], better is higher, ρ = 0.05

so that over a sweep the whole front is approached, also where it is not convex.

Of the front the trial is recommended that adds most to the hypervolume, the area that the front
beats (Zitzler & Thiele 1998): of two objectives, the best trade-off.
"""

from collections.abc import Sequence

from launcher.state import Trial, TrialState
from launcher.sweepfile.schema import SweepSection
from protein.pareto import unbeaten

RHO = 0.05
MARGIN = 0.1


def both(sweep: SweepSection, trial: Trial) -> tuple[float, float] | None:
    """Return both scores of a trial, better is higher; None if it has not both."""
    second = sweep.second_objective
    if second is None or trial.state is not TrialState.SUCCEEDED or trial.score is None:
        return None
    value = trial.metrics.get(second.metric)
    if value is None:
        return None
    return _signed(trial.score, sweep.goal), _signed(value, second.goal)


def front(sweep: SweepSection, trials: Sequence[Trial]) -> list[Trial]:
    """Return the trials that no other one beats in one objective without losing in the other.

    The best by the first objective comes first; of equal trials the earliest stays.
    """
    known = [(scores, trial) for trial in trials if (scores := both(sweep, trial)) is not None]
    return [known[index][1] for index in unbeaten([scores for scores, _ in known])]


def contributions(scores: Sequence[tuple[float, float]]) -> list[float]:
    """Return the share of the hypervolume that each point of a front alone accounts for.

    Better is higher, the best by the first one first, as `front` has them. Beaten is what lies
    above the worst of the front by a tenth of its range in both, so that its ends count too.
    """
    if not scores:
        return []
    firsts, seconds = [a for a, _ in scores], [b for _, b in scores]
    lowest = [min(v) - MARGIN * ((max(v) - min(v)) or 1.0) for v in (firsts, seconds)]
    right = [*firsts[1:], lowest[0]]
    below = [lowest[1], *seconds[:-1]]
    alone = [(a - r) * (b - s) for a, b, r, s in zip(firsts, seconds, right, below, strict=True)]
    whole = sum((a - r) * (b - lowest[1]) for (a, b), r in zip(scores, right, strict=True))
    return [area / whole for area in alone]


def scalarised(scores: Sequence[tuple[float, float]], seed: int) -> list[float]:
    """Return one score for each pair, weighed by what `seed` draws; shape (n, 2) to n."""
    import numpy as np

    if not scores:
        return []
    Y = np.asarray(scores, dtype=float)
    low, span = Y.min(axis=0), np.ptp(Y, axis=0)
    Z = np.where(span > 0, (Y - low) / np.where(span > 0, span, 1.0), 1.0)
    w = np.random.default_rng(seed).dirichlet((1.0, 1.0))
    return [float(s) for s in (w * Z).min(axis=1) + RHO * (w * Z).sum(axis=1)]


def _signed(value: float, goal: str) -> float:
    return value if goal == "maximize" else -value
