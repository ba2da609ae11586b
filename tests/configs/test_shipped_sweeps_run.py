"""Every shipped sweep runs on this machine as it is, with the hardware file that makes it short."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from launcher.config import load
from launcher.sweepfile.catalogue import shipped_names

SWEEPS = [name for name in shipped_names("sweep") if load(name).sweep.tuned]


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", SWEEPS)
def test_a_shipped_sweep_runs_its_first_trial(name: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "launcher", "launch", name, "--cloud", "local"]
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("WANDB_", "PROTEIN_"))}
    done = subprocess.run(
        [*command, "--trials", "1", "hardware=github"],
        cwd=tmp_path,
        env={**clean, "WANDB_MODE": "offline"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (result,) = (json.loads(file.read_text()) for file in tmp_path.rglob("result.json"))
    assert result["status"] == "completed"
    assert result["metrics"]["steps"] >= 2048
