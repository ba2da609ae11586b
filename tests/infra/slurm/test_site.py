"""The site itself carries SkyPilot: what the other tests stand on."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.infra.slurm.site import NODES, Slurm
from tests.launcher.waiting import eventually

pytestmark = [pytest.mark.infra, pytest.mark.timeout(900)]

LAUNCH = """
task = sky.Task.from_yaml_config(json.loads(sys.argv[2]))
job, handle = sky.stream_and_get(sky.launch(task, cluster_name=sys.argv[1], down=True,
                                            idle_minutes_to_autostop=10))
print("exit", sky.tail_logs(sys.argv[1], job, follow=True))
"""

KILLED = """
import os, pathlib, signal, sys
from tests.infra.slurm.site import undertaker
undertaker(pathlib.Path(sys.argv[1]))
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_the_sites_folder_goes_with_tests_that_are_killed(tmp_path: Path) -> None:
    folder = tmp_path / "site"
    (folder / "log").mkdir(parents=True)
    repository = Path(__file__).parents[3]
    killed = subprocess.run([sys.executable, "-c", KILLED, str(folder)], cwd=repository)
    assert killed.returncode < 0
    eventually(lambda: not folder.exists())


def test_a_command_on_two_nodes_runs_through_skypilot_and_leaves_nothing(slurm: Slurm) -> None:
    """Launched, its output read, and taken down."""
    out = slurm.shared / "ranks"
    out.mkdir(mode=0o777)
    out.chmod(0o777)
    task = {
        "num_nodes": 2,
        "resources": {"infra": "slurm/loopback", "accelerators": "H100:2", "cpus": "2"},
        "run": f'hostname > {out}/$SKYPILOT_NODE_RANK; echo "$SKYPILOT_NUM_GPUS_PER_NODE GPUs"',
    }
    printed = slurm.sdk(LAUNCH, "smoke", json.dumps(task))
    assert "2 GPUs" in printed
    assert {(out / rank).read_text().strip() for rank in ("0", "1")} == set(NODES)
    assert len(slurm.squeue()) == 1
    slurm.sdk("sky.get(sky.down(sys.argv[1]))", "smoke")
    eventually(lambda: not slurm.squeue(), seconds=60)


def test_a_killed_node_comes_back(slurm: Slurm) -> None:
    """Slurm notices the loss, and takes the node back."""
    slurm.kill_node("sn2")
    eventually(lambda: "down" in slurm.node_states()["sn2"], seconds=120)
    slurm.start_node("sn2")
    assert slurm.node_states()["sn2"] == "idle"
