"""Looking at a trial while it runs: its log, and a shell on its machine."""

from collections.abc import Callable

import pytest

from tests.infra.slurm.site import Slurm
from tests.infra.slurm.sweeps import SOON, SlurmSweep
from tests.launcher.waiting import eventually

pytestmark = [pytest.mark.infra, pytest.mark.timeout(3600)]


def test_a_trials_log_is_followed_to_its_end_and_a_shell_opens_on_its_node(
    slurm: Slurm, new_sweep: Callable[[str], SlurmSweep]
) -> None:
    sweep = new_sweep("watched")
    sweep.write(cases=["waits"], parallel=1)
    sweep.launch()
    trial = sweep.until_started()
    with sweep.following(1) as follower:
        eventually(lambda: "case waits, attempt 1" in sweep.followed(), seconds=SOON)
        assert slurm.run_inside(
            sweep.folder, "protein-sky", "ssh", sweep.name, "1", "hostname"
        ) == (trial.node + "\n")
        assert follower.poll() is None
        sweep.release()
        assert follower.wait(SOON) == 0
    assert sweep.wait() == 0, sweep.said()
