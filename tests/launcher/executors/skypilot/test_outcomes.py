"""What SkyPilot's view of a job and its own last words mean."""

import math
from dataclasses import replace

import pytest

from launcher.executors.skypilot.calls import Answer, Problem, SkyJob, Status
from launcher.executors.skypilot.ledger import Entry
from launcher.executors.skypilot.outcomes import ended, gone, repriced, standing, unplaced
from launcher.executors.skypilot.wrapping import Printed
from launcher.ports import Cause, Phase

COLD = Entry("s-1-1", "s.1", 1, "/run", 1000.0, "ps-s-w0", "r", 1, 1000.0, 2.0)
WARM = Entry("s-2-1", "s.2", 1, "/run", 1000.0, "ps-s-w0", "r", 2, 400.0, 2.0)
MANAGED = Entry("s-3-1", "s.3", 1, "/run", 1000.0, None, "r", 3, 1000.0)


def a_job(status: Status, started_at: float | None = 1100.0) -> SkyJob:
    return SkyJob(1, "ps-s-1-1", status, 1000.0, started_at, 1200.0)


@pytest.mark.parametrize(
    ("status", "said", "phase", "code", "cause"),
    [
        (Status.SUCCEEDED, Printed([], exit_code=0), Phase.EXITED, 0, Cause.UNKNOWN),
        (Status.FAILED, Printed([], exit_code=3), Phase.EXITED, 3, Cause.UNKNOWN),
        (Status.FAILED, Printed(["return code list: [0, 9]"]), Phase.EXITED, 9, Cause.UNKNOWN),
        (Status.FAILED, Printed(["return code list: [-9]"]), Phase.EXITED, 137, Cause.UNKNOWN),
        (Status.FAILED, Printed([]), Phase.EXITED, 1, Cause.UNKNOWN),
        (Status.FAILED, Printed([], 124, is_timeout=True), Phase.KILLED, None, Cause.TIMEOUT),
        (Status.FAILED, Printed([], 124, is_stalled=True), Phase.KILLED, None, Cause.STALLED),
        (Status.FAILED_SETUP, Printed(["no pip"]), Phase.LOST, None, Cause.LAUNCH_ERROR),
        (Status.NO_CAPACITY, Printed([]), Phase.LOST, None, Cause.NO_CAPACITY),
        (Status.REFUSED, Printed([]), Phase.LOST, None, Cause.LAUNCH_ERROR),
        (Status.BROKEN, Printed([]), Phase.LOST, None, Cause.NODE_LOST),
        (Status.CANCELLED, Printed([]), Phase.LOST, None, Cause.NODE_LOST),
    ],
)
def test_an_end_is_told_by_the_queue_and_by_the_jobs_own_words(
    status: Status, said: Printed, phase: Phase, code: int | None, cause: Cause
) -> None:
    outcome = ended(COLD, a_job(status), said, 1300.0)
    assert (outcome.phase, outcome.exit_code, outcome.cause) == (phase, code, cause)


def test_a_failed_setup_shows_its_last_lines() -> None:
    outcome = ended(COLD, a_job(Status.FAILED_SETUP), Printed(["pip: not found"]), 1300.0)
    assert "pip: not found" in outcome.detail


def test_a_new_machine_is_paid_from_its_launch_on() -> None:
    assert ended(COLD, a_job(Status.SUCCEEDED), Printed([]), 1300.0).held_since == 1000.0


def test_waiting_for_room_costs_nothing() -> None:
    late = a_job(Status.SUCCEEDED, started_at=9000.0)
    assert ended(COLD, late, Printed([]), 9300.0).held_since == 8100.0
    assert standing(COLD, a_job(Status.RUNNING, 9000.0)).held_since == 8100.0


def test_a_warm_machines_idle_time_is_paid() -> None:
    late = a_job(Status.SUCCEEDED, started_at=9000.0)
    assert ended(WARM, late, Printed([]), 9300.0).held_since == 400.0


def test_a_managed_job_that_never_had_a_machine_costs_nothing() -> None:
    outcome = ended(MANAGED, a_job(Status.NO_CAPACITY, started_at=None), Printed([]), 9300.0)
    assert (outcome.started_at, outcome.held_since) == (None, None)


@pytest.mark.parametrize(("spot", "cause"), [(True, Cause.PREEMPTED), (False, Cause.NODE_LOST)])
def test_a_machine_that_is_gone_was_preempted_if_it_was_spot(spot: bool, cause: Cause) -> None:
    entry = Entry("s-1-1", "s.1", 1, "/run", 0.0, "ps-s-w0", "r", 1, 0.0, is_spot=spot)
    assert gone(entry, a_job(Status.RUNNING), 1500.0).cause is cause


def test_a_cancelled_job_that_was_never_placed_is_killed() -> None:
    entry = Entry("s-1-1", "s.1", 1, "/run", 0.0, "ps-s-w0", "r", is_cancelled=True)
    assert unplaced(entry, Answer(problem=Problem.CANCELLED), 5.0).phase is Phase.KILLED


def test_a_program_knows_best_how_long_it_ran_unless_it_ran_more_than_once() -> None:
    said = Printed([], 0, started_at=9150.0, ended_at=9160.0)  # by a clock of its own
    job = a_job(Status.SUCCEEDED)
    again = SkyJob(1, "ps-s-1-1", Status.SUCCEEDED, 1000.0, 1100.0, 1200.0, recoveries=1)
    assert ended(COLD, job, said, 1300.0).started_at == 1190.0
    assert ended(COLD, again, said, 1300.0).started_at == 1100.0


def test_machines_of_two_prices_are_paid_at_both() -> None:
    first = replace(a_job(Status.RUNNING, 1000.0), price_usd_per_hour=2.0)
    entry = repriced(MANAGED, first, 1100.0)
    assert repriced(entry, first, 2000.0) == entry
    entry = repriced(entry, replace(first, price_usd_per_hour=1.0), 4600.0)  # after an hour at 2
    over = replace(first, status=Status.SUCCEEDED, ended_at=8200.0, price_usd_per_hour=None)
    outcome = ended(entry, over, Printed([]), 8200.0)
    assert outcome.held_since == 1000.0
    assert outcome.price_usd_per_hour == pytest.approx((2.0 + 1.0) / 2)


def test_what_a_queue_calls_running_may_wait_for_its_turn() -> None:
    job = a_job(Status.RUNNING)
    assert standing(COLD, job, math.inf).phase is Phase.PENDING
    running = standing(COLD, job, 1150.0)
    assert (running.started_at, running.held_since) == (1150.0, 1150.0)


def test_a_machine_that_goes_before_a_jobs_turn_is_paid_for_another() -> None:
    outcome = gone(COLD, a_job(Status.RUNNING), 1500.0, math.inf)
    assert (outcome.phase, outcome.started_at, outcome.held_since) == (Phase.LOST, None, None)
