import sys
import types

import pytest

from protein import Observation, Settings, Space
from protein.methods import method_named
from protein.observation import Suggestion
from protein.suggest import seed_for, suggest

SPACE = Space.from_dict(
    {
        "rate": {"distribution": "log_normal", "min": 1e-4, "max": 1e-1},
        "batch": {"distribution": "uniform_pow2", "min": 8, "max": 32},
        "gamma": {"distribution": "logit_normal", "min": 0.9, "max": 0.999},
        "kind": {"values": ["a", "b"]},
        "momentum": {"min": 0.0, "max": 0.9, "when": {"kind": ["b"]}},
        "seed": 3,
    }
)


def sweep(method: str, n: int, **options: object) -> list[dict[str, object]]:
    settings, observed = Settings(method=method, options=options), []
    for number in range(n):
        told = suggest(SPACE, settings, observed, [], seed_for(0, number))
        assert SPACE.contains(told.params)
        assert told.params["seed"] == 3
        observed.append(Observation(told.params, float(number), 1.0, is_failure=number == 2))
    return [dict(o.params) for o in observed]


@pytest.mark.parametrize("method", ["random", "sobol", "grid"])
def test_each_method_stays_in_the_space_and_repeats_itself(method: str) -> None:
    assert sweep(method, 8) == sweep(method, 8)


def test_a_grid_gives_every_combination_once() -> None:
    space = Space.from_dict({"a": {"values": [1, 2, 3]}, "b": {"min": 0.0, "max": 1.0}})
    settings, observed = Settings(method="grid", options={"levels": 3}), []
    for _ in range(10):
        told = suggest(space, settings, observed, [], 0)
        observed.append(Observation(told.params, 0.0))
    cells = {(o.params["a"], o.params["b"]) for o in observed}
    assert cells == {(a, b) for a in (1, 2, 3) for b in (0.0, 0.5, 1.0)}
    assert told.info["exhausted"]


def test_sobol_fills_halves_evenly() -> None:
    rates = [params["rate"] for params in sweep("sobol", 16)]
    assert sum(rate < 10**-2.5 for rate in rates) == 8


def test_a_function_of_ones_own_is_found_by_its_path(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("my_search")
    module.always = lambda space, settings, observed, pending, seed: Suggestion({"x": seed})
    monkeypatch.setitem(sys.modules, "my_search", module)
    told = suggest(SPACE, Settings(method="my_search:always"), [], [], 7)
    assert told.params == {"x": 7}


@pytest.mark.parametrize("name", ["randon", "no.such.module:f", "math:no_such_function"])
def test_an_unknown_method_is_an_error_that_names_it(name: str) -> None:
    with pytest.raises(ValueError, match=name.split(":")[0]):
        method_named(name)


@pytest.mark.parametrize("sampler", ["TPESampler", "RandomSampler"])
def test_samplers_of_optuna_suggest(sampler: str) -> None:
    pytest.importorskip("optuna")
    assert sweep(f"optuna:{sampler}", 14) == sweep(f"optuna:{sampler}", 14)


def test_stopped_trials_are_pruned_ones_to_optuna(monkeypatch: pytest.MonkeyPatch) -> None:
    optuna = pytest.importorskip("optuna")
    seen: list[object] = []

    class Watching(optuna.samplers.RandomSampler):
        def sample_independent(self, study, trial, *rest):
            seen[:] = [
                (t.state.name, t.values, t.intermediate_values)
                for t in study.trials
                if t.state.is_finished()
            ]
            return super().sample_independent(study, trial, *rest)

    monkeypatch.setattr(optuna.samplers, "Watching", Watching, raising=False)
    params = dict(suggest(SPACE, Settings(), [], [], 0).params)
    curve = ((10.0, 3.0), (20.0, 2.0))
    told = [
        Observation(params, 1.5, 1.0, curve=curve),
        Observation(params, 2.0, 0.5, curve=curve, is_stopped=True),
        Observation(params, 2.0, 0.5, is_stopped=True),
        Observation(params, None, 0.5, is_failure=True),
    ]
    suggest(SPACE, Settings(method="optuna:Watching", goal="minimize"), told, [], 0)
    pruned = ("PRUNED", None, {10: -3.0, 20: -2.0})
    assert seen == [("COMPLETE", [-1.5], {}), pruned, ("FAIL", None, {})]
