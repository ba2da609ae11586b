import numpy as np
import pytest

from protein import Observation, Protein, Settings, Space
from protein.recommend import recommend

LINE = Space.from_dict({"x": {"min": 0.0, "max": 1.0}})


def seen(x: float, score: float | None, cost: float | None = 1.0) -> Observation:
    return Observation({"x": float(x)}, score, cost, is_failure=score is None)


def noisy(goal_factor: float = 1.0) -> list[Observation]:
    rng = np.random.default_rng(1)
    xs = np.repeat(np.linspace(0, 1, 9), 6)
    return [seen(x, goal_factor * (x + 0.2 * rng.standard_normal())) for x in xs]


def test_a_lucky_draw_is_not_recommended() -> None:
    observed = [*noisy(), seen(0.0, 1.6)]
    assert max(observed, key=lambda o: o.score or 0).params["x"] == 0.0
    told = recommend(LINE, Settings(), observed)
    assert told is not None
    assert told.observation.params["x"] >= 0.75
    assert told.score == pytest.approx(told.observation.params["x"], abs=4 * told.score_sd)


def test_minimising_recommends_what_maximising_the_negative_does() -> None:
    up = recommend(LINE, Settings(), noisy())
    down = recommend(LINE, Settings(goal="minimize"), noisy(-1.0))
    assert up is not None
    assert down is not None
    assert up.observation.params == down.observation.params
    assert up.score == pytest.approx(-down.score)


def test_the_best_at_a_cost_costs_no_more() -> None:
    observed = [seen(x, x, cost=10 * x + 1) for x in np.linspace(0, 1, 11)]
    observed.append(seen(0.99, 2.0, cost=None))  # who knows what it costs
    told = recommend(LINE, Settings(), observed, at_cost=6.0)
    assert told is not None
    assert told.observation.params["x"] == pytest.approx(0.5)
    assert recommend(LINE, Settings(), observed, at_cost=0.5) is None


def test_without_a_success_there_is_nothing_to_recommend() -> None:
    assert recommend(LINE, Settings(), [seen(0.5, None)]) is None
    assert Protein(LINE).best is None


def test_one_success_is_recommended() -> None:
    told = recommend(LINE, Settings(), [seen(0.5, 3.0)])
    assert told is not None
    assert told.score == pytest.approx(3.0)
