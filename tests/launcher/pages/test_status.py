import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from launcher.budget import Offer
from launcher.events import (
    CancelRequested,
    EndReason,
    Event,
    Failure,
    Origin,
    ParamsEnqueued,
    PauseRequested,
    ResumeRequested,
    StopRequested,
    SweepEnded,
)
from launcher.pages import status
from launcher.pages.status import Document
from launcher.state import State, TrialState
from tests.launcher.builders import (
    START,
    ATrial,
    a_config,
    a_state,
    failed,
    queued,
    running,
    succeeded,
)

LOCAL = Offer(parallel=2)
RENTED = Offer(price_usd_per_hour=3.6, gpus=1, parallel=2)


def doc(
    *trials: ATrial,
    offer: Offer = LOCAL,
    after: float = 60.0,
    is_live: bool = True,
    then: tuple[Event, ...] = (),
    **changes: Any,
) -> Document:
    config = a_config(**changes)
    state = a_state(config, *trials, then=then, then_at=START + after)
    return status.document(config, state, offer=offer, now=START + after, is_live=is_live)


def check(document: Document) -> None:
    """Raise unless the document, as JSON, fits its schema."""
    text = json.dumps(document, allow_nan=False)
    Draft202012Validator(status.schema()).validate(json.loads(text))


def test_the_schema_is_a_valid_schema() -> None:
    Draft202012Validator.check_schema(status.schema())


def test_a_sweep_without_trials_fits_the_schema() -> None:
    document = doc()
    check(document)
    assert document["best"] is None
    assert document["counts"]["total"] == 12


outcomes = st.lists(st.sampled_from([None, *Failure]), min_size=1, max_size=3).map(tuple)
values = st.dictionaries(st.text(), st.booleans() | st.integers() | st.text(), max_size=3)
any_trial = st.builds(
    ATrial,
    score=st.none() | st.floats(allow_nan=False, allow_infinity=False),
    cost_seconds=st.none() | st.floats(0, 1e9),
    failures=outcomes,
    state=st.none() | st.sampled_from([TrialState.QUEUED, TrialState.STARTING, TrialState.RUNNING]),
    params=values,
    origin=st.sampled_from(Origin),
    info=st.dictionaries(st.sampled_from(["origin", "predicted_score"]), st.just(1.5)),
    seconds=st.floats(0, 1e5),
    price_usd_per_hour=st.floats(0, 100),
    reserved_usd=st.floats(0, 1e3),
    exit_code=st.none() | st.integers(0, 255),
    detail=st.text(max_size=20),
)
modes: st.SearchStrategy[tuple[Event, ...]] = st.sampled_from(
    [
        (),
        (PauseRequested("three in a row broke"),),
        (StopRequested(),),
        (CancelRequested(), ParamsEnqueued("c1", {"x": 1})),
        *((SweepEnded(reason, "why"),) for reason in EndReason),
    ]
)


@given(st.lists(any_trial, max_size=5), modes, st.floats(-100, 1e6), st.booleans())
def test_every_state_has_a_document_that_fits_the_schema(
    trials: list[ATrial], then: tuple[Event, ...], after: float, is_live: bool
) -> None:
    config = a_config(budget={"usd": 10.0}, execution={"timeout_seconds": 60.0})
    state = a_state(config, *trials, then=then)
    for offer in (LOCAL, RENTED):
        check(status.document(config, state, offer=offer, now=START + after, is_live=is_live))


@pytest.mark.parametrize(
    ("then", "is_live", "expected"),
    [
        ([], True, "running"),
        ([], False, "interrupted"),
        ([PauseRequested()], True, "paused"),
        ([PauseRequested()], False, "paused"),
        ([StopRequested()], True, "stopping"),
        ([CancelRequested()], True, "cancelling"),
        ([SweepEnded(EndReason.COMPLETED)], False, "completed"),
        ([SweepEnded(EndReason.STOPPED)], False, "stopped"),
        ([SweepEnded(EndReason.CANCELLED)], False, "cancelled"),
        ([SweepEnded(EndReason.BUDGET)], False, "budget"),
        ([SweepEnded(EndReason.STOPPED), ResumeRequested()], True, "running"),
    ],
)
def test_the_sweeps_state_is_one_word_for_people(
    then: list[Event], is_live: bool, expected: str
) -> None:
    assert doc(then=tuple(then), is_live=is_live)["state"] == expected


def test_an_interrupted_sweep_says_why() -> None:
    assert doc(is_live=False)["reason"] == "no coordinator runs"


def test_a_pause_keeps_its_reason() -> None:
    assert doc(then=(PauseRequested("3 in a row broke"),))["reason"] == "3 in a row broke"


@pytest.mark.parametrize(("goal", "best"), [("maximize", 2), ("minimize", 1)])
def test_the_best_respects_the_goal(goal: str, best: int) -> None:
    document = doc(succeeded(1.0), succeeded(3.0), succeeded(2.0), sweep={"goal": goal})
    assert document["best"]["number"] == best


def test_of_equal_scores_the_cheaper_is_best() -> None:
    document = doc(succeeded(1.0, 9.0), succeeded(1.0, 3.0), succeeded(1.0, 5.0))
    assert document["best"]["number"] == 2


def test_the_front_is_ordered_by_cost_and_ends_with_the_best() -> None:
    document = doc(succeeded(3.0, 9.0), succeeded(1.0, 2.0), succeeded(2.0, 5.0), succeeded(0, 7))
    assert [point["number"] for point in document["pareto_front"]] == [2, 3, 1]
    assert document["pareto_front"][-1] == document["best"]


def test_a_failed_trial_is_never_best_and_says_what_broke() -> None:
    document = doc(failed(exit_code=3, detail="exit code 3"))
    assert document["best"] is None
    assert document["trials"][0]["error"] == {
        "class": "crashed",
        "message": "exit code 3",
        "exit_code": 3,
        "attempt": 1,
    }


def test_a_trial_that_is_tried_again_shows_its_last_error_until_it_succeeds() -> None:
    again = ATrial(failures=(Failure.PREEMPTED,), state=TrialState.RUNNING)
    done = succeeded(1.0, failures=(Failure.PREEMPTED, None))
    first, second = doc(again, done)["trials"]
    assert first["error"]["class"] == "preempted"
    assert [attempt["failure"] for attempt in second["attempts"]] == ["preempted", None]
    assert second["error"] is None


def test_a_score_that_is_not_finite_is_unknown() -> None:
    assert doc(succeeded(float("nan"), float("inf")))["trials"][0]["score"] is None


def test_trials_are_counted_by_state() -> None:
    counts = doc(succeeded(1.0), failed(), running(), queued())["counts"]
    assert counts == {
        "total": 12,
        "enqueued": 0,
        "queued": 1,
        "starting": 0,
        "running": 1,
        "succeeded": 1,
        "stopped": 0,
        "failed": 1,
        "cancelled": 0,
    }


def test_a_limit_lowered_afterwards_does_not_hide_trials() -> None:
    document = doc(succeeded(1.0), succeeded(2.0), budget={"trials": 1})
    assert document["counts"]["total"] == 2


def test_money_counts_what_runs_while_it_runs() -> None:
    hour = 3600.0
    trial = running(price_usd_per_hour=3.6, reserved_usd=10.0)
    document = doc(trial, offer=RENTED, after=hour, budget={"usd": 20.0})
    usd = document["budget"]["usd"]
    assert usd["spent"] == pytest.approx(3.6)
    assert usd["reserved"] == pytest.approx(6.4)
    assert document["trials"][0]["cost_usd"] == pytest.approx(3.6)
    assert usd["per_trial"] is None
    assert usd["forecast"] is None


def test_waste_is_what_machines_ended() -> None:
    trial = succeeded(1.0, failures=(Failure.PREEMPTED, None), seconds=100, price_usd_per_hour=36.0)
    usd = doc(trial, offer=RENTED, after=300)["budget"]["usd"]
    assert usd["wasted"] == pytest.approx(1.0)
    assert usd["spent"] == pytest.approx(2.0)
    assert usd["per_trial"] == pytest.approx(2.0)


def test_a_reservation_without_bound_is_unknown() -> None:
    document = doc(running(price_usd_per_hour=3.6, reserved_usd=float("inf")), offer=RENTED)
    assert document["budget"]["usd"]["reserved"] is None
    check(document)


def test_rounding_never_makes_money_negative() -> None:
    tries = (Failure.PREEMPTED,) * 2
    told = [
        succeeded(1.0, seconds=0.0),
        ATrial(
            failures=tries + tries[:1], state=TrialState.QUEUED, seconds=4, price_usd_per_hour=10
        ),
        ATrial(failures=tries, state=TrialState.QUEUED, seconds=1, price_usd_per_hour=2),
    ]
    assert doc(*told, offer=RENTED)["budget"]["usd"]["per_trial"] == 0.0


def test_the_forecast_takes_the_rest_as_dear_as_what_ended() -> None:
    trial = succeeded(1.0, seconds=100, price_usd_per_hour=36.0)
    usd = doc(trial, offer=RENTED, after=100, trials=10)["budget"]["usd"]
    assert usd["forecast"] == pytest.approx(10.0)


def test_the_forecast_never_exceeds_the_limit() -> None:
    trial = succeeded(1.0, seconds=100, price_usd_per_hour=36.0)
    usd = doc(trial, offer=RENTED, after=100, trials=10, budget={"usd": 4.0})["budget"]["usd"]
    assert usd["forecast"] == pytest.approx(4.0)


def test_the_time_left_follows_from_the_trials_that_ended() -> None:
    # Two of four trials are over at 10 s each; two slots take the other two at once.
    document = doc(succeeded(1, seconds=10), succeeded(2, seconds=10), after=10, trials=4)
    assert document["eta_seconds"] == pytest.approx(10.0)


def test_nobody_tells_the_time_left_before_a_trial_ended() -> None:
    assert doc(running())["eta_seconds"] is None


def test_a_paused_sweep_has_no_time_left() -> None:
    assert doc(succeeded(1.0), then=(PauseRequested(),))["eta_seconds"] is None


def test_a_sweep_that_drains_ends_with_its_running_trials() -> None:
    document = doc(
        succeeded(1.0, seconds=10),
        running(begins_at=START + 20),
        then=(StopRequested(),),
        after=24,
    )
    assert document["eta_seconds"] == pytest.approx(6.0)


def test_the_tuned_parameters_come_without_the_fixed_ones() -> None:
    parameters = {"lr": {"min": 0.1, "max": 0.2}, "steps": 100}
    document = doc(sweep={"parameters": parameters})
    assert list(document["parameters"]) == ["lr"]
    assert document["parameters"]["lr"]["distribution"] == "uniform"


def test_the_optimizers_word_for_its_proposal_is_the_origin() -> None:
    mine = queued(origin=Origin.USER, info={"origin": "user"})
    found = queued(info={"origin": "exploit", "predicted_score": 2.5, "predicted_cost": 9.0})
    first, second = doc(mine, found)["trials"]
    assert (first["origin"], second["origin"]) == ("user", "exploit")
    assert first["predicted"] is None
    assert second["predicted"] == {"score": 2.5, "score_sd": None, "cost_seconds": 9.0}


def test_reading_a_document_changes_nothing_in_the_state() -> None:
    config = a_config()
    state: State = a_state(config, succeeded(1.0), running())
    before = state.trials
    status.document(config, state, offer=LOCAL, now=START, is_live=True)
    assert state.trials == before


def test_every_key_is_explained_in_the_docs() -> None:
    text = (Path(__file__).parents[3] / "docs" / "status.md").read_text(encoding="utf-8")
    schema = status.schema()
    keys = [*schema["required"], *schema["$defs"]["trial"]["required"]]
    keys += schema["properties"]["budget"]["properties"]["usd"]["required"]
    keys += schema["properties"]["state"]["enum"]
    assert [key for key in keys if f"`{key}`" not in text] == []


def test_the_document_is_as_it_was() -> None:
    """The golden file is version 1: change it only to add keys, or count the version up."""
    golden = Path(__file__).parents[1] / "golden" / "status.json"
    told = (
        succeeded(412.5, 6.2, failures=(Failure.PREEMPTED, None), price_usd_per_hour=3.6),
        succeeded(100.0, 3.0, info={"origin": "exploit", "predicted_score": 90.0}),
        failed(Failure.OUT_OF_MEMORY, exit_code=137, detail="exit code 137"),
        running(price_usd_per_hour=3.6, reserved_usd=1.0),
        queued(origin=Origin.USER),
    )
    document = doc(*told, offer=RENTED, after=30.0, budget={"usd": 10.0})
    assert json.loads(json.dumps(document)) == json.loads(golden.read_text(encoding="utf-8"))
