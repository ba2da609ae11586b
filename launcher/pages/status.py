"""The one document that says how a sweep stands: `status --json`, the table, the report.

Its schema is `status.schema.json`, explained in docs/status.md. Times are Unix seconds, money US
dollars, scores in the metric's own unit and direction. None means not known or not yet.
"""

import json
import math
from collections import Counter
from typing import Any, assert_never

from launcher import budget, objectives
from launcher.budget import Offer
from launcher.config import SweepConfig
from launcher.events import Failure, Origin
from launcher.policy import parallelism
from launcher.state import Attempt, Mode, State, Trial, TrialState
from protein.pareto import Goal, sign, unbeaten
from protein.space import Space

SCHEMA_VERSION = 1
"""Counted up when a key goes or changes its meaning; new keys may come at any time."""

Document = dict[str, Any]
"""JSON values only, and no NaN or infinity."""


def document(
    config: SweepConfig, state: State, *, offer: Offer, now: float, is_live: bool
) -> Document:
    """Return how the sweep stands at `now`. `is_live`: a coordinator runs it."""
    sweep_state = _sweep_state(state, is_live)
    at_work_until = now if is_live or state.live else state.at
    ordered = list(state.ordered)
    typical = _typical_seconds(ordered)
    front = _front(ordered, config.sweep.goal)
    counts = _counts(config, state, ordered)
    return {
        "schema_version": SCHEMA_VERSION,
        "sweep": config.name,
        "sweep_id": state.sweep_id,
        "state": sweep_state,
        "reason": _reason(state, sweep_state),
        "is_live": is_live,
        "goal": config.sweep.goal,
        "metric": config.sweep.metric,
        "time": now,
        "created_at": state.created_at,
        "elapsed_seconds": budget.active_seconds(state, at_work_until),
        "eta_seconds": _eta_seconds(config, state, offer, now, sweep_state, typical),
        "parameters": _tuned(config),
        "trials": [_trial(state, trial, typical, now) for trial in ordered],
        "best": _best(front),
        "pareto_front": front,
        "budget": _budget(config, state, offer, now, at_work_until),
        "counts": counts,
        "second_objective": _second_objective(config, ordered),
    }


def _second_objective(config: SweepConfig, trials: list[Trial]) -> dict[str, Any] | None:
    """Return the front of both objectives, the best by the first one first; None without two."""
    second = config.sweep.second_objective
    if second is None:
        return None
    points = [
        {**_point(trial), "second": trial.metrics[second.metric]}
        for trial in objectives.front(config.sweep, trials)
    ]
    return {"metric": second.metric, "goal": second.goal, "front": points}


def schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of the document."""
    from importlib.resources import files

    text = files("launcher.pages").joinpath("status.schema.json").read_text(encoding="utf-8")
    parsed: dict[str, Any] = json.loads(text)
    return parsed


def _sweep_state(state: State, is_live: bool) -> str:
    match state.mode:
        case Mode.ACTIVE:
            return "running" if is_live else "interrupted"
        case Mode.PAUSED | Mode.STOPPING | Mode.CANCELLING:
            return state.mode.value
        case Mode.ENDED:
            assert state.end is not None  # the event that ends a sweep says why
            return state.end.value
        case _:
            assert_never(state.mode)


def _reason(state: State, sweep_state: str) -> str:
    return "no coordinator runs" if sweep_state == "interrupted" else state.reason


def _tuned(config: SweepConfig) -> dict[str, Any]:
    space = Space.from_dict(config.sweep.parameters)
    return {parameter.name: parameter.to_dict() for parameter in space.parameters}


def _trial(state: State, trial: Trial, typical: float | None, now: float) -> dict[str, Any]:
    attempt = trial.attempt
    spent = budget.trial_spend_usd(state, trial, now)
    return {
        "number": trial.number,
        "run_id": trial.run_id,
        "state": trial.state.value,
        "origin": _origin(trial),
        "params": trial.params,
        "score": _finite(trial.score),
        "cost_seconds": _finite(trial.cost_seconds),
        "cost_usd": spent,
        "metrics": trial.metrics,
        "predicted": _predicted(trial.info),
        "attempts": [_attempt(a) for a in trial.attempts],
        "suggested_at": trial.suggested_at,
        "started_at": trial.started_at,
        "ended_at": trial.ended_at,
        "retry_at": trial.retry_at,
        "eta_seconds": _trial_eta_seconds(attempt, typical, now),
        "error": None if trial.failure is None else _error(trial, trial.failure),
    }


def _attempt(attempt: Attempt) -> dict[str, Any]:
    return {
        "number": attempt.number,
        "job_name": attempt.job_name,
        "started_at": attempt.started_at,
        "ended_at": attempt.ended_at,
        "failure": None if attempt.failure is None else attempt.failure.value,
        "exit_code": attempt.exit_code,
        "cost_usd": attempt.cost_usd,
    }


def _origin(trial: Trial) -> str:
    if trial.origin is Origin.USER:
        return Origin.USER.value
    origin = trial.info.get("origin")
    return origin if isinstance(origin, str) else Origin.OPTIMIZER.value


def _predicted(info: dict[str, Any]) -> dict[str, float | None] | None:
    """Return what the optimizer expected; None where it did not ask its model."""
    if "predicted_score" not in info:
        return None
    return {
        "score": _finite(info["predicted_score"]),
        "score_sd": _finite(info.get("predicted_score_sd")),
        "cost_seconds": _finite(info.get("predicted_cost")),
    }


def _error(trial: Trial, failure: Failure) -> dict[str, Any]:
    """Return what went wrong last, also while the trial is tried again."""
    failed = next((a for a in reversed(trial.attempts) if a.failure is not None), None)
    return {
        "class": failure.value,
        "message": trial.detail,
        "exit_code": None if failed is None else failed.exit_code,
        "attempt": None if failed is None else failed.number,
    }


def _typical_seconds(trials: list[Trial]) -> float | None:
    """Return how long a trial that ended by itself held its machines, on average."""
    ended = [
        trial.attempts[-1].machine_seconds
        for trial in trials
        if trial.attempts and trial.state in (TrialState.SUCCEEDED, TrialState.FAILED)
    ]
    return sum(ended) / len(ended) if ended else None


def _trial_eta_seconds(attempt: Attempt | None, typical: float | None, now: float) -> float | None:
    if typical is None or attempt is None or attempt.is_over or attempt.started_at is None:
        return None
    return max(0.0, typical - (now - attempt.started_at))


def _front(trials: list[Trial], goal: Goal) -> list[dict[str, Any]]:
    """Return the trials that none other beats at the same or a lower cost, ordered by cost."""
    factor = sign(goal)
    points, succeeded = [], []
    for trial in trials:
        if trial.state is TrialState.SUCCEEDED and (score := _finite(trial.score)) is not None:
            cost = math.inf if trial.cost_seconds is None else trial.cost_seconds
            points.append((factor * score, -cost))
            succeeded.append(trial)
    return [_point(succeeded[index]) for index in reversed(unbeaten(points))]


def _point(trial: Trial) -> dict[str, Any]:
    return {
        "number": trial.number,
        "run_id": trial.run_id,
        "params": trial.params,
        "score": _finite(trial.score),
        "cost_seconds": _finite(trial.cost_seconds),
    }


def _best(front: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the trial with the best observed score, the cheapest of equals."""
    return front[-1] if front else None


def _counts(config: SweepConfig, state: State, trials: list[Trial]) -> dict[str, int]:
    by_state = Counter([trial.state for trial in trials])
    return {
        "total": _total(config, state),
        "enqueued": len(state.queue),
        **{each.value: by_state[each] for each in TrialState},
    }


def _total(config: SweepConfig, state: State) -> int:
    """Return how many trials there will be: a limit may have been lowered afterwards."""
    return max(config.total_trials, len(state.trials))


def _eta_seconds(
    config: SweepConfig,
    state: State,
    offer: Offer,
    now: float,
    sweep_state: str,
    typical: float | None,
) -> float | None:
    """Return when the sweep is done if trials go on as they did; None where nobody can tell."""
    if typical is None or sweep_state not in ("running", "stopping"):
        return None
    etas = [_trial_eta_seconds(trial.attempt, typical, now) for trial in state.open_trials]
    open_seconds = [typical if eta is None else eta for eta in etas]
    waiting = 0 if sweep_state == "stopping" else _total(config, state) - len(state.trials)
    slots = max(1, min(parallelism(config, offer), len(open_seconds) + waiting))
    return max([(sum(open_seconds) + waiting * typical) / slots, *open_seconds])


def _budget(
    config: SweepConfig, state: State, offer: Offer, now: float, at_work_until: float
) -> dict[str, Any]:
    limits = config.budget
    over = len(state.trials) - state.num_open
    over_usd = sum([trial.cost_usd for trial in state.ordered if trial.state.is_over])
    per_trial = over_usd / over if over else None
    return {
        "usd": {
            "limit": limits.usd,
            "spent": budget.spent_usd(state, now),
            "reserved": _finite(budget.reserved_usd(state, now)),
            "wasted": state.wasted_usd,
            "per_trial": per_trial,
            "forecast": _forecast_usd(config, state, over_usd, per_trial, now),
            "price_per_hour": offer.price_usd_per_hour,
        },
        "trials": {"limit": limits.trials, "used": len(state.trials)},
        "hours": {
            "limit": limits.hours,
            "used": budget.active_seconds(state, at_work_until) / 3600,
        },
        "gpu_hours": {"limit": limits.gpu_hours, "used": budget.gpu_hours(state, offer, now)},
    }


def _forecast_usd(
    config: SweepConfig, state: State, over_usd: float, per_trial: float | None, now: float
) -> float | None:
    """Return the whole sweep's spend if the rest costs what the ended trials did."""
    if per_trial is None:
        return None
    open_usd = sum(
        max(per_trial, budget.trial_spend_usd(state, trial, now)) for trial in state.open_trials
    )
    rest = _total(config, state) - len(state.trials)
    forecast = over_usd + open_usd + rest * per_trial
    limit = config.budget.usd
    return forecast if limit is None else min(forecast, limit)


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
