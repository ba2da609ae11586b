"""What doctor says about SkyPilot: its version, its clouds, and its bill against our ledger."""

import pytest

from launcher import health
from launcher.errors import ExecutorError
from launcher.executors.skypilot import costs, readiness, team
from launcher.executors.skypilot.costs import Bill
from launcher.health import Finding
from launcher.state import State
from tests.launcher.builders import a_config, a_state, succeeded


def skypilot(
    monkeypatch: pytest.MonkeyPatch, found: str, clouds: list[str] | None, where: str | None = None
) -> Finding:
    monkeypatch.setattr(team, "endpoint", lambda: where)
    monkeypatch.setattr(readiness, "version", lambda _name: found)
    monkeypatch.setattr(readiness, "_check_not_hidden", lambda: None)
    monkeypatch.setattr(readiness, "enabled_clouds", lambda: clouds)
    return health._skypilot()


def test_the_clouds_of_skypilot_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    found = skypilot(monkeypatch, "0.14.1", ["aws", "slurm"])
    assert (found.level, found.text) == ("ok", "may use aws, slurm")


def test_no_cloud_is_told_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    found = skypilot(monkeypatch, "0.14.1", [])
    assert (found.level, found.hint) == ("note", "sky check")


def test_clouds_that_cannot_be_read_are_not_called_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert skypilot(monkeypatch, "0.14.1", None).text == "its clouds cannot be told"


def test_a_team_s_server_has_its_own_clouds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(team, "clouds", lambda: ["slurm/cluster"])
    told = skypilot(monkeypatch, "0.14.1", ["aws"], "https://sky.team").text
    assert told == "may use slurm/cluster at https://sky.team"


def test_a_team_s_server_that_does_not_answer_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def ask() -> list[str]:
        raise ExecutorError("nobody there", hint="look")

    monkeypatch.setattr(team, "clouds", ask)
    found = skypilot(monkeypatch, "0.14.1", ["aws"], "https://sky.team")
    assert (found.level, found.text, found.hint) == ("error", "nobody there", "look")


def test_a_version_that_is_too_old_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    found = skypilot(monkeypatch, "0.13.0", ["aws"])
    assert found.level == "error"
    assert "pip install" in found.hint


def a_paid_state(cloud: str = "aws") -> State:
    config = a_config(execution={"cloud": cloud})
    return a_state(config, succeeded(0.5, seconds=3600, price_usd_per_hour=2.0))


def bills(monkeypatch: pytest.MonkeyPatch, bill: Bill | Exception) -> list[Finding]:
    def bill_of(_prefix: str, jobs: list[str], *, days: int) -> Bill:
        assert len(jobs) == 1
        assert days >= 1
        if isinstance(bill, Exception):
            raise bill
        return bill

    monkeypatch.setattr(costs, "bill_of", bill_of)
    return list(health._bill(a_paid_state()))


def test_a_bill_like_the_ledger_is_well(monkeypatch: pytest.MonkeyPatch) -> None:
    (found,) = bills(monkeypatch, Bill(2.2, 1, 0))
    assert found.level == "ok"
    assert "2.00 USD in the ledger, 2.20 USD of 1 clusters" in found.text


@pytest.mark.parametrize("usd", [0.0, 4.0])
def test_a_bill_unlike_the_ledger_is_noted(monkeypatch: pytest.MonkeyPatch, usd: float) -> None:
    (found,) = bills(monkeypatch, Bill(usd, 1, 1))
    assert found.level == "note"
    assert "cost-report" in found.hint
    assert "1 without a price" in found.text


def test_a_bill_that_cannot_be_had_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    (found,) = bills(monkeypatch, ExecutorError("no server"))
    assert (found.level, found.text) == ("note", "no server")


def test_a_sweep_on_this_machine_has_no_bill() -> None:
    assert list(health._bill(a_paid_state("local"))) == []
