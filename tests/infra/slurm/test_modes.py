"""The other ways to place a trial: on a cluster of its own, as a managed job, and in a pool."""

import contextlib
import os
import signal
from collections.abc import Callable
from dataclasses import replace

import psutil
import pytest
import yaml

from tests.infra.slurm.site import NODES, Slurm
from tests.infra.slurm.sweeps import SOON, SlurmSweep, managed_jobs
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


def on_two_nodes(name: str, *settings: str, steps: int) -> list[str]:
    """The launch of one trial of the shipped trainer, by the template for many GPUs."""
    where = ("task=multi_node_nccl", "execution.infra=slurm/loopback")
    how = ("execution.mode=cluster_per_trial", "task.resources.cpus=2")
    without = ("task.resources.accelerators=null", "task.resources.network_tier=null")
    flags = [f"--set={setting}" for setting in (*where, *how, *without, *settings)]
    length = ["--trials", "1", f"trainer.total_timesteps={steps}"]
    return ["launch", "demo_sweep", "--name", name, *length, *flags, "--yes"]


def test_the_template_for_many_gpus_tries_its_nodes_and_trains_on_them(
    slurm: Slurm, new_sweep: Callable[[str], SlurmSweep]
) -> None:
    """Over gloo, as the nodes have no GPUs."""
    sweep = new_sweep("nodes")
    sweep.folder.mkdir()
    sweep.command(*on_two_nodes("nodes", steps=20_000))
    (trial,) = sweep.status()["trials"]
    assert (trial["state"], len(trial["attempts"])) == ("succeeded", 1)
    eventually(lambda: not sweep.allocations(), seconds=SOON)


def test_a_rank_that_dies_ends_the_attempt_on_both_nodes_and_another_begins(
    slurm: Slurm, new_sweep: Callable[[str], SlurmSweep]
) -> None:
    """No parameter is at fault: the trial goes on from its checkpoint."""
    sweep = new_sweep("bereft")
    for folder in (sweep.folder, sweep.evidence):
        folder.mkdir()
    sweep.evidence.chmod(0o777)
    kept = (f"execution.storage={sweep.evidence}", "execution.retry_delay_seconds=1")
    sweep.coordinate(*on_two_nodes(sweep.name, *kept, steps=200_000_000))
    eventually(lambda: list(sweep.evidence.glob("*/checkpoints/*")), seconds=SOON)
    first = ranks(sweep)
    assert sorted(first) == ["0", "1"]
    os.kill(first["1"], signal.SIGKILL)
    eventually(lambda: first["0"] not in ranks(sweep).values(), seconds=SOON)
    eventually(lambda: len(sweep.status()["trials"][0]["attempts"]) == 2, seconds=SOON)
    lost, _ = sweep.status()["trials"][0]["attempts"]
    assert lost["failure"] == "preempted"


def ranks(sweep: SlurmSweep) -> dict[str, int]:
    """The trainer's processes of a sweep, by their node."""
    found = {}
    for process in psutil.process_iter(["cmdline"]):
        with contextlib.suppress(psutil.Error):
            if (process.info["cmdline"] or [])[1:3] == ["-m", "trainer"]:
                environ = process.environ()
                if str(sweep.evidence) in environ.get("PROTEIN_CHECKPOINT_DIR", ""):
                    found[environ["NODE_INDEX"]] = process.pid
    return found


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


def test_trials_of_a_coordinator_in_a_job_group_are_its_members_and_go_with_it(
    slurm: Slurm, new_sweep: Callable[[str], SlurmSweep]
) -> None:
    """The coordinator has the variables of a group's task; a member that is lost harms no other."""
    sweep = new_sweep("grouped")
    sweep.write(cases=["waits-1", "waits-2"], parallel=2, execution={"mode": "managed_jobs"})
    header = {"name": "group", "execution": "parallel", "inter_connection": False}
    given = sweep.evidence / "given"
    coordinator = {
        "name": "coordinator",
        "resources": {"infra": "slurm/loopback", "cpus": 1},
        "run": f"env | grep ^SKYPILOT_.*_ID= > {given}.tmp; mv {given}.tmp {given}; sleep infinity",
    }
    group = sweep.folder / "group.yaml"
    group.write_text(yaml.safe_dump_all([header, coordinator]))
    slurm.run("sky", "jobs", "launch", "--yes", "--detach-run", group)
    eventually(given.exists, seconds=SOON)
    variables = dict(line.split("=", 1) for line in given.read_text().splitlines())
    sweep.slurm = replace(slurm, env={**slurm.env, **variables})
    sweep.launch()
    eventually(lambda: len(sweep.starts()) == 2, seconds=SOON)
    there = managed_jobs(slurm)
    members = {name: number for name, (number, _) in there.items() if "grouped" in name}
    assert [there[name][1] for name in members] == [there["group"][0]] * 2
    slurm.run("sky", "jobs", "cancel", "--yes", str(members[min(members)]))
    again = sweep.until_started(trial=1, attempt=2)
    assert sweep.starts()[2:] == [again]
    sweep.kill()
    slurm.run("sky", "jobs", "cancel", "--yes", "--name", "group")
    eventually(lambda: not managed_jobs(slurm) and not slurm.squeue(), seconds=SOON)
