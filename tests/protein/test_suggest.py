import json
import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

from protein import Budget, Observation, Settings, Space
from protein.data import Data
from protein.encoding import Encoding
from protein.suggest import Memo, seed_for, suggest
from protein.surrogates import learn

SPACE = Space.from_dict(
    {
        "rate": {"distribution": "log_normal", "min": 1e-5, "max": 1e-1},
        "width": {"distribution": "int_uniform", "min": 1, "max": 9},
        "gamma": {"distribution": "logit_normal", "min": 0.8, "max": 0.999},
        "kind": {"values": ["a", "b", "c"]},
        "depth": {"distribution": "uniform_pow2", "min": 1, "max": 16, "when": {"kind": ["b"]}},
        "seed": 3,
    }
)
MAXIMIZE = Settings(goal="maximize")


def score_of(params: dict[str, object]) -> float:
    return -((math.log10(float(str(params["rate"]))) + 2.5) ** 2) - float(str(params["gamma"]))


def history(n: int, *, seed: int = 0, fail: float = 0.0, scale: float = 1.0) -> list[Observation]:
    rng = np.random.default_rng(seed)
    seen = []
    for _ in range(n):
        params = SPACE.from_unit(tuple(rng.random(5))) | {"seed": 3}
        cost = float(np.exp(scale * rng.standard_normal()))
        failed = bool(rng.random() < fail)
        seen.append(Observation(params, None if failed else score_of(params), cost, failed))
    return seen


outcomes = st.lists(
    st.tuples(
        st.sampled_from([0.0, 1.0, -1e9, 1e300, math.nan, math.inf, -math.inf, None, 0.3]),
        st.sampled_from([0.0, 1.0, 1e6, None, math.nan, 1e-300, -1.0]),
        st.booleans(),
    ),
    max_size=12,
)


@settings(max_examples=60, deadline=None)
@given(outcomes, st.sampled_from(["maximize", "minimize"]), st.integers(0, 2**40))
def test_any_history_gives_a_suggestion_inside_the_space(
    outcomes: list[tuple[float | None, float | None, bool]], goal: str, seed: int
) -> None:
    points = history(len(outcomes))
    observed = [
        Observation(point.params, score, cost, failed)
        for point, (score, cost, failed) in zip(points, outcomes, strict=True)
    ]
    told = suggest(SPACE, Settings(goal=goal), observed, [], seed)  # type: ignore[arg-type]
    assert SPACE.contains(told.params)
    assert told.params["seed"] == 3
    json.dumps(dict(told.info), allow_nan=False)


@settings(max_examples=15, deadline=None)
@given(st.integers(2, 25), st.integers(0, 999))
def test_maximising_is_minimising_the_negative(n: int, seed: int) -> None:
    up = history(n, seed=seed, fail=0.2)
    down = [
        Observation(o.params, None if o.score is None else -o.score, o.cost, o.is_failure)
        for o in up
    ]
    a = suggest(SPACE, MAXIMIZE, up, [], seed)
    b = suggest(SPACE, Settings(goal="minimize"), down, [], seed)
    assert a.params == b.params


@settings(max_examples=15, deadline=None)
@given(st.integers(2, 25), st.integers(0, 999), st.permutations(range(5)))
def test_the_order_of_parameters_changes_nothing(n: int, seed: int, order: Sequence[int]) -> None:
    shuffled = Space(tuple(SPACE.parameters[i] for i in order), SPACE.fixed)
    observed = history(n, seed=seed)
    a = suggest(SPACE, MAXIMIZE, observed, [], seed).params
    assert a == suggest(shuffled, MAXIMIZE, observed, [], seed).params


@settings(max_examples=15, deadline=None)
@given(st.integers(2, 25), st.integers(0, 999), st.floats(0.1, 1e4), st.floats(-100, 100))
def test_an_affine_change_of_all_scores_changes_nothing(
    n: int, seed: int, factor: float, offset: float
) -> None:
    observed = history(n, seed=seed)
    moved = [Observation(o.params, factor * (o.score or 0) + offset, o.cost) for o in observed]
    a, b = (suggest(SPACE, MAXIMIZE, seen, [], seed).params for seen in (observed, moved))
    assert SPACE.to_unit(a) == pytest.approx(SPACE.to_unit(b), abs=1e-3)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 25), st.integers(0, 999), st.randoms())
def test_the_order_in_which_trials_finish_changes_nothing(n: int, seed: int, random) -> None:
    observed, pending = history(n, seed=seed, fail=0.3), [o.params for o in history(4, seed=9)]
    told = suggest(SPACE, MAXIMIZE, observed, pending, seed)
    random.shuffle(observed)
    random.shuffle(pending)
    assert suggest(SPACE, MAXIMIZE, observed, pending, seed) == told


def test_the_memo_saves_time_only() -> None:
    memo = Memo()
    for n in (8, 12, 12, 8):
        told = suggest(SPACE, MAXIMIZE, history(n), [], n, memo=memo)
        assert told == suggest(SPACE, MAXIMIZE, history(n), [], n)


def test_the_number_of_threads_changes_nothing() -> None:
    observed = history(300, fail=0.2)
    with threadpool_limits(2):
        two = suggest(SPACE, MAXIMIZE, observed, [], 1)
    with threadpool_limits(1):
        assert suggest(SPACE, MAXIMIZE, observed, [], 1) == two


@pytest.mark.parametrize("told", [0, 3, 20])
def test_many_workers_never_get_the_same_trial_twice(told: int) -> None:
    observed, pending, memo = history(told), [], Memo()
    for number in range(64):
        params = suggest(SPACE, MAXIMIZE, observed, pending, seed_for(0, number), memo=memo).params
        pending.append(params)
    known = [tuple(sorted(map(str, p.items()))) for p in [*pending, *(o.params for o in observed)]]
    assert len(set(known)) == len(known)


def test_each_value_of_a_small_space_is_tried_before_any_is_repeated() -> None:
    small = Space.from_dict({"a": {"values": [1, 2, 3, 4]}, "b": {"values": ["x", "y", "z"]}})
    observed = [Observation({"a": a, "b": "x"}, float(a), 1.0) for a in (1, 2, 4)]
    pending: list = []
    for number in range(9):
        params = suggest(small, Settings(num_random_samples=1), observed, pending, number).params
        pending.append(params)
    tried = {(p["a"], p["b"]) for p in [*pending, *(o.params for o in observed)]}
    assert len(tried) == 12


def test_a_small_space_that_is_used_up_is_repeated() -> None:
    space = Space.from_dict({"kind": {"values": ["a", "b"]}})
    observed = [Observation({"kind": k}, s, 1.0) for k, s in [("a", 0.0), ("b", 1.0)] * 4]
    assert suggest(space, MAXIMIZE, observed, [], 0).params == {"kind": "b"}


def test_a_space_without_parameters_gives_its_fixed_values() -> None:
    assert suggest(Space((), {"a": 1}), MAXIMIZE, [], [], 0).params == {"a": 1}


def test_suggestions_keep_to_the_constraint() -> None:
    def narrow(params) -> bool:
        return params["width"] * params["rate"] < 1e-3

    observed = history(12)
    for seed in range(6):
        told = suggest(SPACE, MAXIMIZE, observed[: 2 * seed], [], seed, constraint=narrow)
        assert narrow(told.params)


def test_a_constraint_that_nothing_meets_is_an_error() -> None:
    for n in (0, 12):
        with pytest.raises(ValueError, match="constraint"):
            suggest(SPACE, MAXIMIZE, history(n), [], 0, constraint=lambda _: False)


def test_a_category_that_is_unknown_is_left_out() -> None:
    observed = history(10)
    foreign = Observation({**observed[0].params, "kind": "z"}, 99.0, 1.0)
    told = suggest(SPACE, MAXIMIZE, [*observed, foreign], [], 0)
    assert told == suggest(SPACE, MAXIMIZE, observed, [], 0)


def test_what_is_expected_leads_until_scores_say_otherwise() -> None:
    names = ("x", "y", "z")
    rng = np.random.default_rng(0)
    rows = [dict(zip(names, map(float, u), strict=True)) for u in rng.random((60, 3))]

    def tried(mean: float, scores: Sequence[float]) -> float:
        space = Space.from_dict({name: {"min": 0.0, "max": 1.0, "mean": mean} for name in names})
        told = [Observation(row, score, 1.0) for row, score in zip(rows, scores, strict=False)]
        found = [suggest(space, MAXIMIZE, told, [], seed).params for seed in range(10)]
        return float(np.mean([list(params.values()) for params in found]))

    noise = list(rng.standard_normal(6))
    assert tried(0.8, noise) - tried(0.2, noise) > 0.2
    bowl = [-sum((x - 0.8) ** 2 for x in row.values()) for row in rows]
    assert tried(0.2, bowl) == pytest.approx(tried(0.8, bowl), abs=0.02)


def test_failing_parameters_are_avoided() -> None:
    space = Space.from_dict({"x": {"min": 0.0, "max": 1.0}, "y": {"min": 0.0, "max": 1.0}})
    rng = np.random.default_rng(0)
    observed = []
    for x, y in rng.random((30, 2)):
        failed = bool(x > 0.6)
        score = -((x - 0.8) ** 2) - (y - 0.5) ** 2  # the best that does not fail is at the edge
        observed.append(Observation({"x": x, "y": y}, None if failed else score, 1.0, failed))
    tried = [suggest(space, MAXIMIZE, observed, [], seed).params for seed in range(10)]
    assert np.mean([params["x"] > 0.7 for params in tried]) < 0.2
    assert np.mean([params["x"] > 0.45 for params in tried]) > 0.8


def test_p_feasible_is_the_share_of_successes_where_both_are_mixed() -> None:
    encoding = Encoding(Space.from_dict({"x": {"min": 0.0, "max": 1.0}}))
    near = 0.02 * np.random.default_rng(0).random(40)
    observed = [Observation({"x": x}, 1.0, 1.0, is_failure=i % 4 > 0) for i, x in enumerate(near)]
    taught = learn(encoding, Data.of(encoding, MAXIMIZE, observed))
    assert 0.15 < np.exp(taught.log_p_feasible(np.array([[0.01]])))[0] < 0.35


def test_the_explanation_predicts_the_score_in_its_own_units() -> None:
    for goal, factor in (("maximize", 1.0), ("minimize", -1.0)):
        observed = [Observation(o.params, factor * (o.score or 0), o.cost) for o in history(40)]
        told = suggest(SPACE, Settings(goal=goal), observed, [], 0)  # type: ignore[arg-type]
        expected = factor * score_of(dict(told.params))
        tolerance = 4 * told.info["predicted_score_sd"] + 0.1
        assert told.info["predicted_score"] == pytest.approx(expected, abs=tolerance)
        assert told.info["origin"] in ("explore", "exploit")


def test_seeds_are_a_function_of_sweep_and_number() -> None:
    assert seed_for(1, 2) == seed_for(1, 2)
    assert len({seed_for(a, b) for a in range(20) for b in range(20)}) == 400


def test_where_scores_are_noise_half_of_the_trials_fill_the_space() -> None:
    space = Space.from_dict({"x": {"min": 0.0, "max": 1.0}, "y": {"min": 0.0, "max": 1.0}})
    rng = np.random.default_rng(6)
    corner = [{"x": float(x), "y": float(y)} for x, y in 0.2 * rng.random((15, 2))]
    noise = [Observation(p, float(s)) for p, s in zip(corner, rng.normal(size=15), strict=True)]
    asked = [suggest(space, MAXIMIZE, noise, [], seed_for(0, k)).params for k in range(40)]
    far = [p for p in asked if float(p["x"]) > 0.3 and float(p["y"]) > 0.3]
    assert len({(p["x"], p["y"]) for p in far}) >= 8


def test_a_search_with_nothing_more_to_gain_fills_the_space_every_other_time() -> None:
    space = Space.from_dict({"x": {"min": 0.0, "max": 1.0}, "y": {"min": 0.0, "max": 1.0}})
    told = [{"x": x / 6, "y": y / 6} for x in range(7) for y in range(7)]
    observed = [Observation(p, -((p["x"] - 0.5) ** 2) - (p["y"] - 0.5) ** 2) for p in told]
    assert 3 < _fillings(space, observed) < 17


def test_a_noisy_corner_is_not_all_that_is_tried() -> None:
    space = Space.from_dict({"x": {"min": 0.0, "max": 1.0}, "y": {"min": 0.0, "max": 1.0}})
    rng = np.random.default_rng(0)
    corner = [Observation({"x": 1.0, "y": 1.0}, float(rng.normal(240, 40))) for _ in range(30)]
    start = [Observation({"x": x / 4, "y": 0.5}, 50.0 + 40 * x) for x in range(4)]
    assert 3 < _fillings(space, [*start, *corner]) < 17


def _fillings(space: Space, observed: list[Observation]) -> int:
    """How many of 20 suggestions fill the space."""
    last = Budget(trials=1)  # the last trial never fills
    return sum(
        suggest(space, MAXIMIZE, observed, [], seed).params
        != suggest(space, MAXIMIZE, observed, [], seed, left=last).params
        for seed in range(20)
    )
