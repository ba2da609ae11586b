"""Configs and states for tests. States are made as real ones are: by folding events."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from launcher.config import SweepConfig, from_mapping
from launcher.events import (
    AttemptEnded,
    AttemptStarted,
    AttemptSubmitted,
    AttemptSubmitting,
    CoordinatorStarted,
    Event,
    Failure,
    Origin,
    Recorded,
    SweepCreated,
    TrialSuggested,
)
from launcher.state import State, TrialState, fold

START = 1_700_000_000.0
"""When the sweeps of tests begin."""

SPACE: Mapping[str, Any] = {
    "trainer.learning_rate": {"distribution": "log_normal", "min": 1e-5, "max": 1e-2},
    "trainer.gamma": {"distribution": "logit_normal", "min": 0.9, "max": 0.999},
    "trainer.batch_size": {"distribution": "uniform_pow2", "min": 16, "max": 256},
    "model.activation": {"distribution": "categorical", "values": ["relu", "tanh"]},
}
PARAMS: Mapping[str, Any] = {
    "trainer.learning_rate": 0.0012,
    "trainer.gamma": 0.99,
    "trainer.batch_size": 64,
    "model.activation": "tanh",
}


def a_config(**changes: Any) -> SweepConfig:
    """Return a small valid config; `changes` are merged into its mapping, key by key."""
    plain: dict[str, Any] = {
        "name": "demo",
        "task": {"run": "python train.py ${args}"},
        "sweep": {"metric": "reward", "goal": "maximize", "parameters": dict(SPACE)},
        "trials": 12,
        "parallel": 2,
    }
    return from_mapping(_merged(plain, changes))


def _merged(into: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(into)
    for key, value in changes.items():
        old = merged.get(key)
        is_nested = isinstance(old, Mapping) and isinstance(value, Mapping) and key != "parameters"
        merged[key] = _merged(old, value) if is_nested else value  # type: ignore[arg-type]  # both are mappings here
    return merged


@dataclass(frozen=True)
class ATrial:
    """A trial's story. `failures` are those of its attempts, in order; None is a success.

    Its last attempt is over unless `state` is QUEUED (nothing started, or waiting to be tried
    again), STARTING or RUNNING.
    """

    score: float | None = None
    cost_seconds: float | None = None
    failures: Sequence[Failure | None] = (None,)
    state: TrialState | None = None
    params: Mapping[str, Any] = field(default_factory=lambda: dict(PARAMS))
    origin: Origin = Origin.OPTIMIZER
    info: Mapping[str, Any] = field(default_factory=dict)
    begins_at: float | None = None
    seconds: float = 6.0
    price_usd_per_hour: float = 0.0
    reserved_usd: float = 0.0
    exit_code: int | None = 0
    detail: str = ""


def succeeded(score: float, cost_seconds: float | None = 6.0, **changes: Any) -> ATrial:
    """Return a trial that ended well."""
    return ATrial(score, cost_seconds, **changes)


def failed(failure: Failure = Failure.CRASHED, **changes: Any) -> ATrial:
    """Return a trial that ended without a score."""
    facts = {"exit_code": 1, "detail": "exit code 1", "cost_seconds": 6.0, **changes}
    return ATrial(failures=(failure,), **facts)


def running(**changes: Any) -> ATrial:
    """Return a trial that runs."""
    return ATrial(state=TrialState.RUNNING, failures=(), **changes)


def queued(**changes: Any) -> ATrial:
    """Return a trial that waits for its first attempt."""
    return ATrial(state=TrialState.QUEUED, failures=(), **changes)


def a_state(
    config: SweepConfig, *trials: ATrial, then: Sequence[Event] = (), then_at: float | None = None
) -> State:
    """Return the state of a sweep with these trials, two at a time, and further events after."""
    records = list(some_records(config, *trials))
    at = max(START + 1, *(record.at for record in records)) if then_at is None else then_at
    seq = len(records)
    records += [Recorded(seq + n, 1, at, event) for n, event in enumerate(then, start=1)]
    state = fold(records)
    assert state is not None
    return state


def some_records(config: SweepConfig, *trials: ATrial) -> Iterator[Recorded]:
    """Yield the events of a sweep with these trials, one trial after the other."""
    first: list[tuple[float, Event]] = [
        (START, SweepCreated("abc123", config.to_mapping(), "0.1.0")),
        (START, CoordinatorStarted("host", 1)),
    ]
    told = [
        event for number, trial in enumerate(trials, start=1) for event in _story(number, trial)
    ]
    for seq, (at, event) in enumerate(first + told, start=1):
        yield Recorded(seq, 1, at, event)


def _story(number: int, trial: ATrial) -> Iterator[tuple[float, Event]]:
    at = START + 10 * ((number - 1) // 2) if trial.begins_at is None else trial.begins_at
    run_id = f"demo.abc123.r.{number}"
    yield at, TrialSuggested(number, run_id, dict(trial.params), trial.origin, dict(trial.info))
    for attempt, failure in enumerate(trial.failures, start=1):
        yield from _begin(number, attempt, trial, at)
        is_last = attempt == len(trial.failures) and trial.state is None
        yield at + trial.seconds, _end(number, attempt, trial, failure, at, not is_last)
        at += trial.seconds + 5
    if trial.state in (TrialState.STARTING, TrialState.RUNNING):
        begun = list(_begin(number, len(trial.failures) + 1, trial, at))
        yield from begun if trial.state is TrialState.RUNNING else begun[:2]


def _begin(number: int, attempt: int, trial: ATrial, at: float) -> Iterator[tuple[float, Event]]:
    job = f"demo-abc123-{number}-{attempt}"
    price = trial.price_usd_per_hour
    yield at, AttemptSubmitting(number, attempt, job, price, trial.reserved_usd)
    yield at, AttemptSubmitted(number, attempt)
    yield at, AttemptStarted(number, attempt, at, price)


def _end(
    number: int, attempt: int, trial: ATrial, failure: Failure | None, at: float, will_retry: bool
) -> AttemptEnded:
    ends_well = failure is None and not will_retry
    return AttemptEnded(
        number,
        attempt,
        failure,
        will_retry=will_retry,
        retry_at=at + trial.seconds + 5 if will_retry else None,
        exit_code=trial.exit_code,
        started_at=at,
        ended_at=at + trial.seconds,
        machine_seconds=trial.seconds,
        cost_usd=trial.seconds / 3600 * trial.price_usd_per_hour,
        score=trial.score if ends_well else None,
        cost_seconds=None if will_retry else trial.cost_seconds,
        metrics={"reward": trial.score} if ends_well and trial.score is not None else {},
        detail=trial.detail,
    )
