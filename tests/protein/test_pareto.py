import math
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from protein import Observation, pareto_front
from protein.pareto import best


def seen(score: float | None, cost: float | None, is_failure: bool = False) -> Observation:
    return Observation({}, score, cost, is_failure)


observations = st.lists(
    st.builds(seen, st.floats(-9, 9), st.floats(0, 9) | st.none(), st.booleans()), max_size=12
)


@settings(deadline=None)
@given(observations)
def test_nothing_off_the_front_beats_it_and_nothing_on_it_is_beaten(
    seen: list[Observation],
) -> None:
    front = pareto_front(seen, "maximize")
    for point in (o for o in seen if o.succeeded):
        assert any(dominates(other, point) for other in front)
    costs = [math.inf if o.cost is None else o.cost for o in front]
    scores = [o.score for o in front]
    assert costs == sorted(costs)
    assert all(a is not None and b is not None and a < b for a, b in pairwise(scores))


def dominates(a: Observation, b: Observation) -> bool:
    assert a.score is not None
    assert b.score is not None
    cost_a, cost_b = (math.inf if o.cost is None else o.cost for o in (a, b))
    return a.score >= b.score and cost_a <= cost_b


@settings(deadline=None)
@given(observations)
def test_minimising_a_function_is_maximising_its_negative(seen: list[Observation]) -> None:
    negated = [Observation({}, -(o.score or 0.0), o.cost, o.is_failure) for o in seen]
    up = [(o.cost, o.score) for o in pareto_front(seen, "maximize")]
    down = [(o.cost, -(o.score or 0.0)) for o in pareto_front(negated, "minimize")]
    assert up == down


def test_failures_and_scores_that_are_no_numbers_are_never_best() -> None:
    assert best([seen(9.0, 1.0, is_failure=True), seen(math.nan, 1.0)], "maximize") is None
    assert best([seen(math.inf, 1.0), seen(0.5, 1.0)], "maximize") == seen(0.5, 1.0)


def test_the_cheapest_of_equals_is_best() -> None:
    assert best([seen(1.0, 5.0), seen(1.0, 2.0)], "minimize") == seen(1.0, 2.0)


def test_of_equal_costs_only_the_better_score_is_on_the_front() -> None:
    assert pareto_front([seen(1.0, 2.0), seen(3.0, 2.0)], "maximize") == (seen(3.0, 2.0),)
