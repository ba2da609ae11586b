import numpy as np
import pytest

from protein import Budget, Observation, Protein, Settings, Space
from protein.suggest import seed_for, suggest

PLANE = Space.from_dict({"x": {"min": 0.0, "max": 1.0}, "y": {"min": 0.0, "max": 1.0}})


def cost_of(params) -> float:
    return float(np.exp(6.0 * params["x"]))


def history(n: int) -> list[Observation]:
    """Dear trials score best: x costs up to 400 and y is free."""
    points = np.random.default_rng(0).random((n, 2))
    told = [{"x": float(x), "y": float(y)} for x, y in points]
    return [Observation(p, p["x"] - (p["y"] - 0.5) ** 2, cost_of(p)) for p in told]


def next_costs(left: Budget, *, pending=(), asked: int = 8) -> list[float]:
    told = history(20)
    return [
        cost_of(suggest(PLANE, Settings(), told, pending, seed_for(0, k), left=left).params)
        for k in range(asked)
    ]


def test_what_costs_more_than_is_left_is_not_tried() -> None:
    assert max(next_costs(Budget())) > 100.0
    assert max(next_costs(Budget(cost=50.0))) < 55.0


def test_pending_trials_are_paid_out_of_what_is_left() -> None:
    pending = [{"x": 0.98, "y": 0.9}]  # about 360
    assert max(next_costs(Budget(cost=400.0), pending=pending)) < 45.0


@pytest.mark.parametrize("cost", [0.0, -5.0, 0.5])
def test_the_cheapest_is_tried_where_nothing_fits_any_more(cost: float) -> None:
    assert max(next_costs(Budget(cost=cost))) < 1.5


def test_much_money_left_changes_nothing() -> None:
    assert next_costs(Budget(cost=1e15)) == next_costs(Budget())


def first_costs(told: list[Observation], left: Budget, *, asked: int = 6) -> list[float]:
    settings = Settings(num_random_samples=len(told) + 1)
    found = [suggest(PLANE, settings, told, [], seed_for(0, k), left=left) for k in range(asked)]
    assert {one.info["origin"] for one in found} == {"initial"}
    return [cost_of(one.params) for one in found]


def test_the_first_design_is_a_cheap_one_once_costs_are_seen() -> None:
    places = [{"x": x, "y": y} for x, y in [(0.1, 0.2), (0.2, 0.8), (0.3, 0.4), (0.4, 0.9)]]
    known = [Observation(p, 1.0, cost_of(p)) for p in places]
    unknown = [Observation(p, 1.0) for p in places]
    assert max(first_costs(known, Budget())) < 5.0
    assert min(first_costs(unknown, Budget())) > 60.0


def test_the_first_design_keeps_to_the_budget() -> None:
    points = np.random.default_rng(1).random((60, 2)) * [0.2, 1.0]  # the cheap end is full
    cheap = [{"x": float(x), "y": float(y)} for x, y in points]
    told = [Observation(p, 1.0, cost_of(p)) for p in cheap]
    assert min(first_costs(told, Budget())) > 8.0
    assert max(first_costs(told, Budget(cost=2.5))) < 2.6


def test_the_last_trials_fill_no_space() -> None:
    rng = np.random.default_rng(6)
    corner = [{"x": float(x), "y": float(y)} for x, y in 0.2 * rng.random((15, 2))]
    noise = [Observation(p, float(s)) for p, s in zip(corner, rng.normal(size=15), strict=True)]

    def is_searched(left: Budget, k: int) -> bool:
        params = suggest(PLANE, Settings(), noise, [], seed_for(0, k), left=left).params
        return params == suggest(PLANE, Settings(), noise, [], seed_for(0, k), left=last).params

    last = Budget(trials=1)
    alike = [is_searched(Budget(trials=100), k) for k in range(20)]
    assert 3 < sum(alike) < 17  # half of the others do


def test_what_is_left_follows_from_what_was_told() -> None:
    protein = Protein(PLANE, budget=Budget(cost=100.0, trials=10))
    assert protein.left == Budget(cost=100.0, trials=10)
    params, _ = protein.suggest()
    protein.observe(params, 1.0, cost=30.0)
    assert protein.left == Budget(cost=70.0, trials=9)
    protein.observe({"x": 0.1, "y": 0.1}, 1.0, cost=None)
    assert protein.left == Budget(cost=40.0, trials=9)
