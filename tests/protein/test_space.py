import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protein import Space, SpaceError
from protein.parameter import Categorical, Distribution, Numeric


def numerics() -> st.SearchStrategy[Numeric]:
    ranges = {
        Distribution.UNIFORM: (st.floats(-1e6, 1e6), st.floats(1e-3, 1e6)),
        Distribution.LOG_NORMAL: (st.floats(1e-9, 1e3), st.floats(1e-3, 1e6)),
        Distribution.INT_UNIFORM: (st.integers(-1000, 1000), st.integers(1, 5000)),
    }

    def build(distribution: Distribution) -> st.SearchStrategy[Numeric]:
        if distribution is Distribution.LOGIT_NORMAL:
            low, high = st.floats(0.0, 0.9), st.floats(0.91, 0.99999)
            return st.builds(lambda a, b: Numeric("p", distribution, a, b), low, high)
        if distribution is Distribution.UNIFORM_POW2:
            return st.builds(
                lambda a, k: Numeric("p", distribution, 2**a, 2 ** (a + k)),
                st.integers(0, 10),
                st.integers(1, 15),
            )
        low, width = ranges[distribution]
        return st.builds(lambda a, w: Numeric("p", distribution, a, a + w), low, width)

    kinds = [d for d in Distribution if d is not Distribution.CATEGORICAL]
    return st.sampled_from(kinds).flatmap(build)


@settings(deadline=None)
@given(numerics(), st.floats(0, 1))
def test_a_value_comes_back_from_the_unit_interval(parameter: Numeric, unit: float) -> None:
    value = parameter.from_unit(unit)
    again = parameter.from_unit(parameter.to_unit(value))
    assert parameter.contains(value)
    assert again == pytest.approx(value, rel=1e-9, abs=1e-9 * (parameter.max - parameter.min))
    assert type(again) is type(value)


@settings(deadline=None)
@given(numerics(), st.floats(0, 1))
def test_the_unit_coordinate_of_a_real_value_comes_back(parameter: Numeric, unit: float) -> None:
    if parameter.cells is None:
        # What a double can resolve near the bounds of the range limits the precision.
        assert parameter.to_unit(parameter.from_unit(unit)) == pytest.approx(unit, abs=1e-4)


@settings(deadline=None)
@given(numerics(), st.floats(0, 1))
def test_a_tidy_value_stays_inside_the_range(parameter: Numeric, unit: float) -> None:
    assert parameter.contains(parameter.tidy(parameter.from_unit(unit)))


def test_a_discrete_parameter_gives_each_value_the_same_share() -> None:
    dice = Numeric("dice", Distribution.INT_UNIFORM, 1, 6)
    values = [dice.from_unit((i + 0.5) / 600) for i in range(600)]
    assert [values.count(face) for face in range(1, 7)] == [100] * 6


def test_powers_of_two_are_integers_between_their_bounds() -> None:
    batch = Numeric("batch", Distribution.UNIFORM_POW2, 16, 128)
    values = {batch.from_unit(i / 50) for i in range(51)}
    assert values == {16, 32, 64, 128}
    assert all(type(value) is int for value in values)


def test_log_normal_is_even_on_a_log_scale_and_logit_normal_in_one_minus_the_value() -> None:
    rate = Numeric("rate", Distribution.LOG_NORMAL, 1e-5, 1e-1)
    gamma = Numeric("gamma", Distribution.LOGIT_NORMAL, 0.9, 0.999)
    assert rate.from_unit(0.5) == pytest.approx(1e-3)
    assert gamma.from_unit(0.5) == pytest.approx(0.99)


def test_categories_come_back_and_keep_their_type() -> None:
    flags = Categorical("flags", (1, True, "1"))
    for value in flags.values:
        again = flags.from_unit(flags.to_unit(value))
        assert again == value
        assert type(again) is type(value)


FULL = {
    "trainer": {
        "learning_rate": {"distribution": "log_normal", "min": 1e-5, "max": 1e-2, "mean": 1e-3},
        "batch_size": {"distribution": "uniform_pow2", "min": 16, "max": 64, "scale": "auto"},
        "gamma": {"distribution": "logit_normal", "min": 0.9, "max": 0.999},
    },
    "trainer.epochs": {"distribution": "int_uniform", "min": 1, "max": 8, "scale": 0.5},
    "optimizer": {"values": ["adam", "sgd"]},
    "momentum": {"min": 0.0, "max": 0.99, "when": {"optimizer": ["sgd"]}},
    "seed": 7,
    "env.name": {"value": "pong"},
}


def test_nested_and_dotted_names_are_the_same() -> None:
    nested = Space.from_dict({"a": {"b": {"min": 0, "max": 1}}})
    assert nested == Space.from_dict({"a.b": {"min": 0, "max": 1}})
    assert nested.names == ("a.b",)


def test_a_space_comes_back_from_json() -> None:
    space = Space.from_dict(FULL)
    assert Space.from_dict(json.loads(json.dumps(space.to_dict()))) == space
    assert dict(space.fixed) == {"seed": 7, "env.name": "pong"}


def test_a_missing_distribution_is_uniform_or_categorical() -> None:
    space = Space.from_dict({"a": {"min": 1, "max": 4}, "b": {"values": [1, 2]}})
    first, second = space.parameters
    assert isinstance(first, Numeric)
    assert first.distribution is Distribution.UNIFORM
    assert isinstance(second, Categorical)


def test_an_inactive_parameter_is_left_out() -> None:
    space = Space.from_dict(FULL)
    index = space.names.index("optimizer")
    unit = [0.2] * len(space.names)
    assert "momentum" not in space.from_unit(tuple(unit))
    unit[index] = 0.9
    assert space.from_unit(tuple(unit))["momentum"] == pytest.approx(0.2 * 0.99)


def test_contains_asks_for_every_active_parameter() -> None:
    space = Space.from_dict(FULL)
    params = space.from_unit((0.5,) * len(space.names)) | {"optimizer": "adam"}
    assert space.contains(params)
    assert not space.contains(params | {"trainer.batch_size": 33})
    assert not space.contains(params | {"optimizer": "sgd", "momentum": 2.0})
    assert not space.contains({k: v for k, v in params.items() if k != "trainer.gamma"})


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(SpaceError) as caught:
        Space.from_dict(
            {
                "a": {"min": 2, "max": 1},
                "b": {"distribution": "log_norml", "min": 1, "max": 2},
                "c": {"distribution": "log_normal", "min": 0, "max": 1},
                "d": {"mim": 1, "max": 2},
                "e": {"min": 0.5, "max": 3, "distribution": "int_uniform"},
                "f": None,
            }
        )
    found = [(p.parameter, p.key) for p in caught.value.problems]
    assert found == [
        ("a", "max"),
        ("b", "distribution"),
        ("c", "min"),
        ("d", "mim"),
        ("e", "min"),
        ("f", ""),
    ]
    assert "'log_normal'" in caught.value.problems[1].hint
    assert "'min'" in caught.value.problems[3].hint


def refusal(mapping: dict[str, object]) -> str:
    with pytest.raises(SpaceError) as caught:
        Space.from_dict(mapping)
    return str(caught.value)


def test_wandb_log_normal_is_read_as_a_range_with_a_prior() -> None:
    space = Space.from_dict({"a": {"distribution": "log_normal", "mu": math.log(0.01), "sigma": 1}})
    (parameter,) = space.parameters
    assert isinstance(parameter, Numeric)
    assert parameter.mean == pytest.approx(0.01)
    assert parameter.min == pytest.approx(0.01 * math.exp(-3))
    assert parameter.spread == pytest.approx(1 / 6)  # one sigma of a range six sigma wide


def test_both_meanings_of_log_normal_at_once_are_refused() -> None:
    both = {"distribution": "log_normal", "mu": 0, "sigma": 1, "min": 1, "max": 2}
    assert "two meanings" in refusal({"a": both})


def test_conditions_need_a_discrete_parameter_that_exists() -> None:
    child = {"min": 0, "max": 1, "when": {"parent": [1]}}
    assert "no parameter 'parent'" in refusal({"child": child})
    assert "is not discrete" in refusal({"child": child, "parent": {"min": 0, "max": 1}})
    ring = {"min": 0, "max": 1, "distribution": "int_uniform", "when": {"child": [1]}}
    assert "ring" in refusal({"child": child | {"distribution": "int_uniform"}, "parent": ring})


def test_numbers_must_be_finite_numbers() -> None:
    assert "finite" in refusal({"a": {"min": 0, "max": math.inf}})
    assert "must be a number" in refusal({"a": {"min": "1e-5", "max": 1}})
    assert "logit_normal needs" in refusal(
        {"a": {"distribution": "logit_normal", "min": 0.5, "max": 1}}
    )


@pytest.mark.parametrize(
    ("when", "values"),
    [
        ("optimizer == adam", ("adam",)),
        ("optimizer in [adam, lion]", ("adam", "lion")),
        ("optimizer == 'adam'", ("adam",)),
    ],
)
def test_a_condition_can_be_written_as_it_is_said(when: str, values: tuple[str, ...]) -> None:
    space = Space.from_dict(
        {
            "optimizer": {"values": ["sgd", "adam", "lion"]},
            "beta2": {"min": 0.9, "max": 0.999, "when": when},
        }
    )
    condition = space.parameters[1].when
    assert condition is not None
    assert (condition.parameter, condition.values) == ("optimizer", values)


@pytest.mark.parametrize("when", ["optimizer = adam", "adam", "optimizer in adam", "a == "])
def test_a_condition_that_is_none_is_refused_with_an_example(when: str) -> None:
    with pytest.raises(SpaceError, match="optimizer == adam"):
        Space.from_dict(
            {"optimizer": {"values": ["adam"]}, "b": {"min": 0, "max": 1, "when": when}}
        )
