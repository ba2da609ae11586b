"""protein-sky on the local EC2: planned, launched on spot machines, preempted, paid for, ended."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.infra.aws import catalogue
from tests.infra.aws.local_ec2 import Instance, LocalEc2
from tests.infra.aws.sweeps import LONG, SOON, Ec2Sweep
from tests.launcher.waiting import eventually

pytestmark = [pytest.mark.infra, pytest.mark.timeout(3 * LONG)]

NewSweep = Callable[[str], Ec2Sweep]
PRICE = catalogue.spot_price("g5.xlarge")


@pytest.fixture
def new_sweep(ec2: LocalEc2) -> Iterator[NewSweep]:
    sweeps: list[Ec2Sweep] = []

    def new(name: str) -> Ec2Sweep:
        sweeps.append(Ec2Sweep(ec2, name))
        return sweeps[-1]

    yield new
    for sweep in sweeps:
        sweep.end()


def test_a_plan_tells_the_catalogues_price_and_starts_nothing(
    ec2: LocalEc2, new_sweep: NewSweep
) -> None:
    before = ec2.instances()
    sweep = new_sweep("planned")
    sweep.write(cases=["plain-1", "plain-2"])
    plan = json.loads(sweep.command("plan", "planned.yaml", "--cloud", "aws", "--json"))
    assert plan["chosen"]["instance_type"] == "g5.xlarge"
    assert plan["usd_per_hour"] == PRICE
    assert ec2.instances() == before


def test_two_spot_machines_carry_four_trials_and_one_is_taken_away(
    ec2: LocalEc2, new_sweep: NewSweep
) -> None:
    before = ec2.instances()
    sweep = new_sweep("reused")
    sweep.write(cases=["waits", "plain-1", "plain-2", "plain-3"], mode="reused_clusters")
    sweep.launch()
    first = sweep.until_started(1)
    sweep.until_checkpoint()
    ec2.terminate(ec2.on(first.host_name).instance_id)
    again = sweep.until_started(1, times=2)
    sweep.release()
    assert sweep.wait() == 0, sweep.said()

    assert (first.attempt, again.attempt) == (1, 2)
    assert again.from_step > 0
    assert again.host_name != first.host_name
    assert len(sweep.starts()) == 5
    assert sweep.launched_prices() == [PRICE] * 5
    assert kinds_since(before, ec2) == {("g5.xlarge", True)}
    assert all_succeeded(sweep)
    assert is_paid_at_the_catalogues_price(sweep)
    eventually(lambda: not ec2.running(), seconds=SOON)


def test_a_managed_job_is_recovered_by_skypilot_on_another_machine(
    ec2: LocalEc2, new_sweep: NewSweep
) -> None:
    """To us it is one attempt: the jobs controller starts it again by itself."""
    before = ec2.instances()
    sweep = new_sweep("managed")
    sweep.write(cases=["waits", "plain"], mode="managed_jobs")
    sweep.launch()
    first = sweep.until_started(1)
    sweep.until_checkpoint()
    ec2.terminate(ec2.on(first.host_name).instance_id)
    again = sweep.until_started(1, times=2)
    sweep.release()
    assert sweep.wait() == 0, sweep.said()

    assert (first.attempt, again.attempt) == (1, 1)
    assert again.from_step > 0
    assert sweep.launched_prices()[0] == PRICE
    assert kinds_since(before, ec2) == {("g5.xlarge", True)}
    assert all_succeeded(sweep)
    assert is_paid_at_the_catalogues_price(sweep)
    eventually(lambda: not ec2.running(), seconds=SOON)


def test_what_is_sold_out_is_replaced_by_the_next_choice_at_its_price(
    ec2: LocalEc2, new_sweep: NewSweep
) -> None:
    """The cheapest of the choices is asked for first, and none is free in any zone."""
    before = ec2.instances()
    ec2.sell_out("g4dn.xlarge")
    sweep = new_sweep("replaced")
    choices = {"any_of": [{"accelerators": "T4:1"}, {"accelerators": "A10G:1"}]}
    sweep.write(cases=["plain"], mode="cluster_per_trial", resources=choices)
    sweep.launch()
    assert sweep.wait() == 0, sweep.said()

    assert set(ec2.refused()) == {"g4dn.xlarge"}
    assert sweep.launched_prices() == [PRICE]
    assert kinds_since(before, ec2) == {("g5.xlarge", True)}
    assert all_succeeded(sweep)
    assert is_paid_at_the_catalogues_price(sweep)
    eventually(lambda: not ec2.running(), seconds=SOON)


def test_a_machine_ends_itself_when_nobody_is_left_who_could(
    ec2: LocalEc2, new_sweep: NewSweep
) -> None:
    """Its trial goes on to the end; then it is idle for a minute, and terminated by its agent."""
    sweep = new_sweep("abandoned")
    sweep.write(cases=["waits", "plain"], mode="reused_clusters", idle_minutes=1)
    sweep.launch()
    first = sweep.until_started(1)
    sweep.until_started(2)
    ec2.kill_clients()
    idle = [i for i in ec2.running() if i.host_name != first.host_name]
    eventually(lambda: not {*idle} & {*ec2.running()}, seconds=SOON)
    assert [i.host_name for i in ec2.running()] == [first.host_name]  # its trial is at work
    sweep.release()
    eventually(lambda: not ec2.running(), seconds=SOON)
    ec2.start_api_server()


def kinds_since(before: list[Instance], ec2: LocalEc2) -> set[tuple[str, bool]]:
    """Of the machines that have been launched since: type, and whether they are spot machines."""
    known = {seen.instance_id for seen in before}
    new = [seen for seen in ec2.instances() if seen.instance_id not in known]
    return {(seen.instance_type, seen.spot) for seen in new}


def all_succeeded(sweep: Ec2Sweep) -> bool:
    return {trial["state"] for trial in sweep.status()["trials"]} == {"succeeded"}


def is_paid_at_the_catalogues_price(sweep: Ec2Sweep) -> bool:
    """A g5.xlarge has one GPU: what was spent is its hours by the price, lost attempts included."""
    budget = sweep.status()["budget"]
    hours, usd = budget["gpu_hours"]["used"], budget["usd"]["spent"]
    assert hours >= sum(map(run_seconds, sweep.status()["trials"])) / 3600 > 0
    return bool(usd == pytest.approx(hours * PRICE))


def run_seconds(trial: dict[str, Any]) -> float:
    """How long its program ran, in all attempts."""
    return sum(
        float(a["ended_at"]) - float(a["started_at"]) for a in trial["attempts"] if a["started_at"]
    )
