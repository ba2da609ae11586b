import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.objectives import contributions, front, scalarised, unbeaten
from launcher.optimizer import recommendation
from launcher.state import State
from launcher.sweepfile.schema import SweepSection
from tests.launcher.builders import a_config
from tests.launcher.story import Story

TWO = {"second_objective": {"metric": "latency", "goal": "minimize"}}
SWEEP: SweepSection = a_config(sweep=TWO).sweep

pairs = st.lists(st.tuples(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3)), min_size=1, max_size=12)


def with_scores(scores: list[tuple[float, float]]) -> State:
    story = Story(a_config(sweep=TWO, trials=50))
    for reward, latency in scores:
        story.start()
        number = len(story.state.trials)
        story.end_attempt(number, score=reward, metrics={"latency": latency})
    return story.state


def test_the_front_holds_what_no_trial_beats_in_both() -> None:
    state = with_scores([(1.0, 10.0), (2.0, 20.0), (1.5, 30.0), (2.0, 15.0)])
    assert [t.number for t in front(SWEEP, list(state.ordered))] == [4, 1]


@given(scores=pairs)
def test_no_trial_of_the_front_is_beaten_and_every_other_one_is(
    scores: list[tuple[float, float]],
) -> None:
    state = with_scores(scores)
    kept = {t.number for t in front(SWEEP, list(state.ordered))}
    for number, (reward, latency) in enumerate(scores, start=1):
        beaten = any(
            r >= reward and lat <= latency and ((r, lat) != (reward, latency) or n < number)
            for n, (r, lat) in enumerate(scores, start=1)
        )
        assert (number in kept) == (not beaten)


@given(scores=pairs, seed=st.integers(0, 2**31))
def test_what_is_better_in_both_scores_at_least_as_well(
    scores: list[tuple[float, float]], seed: int
) -> None:
    one = scalarised(scores, seed)
    for a, (x, y) in zip(one, scores, strict=True):
        for b, (u, v) in zip(one, scores, strict=True):
            if x >= u and y >= v:
                assert a >= b - 1e-12


def test_different_seeds_look_for_different_trade_offs() -> None:
    corners = [(1.0, 0.0), (0.6, 0.6), (0.0, 1.0)]
    winners = {max(range(3), key=scalarised(corners, seed).__getitem__) for seed in range(40)}
    assert winners == {0, 1, 2}


def test_nothing_and_equal_scores_are_no_trouble() -> None:
    assert scalarised([], 0) == []
    assert len(set(scalarised([(1.0, 2.0)] * 3, 0))) == 1


def test_the_share_of_a_point_is_what_the_front_loses_without_it() -> None:
    # the worst of the front is (-0.1, -0.1); three columns: widths 0.1, 0.9 and 0.1
    corner, knee, other = (1.0, 0.0), (0.9, 0.9), (0.0, 1.0)
    shares = contributions([corner, knee, other])
    whole = 0.1 * 0.1 + 0.9 * 1.0 + 0.1 * 1.1
    assert shares == pytest.approx([0.1 * 0.1 / whole, 0.9 * 0.9 / whole, 0.1 * 0.1 / whole])


@given(scores=pairs)
def test_shares_follow_no_unit(scores: list[tuple[float, float]]) -> None:
    kept = [scores[index] for index in unbeaten(scores)]
    shares = contributions(kept)
    assert all(0.0 <= share <= 1.0 + 1e-9 for share in shares)
    moved = contributions([(4.0 * a, 0.5 * b) for a, b in kept])
    assert moved == pytest.approx(shares, rel=1e-6, abs=1e-9)


def test_the_best_of_two_objectives_is_the_best_trade_off() -> None:
    state = with_scores([(1.0, 100.0), (0.95, 10.0), (0.2, 5.0), (0.1, 50.0)])
    found = recommendation(a_config(sweep=TWO, trials=50), state)
    assert found is not None
    assert found.observation.suggestion_id == "2"
