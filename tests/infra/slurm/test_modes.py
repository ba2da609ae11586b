"""The other ways to place a trial: on a cluster of its own, as a managed job, and in a pool."""

from collections.abc import Callable

import pytest

from tests.infra.slurm.site import NODES, Slurm
from tests.infra.slurm.sweeps import SOON, SlurmSweep
from tests.launcher.waiting import eventually

pytestmark = [pytest.mark.infra, pytest.mark.timeout(3600)]


def test_two_nodes_are_one_trial_on_a_cluster_of_its_own(
    slurm: Slurm, new_sweep: Callable[[str], SlurmSweep]
) -> None:
    """Torch's all-reduce over gloo says what both have given."""
    sweep = new_sweep("both")
    sweep.write(
        task={"run": f"{slurm.python} all_reduce.py", "num_nodes": 2},
        execution={"mode": "cluster_per_trial"},
    )
    sweep.launch()
    assert sweep.wait() == 0, sweep.said()
    trial = sweep.trials()["plain"]
    assert trial["score"] == 3.0, sweep.command("logs", sweep.name, "1")
    assert trial["metrics"]["hosts"] == len(NODES)
    eventually(lambda: not sweep.allocations(), seconds=SOON)


def test_a_managed_job_is_recovered_by_skypilot_from_its_checkpoint(
    slurm: Slurm, new_sweep: Callable[[str], SlurmSweep]
) -> None:
    """To us it is one attempt: SkyPilot starts it again by itself."""
    sweep = new_sweep("managed")
    sweep.write(cases=["waits"], execution={"mode": "managed_jobs"})
    sweep.launch()
    first = sweep.until_started()
    sweep.until_checkpoint()
    slurm.scancel(first.allocation)
    again = sweep.until_started(times=2)
    assert again.from_step > 0
    sweep.release()
    assert sweep.wait() == 0, sweep.said()
    trial = sweep.trials()["waits"]
    assert trial["state"] == "succeeded"
    assert len(trial["attempts"]) == 1
    eventually(lambda: not sweep.allocations(), seconds=SOON)


def test_trials_take_turns_on_the_workers_of_a_pool_that_goes_with_the_sweep(
    slurm: Slurm, new_sweep: Callable[[str], SlurmSweep]
) -> None:
    sweep = new_sweep("pooled")
    sweep.write(cases=["plain-1", "plain-2", "plain-3"], parallel=2, execution={"pool": "own"})
    sweep.launch()
    assert sweep.wait() == 0, sweep.said()
    assert {trial["state"] for trial in sweep.trials().values()} == {"succeeded"}
    assert sweep.started_twice() == []
    assert len(sweep.starts()) == 3
    assert len({start.allocation for start in sweep.starts()}) <= 2
    eventually(lambda: not sweep.allocations(), seconds=SOON)
