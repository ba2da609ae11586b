"""Sweeps of one who has the address of a team's SkyPilot server and a token, and nothing else."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from launcher.executors.skypilot.team import TOKEN
from tests.infra.slurm.site import Slurm
from tests.infra.slurm.sweeps import LONG, SOON, SlurmSweep, managed_jobs, sweep_job
from tests.launcher.waiting import eventually

pytestmark = [pytest.mark.infra, pytest.mark.timeout(3600)]


@pytest.fixture(scope="module")
def member(slurm: Slurm) -> Slurm:
    """The site as somebody of the team sees it."""
    return slurm.member()


@pytest.fixture
def members_sweep(
    member: Slurm, new_sweep: Callable[[str], SlurmSweep]
) -> Callable[[str], SlurmSweep]:
    """Makes sweeps that are launched by somebody of the team."""

    def new(name: str) -> SlurmSweep:
        sweep = new_sweep(name)
        sweep.slurm = member
        return sweep

    return new


def test_a_sweep_outlives_its_coordinator_and_the_server_s_restart(
    slurm: Slurm, member: Slurm, members_sweep: Callable[[str], SlurmSweep]
) -> None:
    """Another of the team goes on with it, and sees what runs though SkyPilot calls it not his."""
    sweep = members_sweep("team")
    sweep.write(cases=["waits", "plain"], parallel=1)
    assert "may use slurm/loopback" in sweep.command("doctor")
    sweep.launch()
    sweep.until_started()
    with sweep.following(1):
        eventually(lambda: "case waits" in sweep.followed(), seconds=SOON)
    sweep.kill()
    slurm.restart_api_server()
    sweep.slurm = slurm.member()
    sweep.resume()
    sweep.release()
    assert sweep.wait() == 0, sweep.said()
    assert {trial["state"] for trial in sweep.trials().values()} == {"succeeded"}
    assert sweep.started_twice() == []
    assert len(sweep.starts()) == 2
    eventually(lambda: not sweep.allocations(), seconds=SOON)
    settings = {path.name for path in Path(member.env["HOME"], ".sky").iterdir()}
    assert settings.isdisjoint({"api_server", "state.db"})  # those of a server of its own


def test_a_token_that_the_server_does_not_know_is_told_before_anything_starts(
    member: Slurm, members_sweep: Callable[[str], SlurmSweep]
) -> None:
    sweep = members_sweep("stranger")
    sweep.write()
    sweep.slurm = replace(member, env={**member.env, TOKEN: f"{member.env[TOKEN]}x"})
    sweep.launch()
    assert sweep.wait() == 2
    assert "does not let you in" in sweep.said()
    assert "Traceback" not in sweep.said()
    assert not (sweep.folder / "train_dir" / "sweep").exists()


def test_the_shipped_trainer_comes_along_to_managed_jobs(
    members_sweep: Callable[[str], SlurmSweep],
) -> None:
    """A wheel of it goes to the server, and from there to the machines."""
    sweep = members_sweep("wheel")
    sweep.folder.mkdir()
    length = ("--trials", "2", "trainer.total_timesteps=20000")
    where = ("--infra", "slurm/loopback", "--set", "execution.mode=managed_jobs")
    sweep.command("launch", "demo_sweep", "--name", "wheel", *length, *where, "--yes")
    trials = sweep.status()["trials"]
    assert [trial["state"] for trial in trials] == ["succeeded"] * 2
    eventually(lambda: not sweep.allocations(), seconds=SOON)


def test_a_sweep_job_in_a_job_group_goes_on_elsewhere_with_its_members(
    slurm: Slurm, member: Slurm, members_sweep: Callable[[str], SlurmSweep]
) -> None:
    sweep = members_sweep("grouped")
    sweep.write(
        cases=["waits-1", "waits-2", "plain"], parallel=2, execution={"mode": "managed_jobs"}
    )
    header = {"name": "group", "execution": "parallel", "inter_connection": False}
    (sweep.folder / "group.yaml").write_text(yaml.safe_dump_all([header, sweep_job()]))
    state = sweep.evidence / "state"
    settings = ("SWEEP_CONFIG=grouped.yaml", "SWEEP_FLAGS=--cloud slurm", f"STATE_DIR={state}")
    launch = ["sky", "jobs", "launch", "--yes", "--detach-run", "group.yaml"]
    launch += [f"--env={setting}" for setting in settings]
    member.run("bash", "-c", 'cd "$0" && "$@"', sweep.folder, *launch)
    eventually(lambda: len(sweep.starts()) == 2, seconds=SOON)
    there = managed_jobs(slurm)
    groups = [group for name, (_, group) in there.items() if "grouped" in name]
    assert groups == [there["group"][0]] * 2
    (first,) = _machines(slurm)
    slurm.scancel(first)
    eventually(lambda: _machines(slurm) - {first}, seconds=SOON)
    sweep.release()
    eventually(lambda: not managed_jobs(slurm) and not slurm.squeue(), seconds=LONG)
    assert sweep.started_twice() == []
    assert len(sweep.starts()) == 3
    sweep.slurm = replace(member, env={**member.env, "PROTEIN_TRAIN_DIR": str(state)})
    assert {trial["state"] for trial in sweep.trials().values()} == {"succeeded"}


def _machines(slurm: Slurm) -> set[int]:
    """Those of the group's own task."""
    return {job.number for job in slurm.squeue() if job.name.startswith("group-")}
