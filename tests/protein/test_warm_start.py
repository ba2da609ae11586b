import numpy as np
import pytest

from protein import Observation, Protein, Settings, Space
from protein.suggest import Memo, suggest

SPACE = Space.from_dict({name: {"min": 0.0, "max": 1.0} for name in "abc"})
PEAK = {"a": 0.8, "b": 0.2, "c": 0.7}


def score_of(params) -> float:
    return -sum((float(params[k]) - PEAK[k]) ** 2 for k in PEAK)


def sweep(n: int, *, factor: float = 1.0, offset: float = 0.0) -> list[Observation]:
    rng = np.random.default_rng(0)
    rows = (dict(zip("abc", map(float, row), strict=True)) for row in rng.random((n, 3)))
    return [Observation(p, factor * score_of(p) + offset, 1.0) for p in rows]


def best_after(trials: int, earlier: list[list[Observation]], seed: int = 0) -> float:
    protein = Protein(SPACE, seed=seed, earlier=earlier)
    for _ in range(trials):
        params, _ = protein.suggest()
        protein.observe(params, score_of(params), 1.0)
    return max(o.score for o in protein.observations if o.score is not None)


@pytest.mark.parametrize(("factor", "offset"), [(1.0, 0.0), (50.0, 1000.0)])
def test_a_like_sweep_in_any_units_saves_the_first_trials(factor: float, offset: float) -> None:
    earlier = [sweep(30, factor=factor, offset=offset)]
    warm = [best_after(5, earlier, seed) for seed in range(5)]
    cold = [best_after(5, [], seed) for seed in range(5)]
    assert np.mean(warm) > np.mean(cold) / 2  # scores are below 0


def test_a_misleading_sweep_does_not_stop_the_search() -> None:
    assert best_after(18, [sweep(30, factor=-1.0)]) > -0.02


def test_parameters_that_an_earlier_sweep_did_not_have_are_no_obstacle() -> None:
    earlier = [Observation({"a": o.params["a"], "z": 1.0}, o.score, o.cost) for o in sweep(12)]
    assert SPACE.contains(suggest(SPACE, Settings(), [], [], 0, earlier=[earlier]).params)


@pytest.mark.parametrize("told", [0, 3, 9])
def test_the_memo_saves_time_only_with_earlier_sweeps_too(told: int) -> None:
    earlier, observed, memo = [sweep(12)], sweep(told), Memo()
    one, two = (
        suggest(SPACE, Settings(), observed, [], 5, earlier=earlier, memo=memo) for _ in range(2)
    )
    assert one == two == suggest(SPACE, Settings(), observed, [], 5, earlier=earlier)


def test_an_earlier_sweep_without_successes_changes_nothing() -> None:
    failed = [Observation(o.params, None, 1.0, is_failure=True) for o in sweep(5)]
    observed = sweep(8)
    told = suggest(SPACE, Settings(), observed, [], 0, earlier=[failed, []])
    assert told == suggest(SPACE, Settings(), observed, [], 0)
