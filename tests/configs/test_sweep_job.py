"""The coordinator as a job: its state survives its machine, and two never work on one sweep."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from launcher.sweepfile.catalogue import shipped_tasks
from launcher.sweepfile.yamlio import read
from tests.launcher.waiting import eventually

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("rsync") is None, reason="SkyPilot's machines have rsync"),
]
SWEEP = """\
sweep: {metric: score, goal: maximize, num_random_samples: 2, parameters: {x: {min: 0, max: 1}}}
task: {run: 'echo "PROTEIN_RESULT {\\"score\\": $PROTEIN_PARAM_X}"'}
trials: 3
"""
COARSE = 'find "$HOME/protein-state" -exec touch --date=@0 {} +\n'


class Bucket:
    """A bucket, and machines that come and go before it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "bucket"
        self.path.mkdir()
        node = read(shipped_tasks() / "sweep_job.yaml").node
        assert node is not None
        self.script: str = node.plain()["run"]

    def machine(self, name: str, *, coarse: bool = False) -> tuple[list[str], dict[str, Any]]:
        """Return what starts the job on a machine; all files of a coarse one are as old."""
        home = self.folder / name
        binaries = home / "protein-venv" / "bin"
        binaries.mkdir(parents=True)
        binaries.joinpath("python").symlink_to(sys.executable)
        command = binaries / "protein-sky"
        command.write_text(f'#!/bin/bash\nexec {sys.executable} -m launcher "$@"\n')
        command.chmod(0o755)
        hostname = binaries / "hostname"
        hostname.write_text(f"#!/bin/bash\necho {name}\n")
        hostname.chmod(0o755)
        if coarse:
            rsync = binaries / "rsync"
            rsync.write_text(f'#!/bin/bash\n{COARSE}exec {shutil.which("rsync")} "$@"\n')
            rsync.chmod(0o755)
        (home / "mine.yaml").write_text(SWEEP)
        variables = {
            "HOME": str(home),
            "SWEEP_CONFIG": "mine.yaml",
            "BACKUP_DIR": str(self.path),
            "KEEP_SECONDS": "0.2",
            "LEASE_LOOK_SECONDS": "0.1",
            "NO_COLOR": "1",
            "PYTHONPATH": str(Path(__file__).parents[2]),
        }
        return ["bash", "-c", self.script], {"cwd": home, "env": {**os.environ, **variables}}

    def run(self, name: str, *, coarse: bool = False) -> subprocess.CompletedProcess[str]:
        command, settings = self.machine(name, coarse=coarse)
        return subprocess.run(command, **settings, capture_output=True, text=True, check=False)

    def scores(self, name: str) -> list[float]:
        environment = {**os.environ, "PROTEIN_TRAIN_DIR": str(self.folder / name / "protein-state")}
        told = subprocess.run(
            [sys.executable, "-m", "launcher", "status", "mine", "--json"],
            env=environment,
            capture_output=True,
            check=True,
        )
        return [trial["score"] for trial in json.loads(told.stdout)["trials"]]


@pytest.fixture
def bucket(tmp_path: Path) -> Bucket:
    return Bucket(tmp_path)


def test_a_sweep_goes_on_on_another_machine(bucket: Bucket) -> None:
    first = bucket.run("first")
    assert first.returncode == 0, first.stderr
    assert (bucket.path / "mine" / "sweep.db.backup").is_file()
    assert not (bucket.path / "mine" / "lease").exists()
    second = bucket.run("second")
    assert second.returncode == 0, second.stderr
    assert "has ended already" in second.stderr
    assert bucket.scores("second") == bucket.scores("first")


def test_the_last_copy_is_taken_though_the_one_before_is_as_large_and_as_old(
    bucket: Bucket,
) -> None:
    first = bucket.run("first", coarse=True)
    assert first.returncode == 0, first.stderr
    ours = bucket.folder / "first" / "protein-state" / "sweep" / "mine" / "sweep.db.backup"
    assert (bucket.path / "mine" / "sweep.db.backup").read_bytes() == ours.read_bytes()


def test_a_second_coordinator_waits_until_the_lease_of_the_first_ends(bucket: Bucket) -> None:
    lease = bucket.path / "mine" / "lease"
    lease.parent.mkdir()
    lease.write_text(f"first {int(time.time()) + 3600}\n")
    command, settings = bucket.machine("second")
    database = bucket.folder / "second" / "protein-state" / "sweep" / "mine" / "sweep.db"
    output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen(command, **settings, **output) as waiting:
        assert waiting.stdout is not None
        assert "first works on mine" in waiting.stdout.readline()
        assert not database.exists()
        lease.write_text(f"first {int(time.time()) - 1}\n")
        rest = waiting.stdout.read()
    assert waiting.returncode == 0, rest
    assert len(bucket.scores("second")) == 3


def test_a_lease_that_is_just_being_renewed_is_one(bucket: Bucket) -> None:
    """Its file is empty for a moment: in a bucket until it has been sent."""
    lease = bucket.path / "mine" / "lease"
    lease.parent.mkdir()
    lease.touch()
    command, settings = bucket.machine("second")
    renewing = bucket.folder / "second" / "protein-venv" / "bin" / "sleep"
    renewing.write_text(f"#!/bin/bash\necho first $(( $(date +%s) + 3600 )) >'{lease}'\n")
    renewing.chmod(0o755)
    output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen(command, **settings, **output) as waiting:
        assert waiting.stdout is not None
        assert "first works on mine" in waiting.stdout.readline()
        waiting.kill()


SLOW = 'kill() { builtin kill "$@"; while builtin kill -0 "$1"; do sleep 0.1; done; }\n'


@pytest.mark.parametrize("until_it_is_gone", ["", SLOW], ids=["at once", "late"])
def test_a_coordinator_that_is_told_to_go_keeps_its_state_first(
    bucket: Bucket, until_it_is_gone: str
) -> None:
    """Its job may look at it while it ends, or only when it is gone."""
    bucket.script = until_it_is_gone + bucket.script
    command, settings = bucket.machine("first")
    (bucket.folder / "first" / "mine.yaml").write_text(SWEEP.replace("'echo", "'sleep 3600; echo"))
    process = subprocess.Popen(
        command, **settings, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    kept = bucket.path / "mine" / "sweep.db.backup"
    eventually(kept.is_file, seconds=100)
    process.terminate()
    assert process.wait() == 130
    assert not (bucket.path / "mine" / "lease").exists()
    environment = settings["env"] | {
        "PROTEIN_TRAIN_DIR": str(bucket.folder / "first" / "protein-state")
    }
    ended = [sys.executable, "-m", "launcher", "cancel", "mine", "--yes"]
    subprocess.run(ended, env=environment, check=True, capture_output=True)
