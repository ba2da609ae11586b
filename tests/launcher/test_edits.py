"""What may change while a sweep goes on, and what earlier trials still teach then."""

from typing import Any

import pytest

from launcher import edits
from launcher.config import SweepConfig
from launcher.errors import UsageError
from protein.space import Space
from tests.launcher.builders import PARAMS, SPACE, a_config

DROPOUT = {"distribution": "uniform", "min": 0.0, "max": 0.5}


def with_parameter(**changes: Any) -> SweepConfig:
    return a_config(sweep={"parameters": {**SPACE, "model.dropout": {**DROPOUT, **changes}}})


def projected(config: SweepConfig) -> dict[str, Any] | str:
    return edits.project(Space.from_dict(config.sweep.parameters), PARAMS)


def test_an_earlier_trial_counts_with_the_default_of_a_new_parameter() -> None:
    assert projected(with_parameter(default=0.1)) == {**PARAMS, "model.dropout": 0.1}


@pytest.mark.parametrize(("given", "expected"), [({}, 0.25), ({"mean": 0.4}, 0.4)])
def test_without_a_default_it_counts_with_the_expected_value(
    given: dict[str, Any], expected: float
) -> None:
    assert projected(with_parameter(**given)) == {**PARAMS, "model.dropout": expected}


def test_the_default_is_written_down_and_outlives_a_change_of_the_range() -> None:
    edited = edits.with_defaults(a_config(), with_parameter())
    assert edited.sweep.parameters["model.dropout"] == {**DROPOUT, "default": 0.25}
    narrowed = with_parameter(**edited.sweep.tuned["model.dropout"] | {"min": 0.2})
    later = edits.with_defaults(edited, narrowed)
    assert projected(later) == {**PARAMS, "model.dropout": 0.25}


def test_a_parameter_that_was_fixed_keeps_the_value_that_trials_had() -> None:
    old = a_config(sweep={"parameters": {**SPACE, "model.dropout": 0.3}})
    assert edits.new_parameters(old, with_parameter()) == []
    space = Space.from_dict(with_parameter().sweep.parameters)
    was = {**PARAMS, "model.dropout": 0.3}
    assert edits.project(space, was) == was


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({**SPACE, "trainer.gamma": {"min": 0.9, "max": 0.95}}, "outside its range"),
        ({**SPACE, "trainer.gamma": 0.9}, "trainer.gamma was 0.99 and is 0.9 now"),
        ({k: v for k, v in SPACE.items() if k != "trainer.gamma"}, "is given no more"),
    ],
)
def test_a_trial_that_does_not_fit_is_set_aside_with_the_reason(
    parameters: dict[str, Any], reason: str
) -> None:
    result = projected(a_config(sweep={"parameters": parameters}))
    assert isinstance(result, str)
    assert reason in result


@pytest.mark.parametrize("change", [{"metric": "loss"}, {"goal": "minimize"}, {"seed": 1}])
def test_an_edit_that_makes_another_sweep_of_it_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="cannot change"):
        edits.check_edit(a_config(), a_config(sweep=change))


def test_totals_are_totals_and_not_increments() -> None:
    longer = edits.extended(a_config(budget={"trials": 12}), trials=20, budget_usd=5, hours=2)
    assert (longer.trials, longer.budget.trials) == (20, 20)
    assert (longer.budget.usd, longer.budget.hours) == (5, 2)
