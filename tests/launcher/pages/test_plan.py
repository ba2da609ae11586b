"""What a sweep would take, in numbers and in words."""

from typing import Any

import pytest

from launcher.budget import TEARDOWN_SECONDS, Offer
from launcher.executors.skypilot.prices import Candidate, Price
from launcher.pages.plan import document, lines
from tests.launcher.builders import a_config, a_state, failed, running, succeeded

HOUR = 3600.0


def a_place(zone: str, usd_per_hour: float | None) -> Candidate:
    return Candidate("aws", "us-east-1", zone, "g5.xlarge", "A10G:1", 1, True, usd_per_hour)


CHEAP, DEAR = a_place("a", 0.5), a_place("b", 1.0)
PRICE = Price(CHEAP, (CHEAP, DEAR), nodes=1)
OFFER = Offer(price_usd_per_hour=1.0, gpus=1, parallel=8, overhead_seconds=HOUR - TEARDOWN_SECONDS)


def a_plan(execution: dict[str, Any] | None = None, **given: Any) -> dict[str, Any]:
    config = a_config(
        trials=10,
        parallel=4,
        execution={"cloud": "aws", "timeout_seconds": 2 * HOUR} | (execution or {}),
        budget={"usd": given.pop("cap", None)},
    )
    return document(config, given.pop("offer", OFFER), price=PRICE, mode="managed_jobs", **given)


def words(plan: dict[str, Any]) -> str:
    return "\n".join(lines(plan))


def test_the_first_choice_and_the_dearest_place_are_told_apart() -> None:
    plan = a_plan()
    assert (plan["usd_per_hour"], plan["most_usd_per_hour"]) == (0.5, 1.0)
    assert plan["chosen"]["infra"] == "aws/us-east-1/a"
    assert len(plan["candidates"]) == 2


def test_without_experience_a_trial_takes_its_timeout_at_most() -> None:
    plan = a_plan()
    assert plan["trial"] == {"hours": 2.0, "basis": "timeout", "usd": 1.0, "most_usd": 3.0}
    assert plan["whole"] == {"hours": 6.0, "usd": 10.0, "most_usd": 30.0}
    assert "at most $1.00, $3.00 reserved" in words(plan)


def test_a_user_s_estimate_counts() -> None:
    plan = a_plan(hours_per_trial=0.5)
    assert (plan["trial"]["basis"], plan["trial"]["usd"]) == ("given", 0.25)
    assert "about $0.25" in words(plan)


def test_the_sweep_s_own_trials_say_how_long_the_next_take() -> None:
    state = a_state(a_config(), succeeded(0.5, seconds=HOUR), failed(seconds=3 * HOUR), running())
    plan = a_plan(state=state)
    assert plan["trial"]["basis"] == "earlier_trials"
    assert plan["trial"]["hours"] == pytest.approx(2.0)


def test_nothing_known_is_no_number() -> None:
    plan = a_plan({"timeout_seconds": None}, cap=20.0)
    assert plan["trial"] == {"hours": None, "basis": None, "usd": None, "most_usd": None}
    assert plan["whole"] == {"hours": None, "usd": None, "most_usd": None}
    assert "starts nothing: without execution.timeout_seconds" in words(plan)


@pytest.mark.parametrize(
    ("cap", "sure", "said"),
    [
        (2.9, 0, "starts nothing: one trial may cost $3.00"),
        (7.0, 2, "holds for 2 trials for sure"),
        (30.0, 10, "holds for all trials"),
    ],
)
def test_the_cap_is_held_against_the_worst_case(cap: float, sure: int, said: str) -> None:
    plan = a_plan(cap=cap)
    assert plan["cap"]["trials_for_sure"] == sure
    assert said in words(plan)


def test_what_is_expected_within_the_cap_stands_beside() -> None:
    plan = a_plan(cap=7.0, hours_per_trial=1.0)
    assert plan["cap"]["trials_expected"] == 14
    assert "about 14 trials are expected" in words(plan)


def test_what_was_spent_is_gone_from_the_cap() -> None:
    state = a_state(a_config(), succeeded(0.5, seconds=HOUR, price_usd_per_hour=4.0))
    plan = a_plan(cap=7.0, state=state)
    assert plan["cap"]["left_usd"] == pytest.approx(3.0)
    assert plan["cap"]["trials_for_sure"] == 1


def test_the_short_plan_counts_the_places_that_it_does_not_show() -> None:
    short = "\n".join(lines(a_plan(), is_short=True))
    assert "1 other place, $1.00 an hour at most" in short
    assert "aws/us-east-1/b" not in short
    assert "aws/us-east-1/b" in words(a_plan())


def test_a_price_that_nobody_knows_is_said() -> None:
    unknown = a_place("a", None)
    plan = document(a_config(), Offer(), price=Price(unknown, (unknown,), 1), mode="managed_jobs")
    assert plan["usd_per_hour"] is None
    assert plan["most_usd_per_hour"] is None
    assert "nobody knows what this costs" in words(plan)
    assert "price not known" in words(plan)


def test_this_machine_needs_no_price() -> None:
    plan = document(a_config(), Offer(parallel=2))
    assert (plan["chosen"], plan["candidates"], plan["mode"]) == (None, [], None)
    assert "no machine is paid for" in words(plan)


def test_the_folder_that_is_sent_is_told() -> None:
    assert "12.5 MB" in words(a_plan(sent_bytes=12_500_000))
