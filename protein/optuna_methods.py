"""Optuna's samplers as methods: the study is rebuilt from the history at each suggestion."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from protein.methods import Method
from protein.observation import Observation, Suggestion, Value
from protein.parameter import Categorical, Distribution, Numeric, Parameter
from protein.pareto import sign
from protein.settings import Settings
from protein.space import Space, parents_first

Params = Mapping[str, Value]


def optuna_method(sampler: str) -> Method:
    """Make a method of a sampler's class name; `Settings.options` are its arguments.

    ValueError if Optuna is not installed or has no such sampler.
    """
    try:
        import optuna
    except ImportError as error:
        raise ValueError("method optuna:… needs optuna; pip install optuna") from error
    if not hasattr(optuna.samplers, sampler):
        raise ValueError(f"optuna has no sampler {sampler!r}")

    def suggest(
        space: Space,
        settings: Settings,
        observed: Sequence[Observation],
        pending: Sequence[Params],
        seed: int,
    ) -> Suggestion:
        made = getattr(optuna.samplers, sampler)(seed=seed % 2**32, **settings.options)
        verbosity = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        try:
            study = optuna.create_study(direction="maximize", sampler=made)
            study.add_trials([*_told(optuna, space, settings, observed)])
            study.add_trials([*_running(optuna, space, pending)])
            params = _ask(study.ask(), space)
        finally:
            optuna.logging.set_verbosity(verbosity)
        return Suggestion(params, {"origin": f"optuna:{sampler}"})

    return suggest


def _told(optuna: Any, space: Space, settings: Settings, observed: Sequence[Observation]) -> Any:
    for one in observed:
        if space.contains(one.params) and (one.curve or not one.is_stopped):
            yield _trial(optuna, space, one.params, **_outcome(optuna, settings, one))


def _outcome(optuna: Any, settings: Settings, one: Observation) -> dict[str, Any]:
    """Tell how a trial ended; what a stopped one had come to is no score, but what it reported."""
    states = optuna.trial.TrialState
    if not one.succeeded or one.score is None:
        return {"state": states.FAIL}
    if one.is_stopped:
        reported = {round(at): sign(settings.goal) * value for at, value in one.curve}
        return {"state": states.PRUNED, "intermediate_values": reported}
    return {"state": states.COMPLETE, "value": sign(settings.goal) * one.score}


def _running(optuna: Any, space: Space, pending: Sequence[Params]) -> Any:
    for params in pending:
        if space.contains(params):
            yield _trial(optuna, space, params, state=optuna.trial.TrialState.RUNNING)


def _trial(optuna: Any, space: Space, params: Params, **outcome: Any) -> Any:
    active = list(space.active(params))
    return optuna.trial.create_trial(
        params={p.name: _inward(p, params[p.name]) for p in active},
        distributions={p.name: _distribution(optuna, p) for p in active},
        **outcome,
    )


def _ask(trial: Any, space: Space) -> dict[str, Value]:
    chosen: dict[str, Value] = {}
    for parameter in parents_first(space.parameters):
        when = parameter.when
        known = chosen | dict(space.fixed)
        if when is None or known.get(when.parameter) in when.values:
            chosen[parameter.name] = _suggested(trial, parameter)
    return {name: chosen[name] for name in space.names if name in chosen} | dict(space.fixed)


def _suggested(trial: Any, p: Parameter) -> Value:
    if isinstance(p, Categorical):
        value: Value = trial.suggest_categorical(p.name, p.values)
        return value
    low, high = _inward(p, p.min), _inward(p, p.max)
    if p.cells is not None:
        raw = trial.suggest_int(p.name, math.ceil(low), math.floor(high))
        return int(2**raw) if p.distribution is Distribution.UNIFORM_POW2 else int(raw)
    low, high = min(low, high), max(low, high)
    raw = trial.suggest_float(p.name, low, high, log=_is_log(p))
    return p.tidy(1.0 - raw if p.distribution is Distribution.LOGIT_NORMAL else raw)


def _inward(p: Parameter, value: Any) -> Any:
    """Map a value to what Optuna is given: exponents of two, distances to one."""
    if isinstance(p, Categorical):
        return value
    match p.distribution:
        case Distribution.UNIFORM_POW2:
            return int(math.log2(value)) if math.log2(value).is_integer() else math.log2(value)
        case Distribution.LOGIT_NORMAL:
            return 1.0 - value
        case _:
            return value


def _is_log(p: Parameter) -> bool:
    logs = (Distribution.LOG_NORMAL, Distribution.LOGIT_NORMAL)
    return isinstance(p, Numeric) and p.distribution in logs


def _distribution(optuna: Any, p: Parameter) -> Any:
    kinds = optuna.distributions
    if isinstance(p, Categorical):
        return kinds.CategoricalDistribution(p.values)
    low, high = sorted((_inward(p, p.min), _inward(p, p.max)))
    if p.cells is not None:
        return kinds.IntDistribution(math.ceil(low), math.floor(high))
    return kinds.FloatDistribution(low, high, log=_is_log(p))
