"""A sweep's task as SkyPilot gets it, with our own code beside."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from launcher.clouds import WHEELS, task_of
from launcher.executors.skypilot.wrapping import PREEMPTION_HOOK
from launcher.sweepfile.catalogue import shipped_tasks
from launcher.sweepfile.yamlio import read
from tests.launcher.builders import a_config


def test_a_setup_without_our_code_is_handed_on_as_it_is(tmp_path: Path) -> None:
    config = a_config(task={"setup": "echo mine"}, execution={"cloud": "aws"})
    made = task_of(tmp_path, config, {})
    assert made["setup"] == "echo mine"
    assert made["file_mounts"] == {}


def test_pip_takes_the_running_code_and_no_higher_version_of_that_name(tmp_path: Path) -> None:
    setup = 'python -m pip install --dry-run --no-deps --ignore-installed "protein-sky[trainer]"'
    config = a_config(task={"setup": setup}, execution={"cloud": "aws"})
    made = task_of(tmp_path / "sweep", config, {})
    ((there, here),) = made["file_mounts"].items()
    home = tmp_path / "home"
    wheels = home / WHEELS.removeprefix("~/")
    wheels.mkdir(parents=True)
    (wheels / Path(there).name).symlink_to(here)
    _a_stranger_s_wheel(wheels)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    ran = subprocess.run(
        ["bash", "-c", made["setup"]],
        env={"HOME": str(home), "PATH": path, "PIP_NO_INDEX": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    version = Path(here).name.split("-")[1]
    assert f"Would install protein-sky-{version}" in ran.stdout


def _a_stranger_s_wheel(folder: Path) -> None:
    with zipfile.ZipFile(folder / "protein_sky-9.9-py3-none-any.whl", "w") as archive:
        info = "protein_sky-9.9.dist-info"
        metadata = (
            "Metadata-Version: 2.1\nName: protein-sky\nVersion: 9.9\nProvides-Extra: trainer\n"
        )
        archive.writestr(f"{info}/METADATA", metadata)
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")


def test_the_shipped_task_takes_our_code_along(tmp_path: Path) -> None:
    node = read(shipped_tasks() / "trial.yaml").node
    assert node is not None
    config = a_config(task={"setup": node.plain()["setup"]}, execution={"cloud": "aws"})
    made = task_of(tmp_path, config, {})
    assert [Path(one).suffix for one in made["file_mounts"]] == [".whl"]
    checked = subprocess.run(
        ["bash", "-n"], input=made["setup"], capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stderr) == (0, "")


@pytest.mark.parametrize("key", ["volumes", "config"])
def test_what_only_skypilot_understands_is_handed_on(key: str, tmp_path: Path) -> None:
    config = a_config(task={key: {"a": {"b": 1}}}, execution={"cloud": "aws"})
    assert task_of(tmp_path, config, {})[key] == {"a": {"b": 1}}


@pytest.mark.parametrize(
    ("resources", "cloud", "is_told"),
    [
        ({}, "kubernetes", True),
        ({}, "aws", False),
        ({}, "any", True),
        ({"any_of": [{"infra": "aws"}, {"infra": "k8s"}]}, "any", True),
        ({"any_of": [{"infra": "aws"}, {"infra": "gcp"}]}, "any", False),
    ],
)
def test_where_machines_are_told_that_they_go_trials_are_asked_for_a_checkpoint(
    resources: dict[str, object], cloud: str, is_told: bool, tmp_path: Path
) -> None:
    own = {"run": "mine", "events": ["preemption"]}
    task = {"config": {"hooks": [own]}, "resources": resources}
    config = a_config(task=task, execution={"cloud": cloud})
    mine, *ours = task_of(tmp_path, config, {})["config"]["hooks"]
    assert mine == own
    assert [hook["run"] for hook in ours] == [PREEMPTION_HOOK] * is_told
