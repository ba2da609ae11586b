"""Trials that stand still or fall behind are ended where they run, and the sweep goes on."""

from collections.abc import Callable

import pytest

from tests.infra.slurm.sweeps import SOON, SlurmSweep
from tests.launcher.waiting import eventually

pytestmark = [pytest.mark.infra, pytest.mark.timeout(3600)]

CASES = ["climbs-1", "climbs-2", "climbs-3", "lags", "hangs", "plain"]


def test_a_trial_that_lags_and_one_that_hangs_make_room_for_the_next(
    new_sweep: Callable[[str], SlurmSweep],
) -> None:
    """What the one reports is seen in the shared folder; that the other is silent, on its node.

    Two at a time: the one that lags must not keep those away with which it is compared.
    """
    sweep = new_sweep("behind")
    rule = {"method": "median", "resource": "step", "grace": 3, "min_trials": 3}
    searched = {"metric": "score", "goal": "maximize", "method": "grid"}
    parameters = {"case": {"values": CASES}}
    sweep.write(
        cases=CASES,
        parallel=2,
        execution={"stall_seconds": 30},
        sweep={**searched, "parameters": parameters, "early_stopping": rule},
    )
    sweep.launch()
    assert sweep.wait() == 0, sweep.said()
    trials = sweep.trials()
    assert trials["lags"]["state"] == "stopped", sweep.said()
    assert "below the median" in trials["lags"]["error"]["message"]
    assert (trials["hangs"]["state"], trials["hangs"]["error"]["class"]) == ("failed", "stalled")
    assert {trials[case]["state"] for case in CASES if case not in ("lags", "hangs")} == {
        "succeeded"
    }
    assert {len(trial["attempts"]) for trial in trials.values()} == {1}
    assert sweep.started_twice() == []
    eventually(lambda: not sweep.allocations(), seconds=SOON)
