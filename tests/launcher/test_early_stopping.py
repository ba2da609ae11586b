from hypothesis import given
from hypothesis import strategies as st

from launcher.early_stopping import furthest, thinned, why_stop
from launcher.ports import Curve
from launcher.sweepfile.schema import EarlyStopping

MEDIAN = EarlyStopping(method="median", resource="step", grace=10, min_trials=3)
ASHA = EarlyStopping(method="asha", resource="step", grace=10, reduction_factor=3, min_trials=3)


def flat(value: float, until: int = 30) -> Curve:
    return [(float(at), value) for at in range(1, until + 1)]


def test_a_trial_below_the_median_is_ended_with_the_reason() -> None:
    curves = {1: flat(5.0), 2: flat(6.0), 3: flat(7.0), 4: flat(1.0, 12)}
    reason = why_stop(MEDIAN, "maximize", 4, curves)
    assert "median of 3 trials at step 12" in reason


def test_a_trial_above_the_median_goes_on() -> None:
    curves = {1: flat(5.0), 2: flat(6.0), 3: flat(7.0), 4: flat(6.5, 12)}
    assert why_stop(MEDIAN, "maximize", 4, curves) == ""


def test_smaller_is_better_where_the_goal_says_so() -> None:
    curves = {1: flat(5.0), 2: flat(6.0), 3: flat(7.0), 4: flat(1.0, 12), 5: flat(9.0, 12)}
    assert why_stop(MEDIAN, "minimize", 4, curves) == ""
    assert why_stop(MEDIAN, "minimize", 5, curves) != ""


def test_no_trial_is_ended_within_its_grace() -> None:
    curves = {1: flat(5.0), 2: flat(6.0), 3: flat(7.0), 4: flat(1.0, 9)}
    assert why_stop(MEDIAN, "maximize", 4, curves) == ""
    assert why_stop(ASHA, "maximize", 4, curves) == ""


def test_too_few_trials_to_compare_with_end_none() -> None:
    curves = {1: flat(5.0), 2: flat(6.0), 4: flat(1.0, 12)}
    assert why_stop(MEDIAN, "maximize", 4, curves) == ""


def test_trials_that_have_not_come_so_far_are_no_measure() -> None:
    curves = {1: flat(5.0, 11), 2: flat(6.0, 11), 3: flat(7.0, 11), 4: flat(1.0, 12)}
    assert why_stop(MEDIAN, "maximize", 4, curves) == ""


def test_a_trial_that_has_had_more_than_finished_ones_needed_is_compared_with_them() -> None:
    """Where trials report faster than they are looked at, or some are meant to be longer."""
    curves = {1: flat(5.0, 11), 2: flat(6.0, 11), 3: flat(7.0, 11), 4: flat(1.0, 12)}
    finals = {1: 5.0, 2: 6.0, 3: 7.0}
    reason = why_stop(MEDIAN, "maximize", 4, curves, finals=finals)
    assert "median of 3 trials at step 12 (1 against 6)" in reason


def test_a_trial_without_a_report_is_left_alone() -> None:
    curves: dict[int, Curve] = {1: flat(5.0), 2: flat(6.0), 3: flat(7.0), 4: []}
    assert why_stop(MEDIAN, "maximize", 4, curves) == ""
    assert why_stop(ASHA, "maximize", 4, curves) == ""


def test_only_one_in_three_goes_on_from_a_rung() -> None:
    curves = {number: flat(float(number), 10) for number in range(1, 7)}
    going_on = [n for n in curves if not why_stop(ASHA, "maximize", n, curves)]
    assert going_on == [5, 6]


def test_a_rung_compares_what_was_reached_by_it() -> None:
    late_bloomer: Curve = [(5.0, 1.0), (10.0, 1.0), (29.0, 9.0)]
    curves = {1: flat(2.0, 10), 2: flat(3.0, 10), 3: late_bloomer}
    assert "rung of step 10" in why_stop(ASHA, "maximize", 3, curves)


@given(
    values=st.lists(st.floats(-1e6, 1e6), min_size=4, max_size=12, unique=True),
    rule=st.sampled_from([MEDIAN, ASHA]),
)
def test_the_best_trial_is_never_ended(values: list[float], rule: EarlyStopping) -> None:
    curves = {number: flat(value) for number, value in enumerate(values)}
    best = max(curves, key=lambda number: values[number])
    assert why_stop(rule, "maximize", best, curves) == ""


@given(
    values=st.lists(st.floats(-1e6, 1e6), min_size=4, max_size=12),
    rule=st.sampled_from([MEDIAN, ASHA]),
)
def test_to_minimize_is_to_maximize_the_negative(values: list[float], rule: EarlyStopping) -> None:
    curves = {number: flat(value) for number, value in enumerate(values)}
    negative = {number: flat(-value) for number, value in enumerate(values)}
    for number in curves:
        up = why_stop(rule, "maximize", number, curves)
        down = why_stop(rule, "minimize", number, negative)
        assert bool(up) == bool(down)


def test_of_several_accounts_of_a_trial_the_one_that_goes_furthest_counts() -> None:
    assert furthest([flat(1.0, 3), [], flat(2.0, 5), flat(3.0, 5)]) == flat(2.0, 5)
    assert furthest([[], ()]) == []
    assert furthest([]) == ()


FORECAST = EarlyStopping(method="forecast", resource="step", grace=10, min_trials=3)


def late(final: float, until: int = 30) -> Curve:
    """It stands still until a third of the way and rises to its end."""
    return [(float(at), max(0.0, final * (at - 10) / 20)) for at in range(1, until + 1)]


def test_what_has_hardly_a_chance_to_become_the_best_is_ended() -> None:
    curves = {n: flat(float(n)) for n in range(1, 7)} | {7: flat(1.0, 12), 8: flat(5.9, 12)}
    finals = {n: float(n) for n in range(1, 7)}
    assert "to become the best after step 12" in why_stop(
        FORECAST, "maximize", 7, curves, finals=finals
    )
    assert why_stop(FORECAST, "maximize", 8, curves, finals=finals) == ""
    assert why_stop(FORECAST, "minimize", 7, curves, finals=finals) == ""
    assert why_stop(FORECAST, "minimize", 8, curves, finals=finals) != ""


def test_where_early_values_say_nothing_all_go_on() -> None:
    curves = {n: late(float(n)) for n in range(1, 7)} | {7: late(1.0, 10)}
    finals = {n: float(n) for n in range(1, 7)}
    assert why_stop(FORECAST, "maximize", 7, curves, finals=finals) == ""


def test_a_forecast_waits_for_enough_finished_trials() -> None:
    curves = {1: flat(5.0), 2: flat(6.0), 3: flat(7.0), 4: flat(-9.0, 12)}
    assert why_stop(FORECAST, "maximize", 4, curves, finals={1: 5.0, 2: 6.0, 3: None}) == ""


@given(st.lists(st.floats(-1e6, 1e6), max_size=200))
def test_a_thinned_curve_keeps_its_end_and_its_mean_place(values: list[float]) -> None:
    curve = [(float(at), value) for at, value in enumerate(values)]
    thin = thinned(curve)
    assert len(thin) <= 32
    assert [at for at, _ in thin] == sorted({at for at, _ in thin})
    if curve:
        assert thin[-1][0] == curve[-1][0]
        assert all(min(values) - 1e-6 <= value <= max(values) + 1e-6 for _, value in thin)
    if len(curve) <= 32:
        assert thin == tuple(curve)
