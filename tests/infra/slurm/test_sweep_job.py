"""A sweep whose coordinator has a machine of its own, as `sky/sweep_job.yaml` says."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import yaml

from tests.infra.slurm.site import Slurm
from tests.infra.slurm.sweeps import SOON, SlurmSweep, sweep_job
from tests.launcher.waiting import eventually

pytestmark = [pytest.mark.infra, pytest.mark.timeout(3600)]


def test_the_launch_of_the_docs_runs_a_sweep_and_the_same_again_repeats_nothing(
    slurm: Slurm, new_sweep: Callable[[str], SlurmSweep]
) -> None:
    """Its trials run on its own machine; what is known outlives it in a folder that stays."""
    sweep = new_sweep("alone")
    sweep.write(cases=["plain-1", "plain-2"], execution={"infra": None, "cloud": "local"})
    (sweep.folder / "sweep_job.yaml").write_text(yaml.safe_dump(sweep_job()))
    state = sweep.evidence / "state"
    settings = (f"SWEEP_CONFIG={sweep.name}.yaml", f"STATE_DIR={state}")
    launch = ["sky", "launch", "--yes", "--cluster", "my-sweep-cluster", "sweep_job.yaml"]
    launch += ["--infra", "slurm/loopback", "--idle-minutes-to-autostop", "10", "--down"]
    launch += [f"--env={setting}" for setting in settings]
    sweep.slurm = replace(slurm, env={**slurm.env, "PROTEIN_TRAIN_DIR": str(state)})
    for _ in range(2):
        slurm.run("bash", "-c", 'cd "$0" && "$@"', sweep.folder, *launch)
    assert {trial["state"] for trial in sweep.trials().values()} == {"succeeded"}
    assert [start.trial for start in sweep.starts()] == [1, 2]
    slurm.run("sky", "down", "--yes", "my-sweep-cluster")
    eventually(lambda: not slurm.squeue(), seconds=SOON)
