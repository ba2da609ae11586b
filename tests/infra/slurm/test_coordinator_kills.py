"""The coordinator is killed wherever it stands, and so are its node and SkyPilot's server."""

from collections.abc import Iterator

import pytest

from tests.infra.slurm.site import NODES, Slurm
from tests.infra.slurm.sweeps import SOON, SlurmSweep
from tests.launcher.waiting import eventually

pytestmark = [pytest.mark.infra, pytest.mark.timeout(3600)]


@pytest.fixture
def killed(slurm: Slurm) -> Iterator[SlurmSweep]:
    sweep = SlurmSweep(slurm, "killed")
    sweep.write(cases=["waits", "plain"], parallel=1)
    try:
        yield sweep
    finally:
        sweep.end()
        for node in NODES:
            if "down" in slurm.node_states()[node]:
                slurm.start_node(node)


def test_a_sweep_survives_the_death_of_everything_around_it(
    slurm: Slurm, killed: SlurmSweep
) -> None:
    """One story, because each cluster costs a minute: no start is doubled, none is lost."""
    killed.launch()
    eventually(killed.allocations, seconds=SOON)
    killed.kill()  # while it provisions
    assert killed.starts() == []
    killed.resume()
    first = killed.until_started()
    killed.kill()  # while it runs
    killed.resume()
    slurm.restart_api_server()
    killed.until_checkpoint()
    slurm.kill_node(first.node)
    second = killed.until_started(attempt=2)
    assert second.from_step > 0
    assert second.node != first.node
    killed.release()
    eventually(lambda: "killed completed" in killed.said(), seconds=SOON)
    killed.kill()  # while it takes down
    killed.resume()
    assert killed.wait() == 0, killed.said()
    eventually(lambda: not killed.allocations(), seconds=SOON)
    trials = killed.trials()
    assert {case: len(trial["attempts"]) for case, trial in trials.items()} == {
        "waits": 2,
        "plain": 1,
    }
    assert all(trial["state"] == "succeeded" for trial in trials.values())
    assert killed.started_twice() == []
    assert len(killed.starts()) == 3
