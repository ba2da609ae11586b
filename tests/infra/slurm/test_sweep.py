"""One sweep on clusters that are used again, in which everything happens that can happen."""

from collections.abc import Callable, Iterator

import pytest

from tests.infra.slurm.site import Slurm
from tests.infra.slurm.sweeps import LONG, SOON, SlurmSweep
from tests.launcher.waiting import eventually

pytestmark = [pytest.mark.infra, pytest.mark.timeout(3600)]

PLAIN = [f"plain-{number}" for number in range(1, 10)]
CASES = ["preempted", "fails", *PLAIN, "waits"]


@pytest.fixture(scope="module")
def everything(slurm: Slurm) -> Iterator[SlurmSweep]:
    """Eleven trials that end, four at a time, and a last one that is cancelled."""
    sweep = SlurmSweep(slurm, "everything")
    sweep.write(cases=CASES, parallel=4)
    try:
        sweep.launch()
        preempted = sweep.until_started(trial=1 + CASES.index("preempted"))
        sweep.until_checkpoint()
        slurm.scancel(preempted.allocation)
        eventually(lambda: len(sweep.allocations("RUNNING")) == 4, seconds=SOON)
        sweep.until_started(trial=len(CASES))
        eventually(lambda: _over(sweep) == len(CASES) - 1, seconds=LONG)
        sweep.command("cancel", sweep.name, "--yes")
        sweep.wait()
        yield sweep
    finally:
        sweep.end()


def _over(sweep: SlurmSweep) -> int:
    counts = sweep.status()["counts"]
    return int(counts["succeeded"] + counts["failed"])


def test_plain_trials_succeed_at_their_first_attempt(everything: SlurmSweep) -> None:
    trials = everything.trials()
    for case in PLAIN:
        assert trials[case]["state"] == "succeeded", everything.said()
        assert trials[case]["score"] == trials[case]["number"]
        assert len(trials[case]["attempts"]) == 1


def test_no_attempt_starts_twice(everything: SlurmSweep) -> None:
    assert everything.started_twice() == []
    assert len(everything.starts()) == len(CASES) + 1  # the preempted trial's second attempt


def test_a_failed_trial_has_its_exit_code_and_its_last_words(everything: SlurmSweep) -> None:
    trial = everything.trials()["fails"]
    assert (trial["state"], trial["error"]["exit_code"]) == ("failed", 3)
    assert trial["error"]["class"] == "crashed"
    assert "what went wrong" in everything.command("logs", everything.name, str(trial["number"]))


def test_a_trial_whose_allocation_is_cancelled_goes_on_elsewhere(everything: SlurmSweep) -> None:
    trial = everything.trials()["preempted"]
    first, second = trial["attempts"]
    assert trial["state"] == "succeeded"
    assert first["failure"] in ("preempted", "node_lost")
    assert second["failure"] is None
    assert trial["metrics"]["resumed_from"] > 0
    attempts = [start for start in everything.starts() if start.trial == trial["number"]]
    assert attempts[0].allocation != attempts[1].allocation


def test_a_cancelled_trial_is_over_and_the_sweep_says_so(everything: SlurmSweep) -> None:
    assert everything.status()["state"] == "cancelled"
    assert everything.trials()["waits"]["state"] == "cancelled"


def test_machines_are_paid_for_while_they_are_held(everything: SlurmSweep) -> None:
    trials = everything.status()["trials"]
    assert all(trial["cost_usd"] > 0 for trial in trials)


def test_nothing_is_left_in_the_queue(everything: SlurmSweep) -> None:
    eventually(lambda: not everything.allocations(), seconds=SOON)


def test_a_trial_that_outstays_its_time_is_ended_and_the_next_has_its_machine(
    new_sweep: Callable[[str], SlurmSweep],
) -> None:
    sweep = new_sweep("outstays")
    sweep.write(cases=["hangs", "plain"], parallel=1, execution={"timeout_seconds": 120})
    sweep.launch()
    assert sweep.wait() == 0, sweep.said()
    hangs, plain = sweep.trials()["hangs"], sweep.trials()["plain"]
    assert (hangs["state"], hangs["error"]["class"]) == ("failed", "timeout")
    assert len(hangs["attempts"]) == 1
    assert plain["state"] == "succeeded", sweep.said()
    assert len({start.allocation for start in sweep.starts()}) == 1
