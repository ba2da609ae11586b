"""Should a running trial be ended because others did better by then? Pure functions of curves.

Resources are in the unit that the sweep file names (`cost_seconds` or `step`).

- median (Golovin et al. 2017, Google Vizier, section 3.2.2): end a trial whose best value by
  resource r is worse than the median of the others' running averages by r. Of the others count
  those that have come as far, and the finished ones that needed less.
- asha (Li et al. 2020, algorithm 2, in its stopping form): at rungs grace × ηᵏ only the best 1/η of
  all that reached the rung goes on.
- forecast: end a trial that has hardly a chance to score best of all, by what its curve and those
  of the finished trials let expect of its end (protein.curves).
"""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

from launcher.ports import Curve
from launcher.sweepfile.schema import EarlyStopping

NO_FINALS: Mapping[int, float | None] = MappingProxyType({})
MAX_POINTS = 32


def why_stop(
    rule: EarlyStopping,
    goal: str,
    trial: int,
    curves: Mapping[int, Curve],
    *,
    finals: Mapping[int, float | None] = NO_FINALS,
) -> str:
    """Return why a trial should end now, empty if it should go on.

    `curves` holds all trials of the sweep, also those that are over, this one among them; `finals`
    what the finished ones scored.
    """
    sign = 1.0 if goal == "maximize" else -1.0
    own = _signed(curves.get(trial, ()), sign)
    if not own or own[-1][0] < rule.grace:
        return ""
    others = {n: _signed(curve, sign) for n, curve in curves.items() if n != trial}
    match rule.method:
        case "median":
            return _median(rule, own, [(curve, n in finals) for n, curve in others.items()])
        case "asha":
            return _asha(rule, own, list(others.values()))
        case "forecast":
            known = {n: sign * final for n, final in finals.items() if final is not None}
            return _forecast(rule, own, [(others[n], known[n]) for n in others if n in known], sign)


def furthest(curves: Iterable[Curve]) -> Curve:
    """Return the curve that goes furthest, of equals the first; empty if there is none."""
    return max(curves, key=lambda curve: curve[-1][0] if curve else -math.inf, default=())


def thinned(curve: Curve) -> tuple[tuple[float, float], ...]:
    """Return at most MAX_POINTS points of a curve, means over stretches of it; the end stays."""
    size = max(1, math.ceil(len(curve) / MAX_POINTS))
    stretches = [curve[max(0, end - size) : end] for end in range(len(curve), 0, -size)]
    return tuple(
        (stretch[-1][0], statistics.fmean(value for _, value in stretch))
        for stretch in reversed(stretches)
    )


def _median(rule: EarlyStopping, own: Curve, others: Sequence[tuple[Curve, bool]]) -> str:
    resource = own[-1][0]
    averages = [
        statistics.fmean(value for at, value in curve if at <= resource)
        for curve, is_finished in others
        if curve and curve[0][0] <= resource and (is_finished or curve[-1][0] >= resource)
    ]
    if len(averages) < rule.min_trials:
        return ""
    middle = statistics.median(averages)
    best = max(value for _, value in own)
    if best >= middle:
        return ""
    return (
        f"below the median of {len(averages)} trials at {rule.resource} {resource:g}"
        f" ({abs(best):g} against {abs(middle):g})"
    )


def _asha(rule: EarlyStopping, own: Curve, others: Sequence[Curve]) -> str:
    rung = _rung(rule, own[-1][0])
    best = _best_by(own, rung)
    rivals = [_best_by(curve, rung) for curve in others if curve and curve[-1][0] >= rung]
    ranked = sorted([best, *(value for value in rivals if math.isfinite(value))], reverse=True)
    if len(ranked) < max(rule.min_trials, rule.reduction_factor):
        return ""
    kept = max(1, len(ranked) // rule.reduction_factor)
    if best >= ranked[kept - 1]:
        return ""
    place = ranked.index(best) + 1
    return f"place {place} of {len(ranked)} at the rung of {rule.resource} {rung:g}; {kept} go on"


def _forecast(
    rule: EarlyStopping, own: Curve, finished: Sequence[tuple[Curve, float]], sign: float
) -> str:
    if len(finished) < rule.min_trials:
        return ""
    from protein.curves import Finished  # numpy: only where it is asked for

    mean, sd = Finished.of(finished).forecast(own)
    best = max(final for _, final in finished)
    ahead = mean - best
    chance = statistics.NormalDist(0.0, sd).cdf(ahead) if sd > 0 else float(ahead >= 0)
    if chance >= rule.min_chance:
        return ""
    return (
        f"a chance of {chance:.2g} to become the best after {rule.resource} {own[-1][0]:g}"
        f" ({sign * mean:.4g} ± {sd:.2g} expected, {sign * best:g} reached)"
    )


def _rung(rule: EarlyStopping, resource: float) -> float:
    """Return the highest rung grace × ηᵏ that was reached."""
    power = math.floor(math.log(resource / rule.grace, rule.reduction_factor) + 1e-9)
    return rule.grace * float(rule.reduction_factor) ** max(0, power)


def _best_by(curve: Curve, resource: float) -> float:
    return max((value for at, value in curve if at <= resource), default=-math.inf)


def _signed(curve: Curve, sign: float) -> list[tuple[float, float]]:
    return [(at, sign * value) for at, value in curve if math.isfinite(value)]
