"""The tasks in sky/: plain SkyPilot YAML that works alone and through us."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from launcher.config import load
from launcher.executors.skypilot.readiness import installed_version
from launcher.executors.skypilot.resources import resources_of
from launcher.sweepfile.catalogue import shipped_names, shipped_tasks
from launcher.sweepfile.yamlio import read
from tests.launcher.executors.skypilot import offline_sky

ALL = shipped_names("task")
TRIALS = [name for name in ALL if name != "sweep_job"]
DOCS = (Path(__file__).parents[2] / "docs" / "skypilot.md").read_text(encoding="utf-8")
SWEEP = "sweep: {metric: m, goal: maximize, parameters: {x: {min: 0, max: 1}}}\n"
CLOUDS = {"kubernetes": "kubernetes", "slurm": "slurm"}


def task(name: str) -> dict[str, Any]:
    node = read(shipped_tasks() / f"{name}.yaml").node
    assert node is not None
    plain: dict[str, Any] = node.plain()
    return plain


@pytest.mark.parametrize("name", ALL)
def test_every_template_is_documented_and_explains_itself(name: str) -> None:
    text = (shipped_tasks() / f"{name}.yaml").read_text(encoding="utf-8")
    assert text.startswith("# ")
    assert f"sky/{name}.yaml" in DOCS
    assert max(map(len, text.splitlines())) <= 115


@pytest.mark.parametrize("name", TRIALS)
def test_our_reader_takes_every_template_as_a_task(name: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(SWEEP)
    cloud = CLOUDS.get(name, "aws")
    config = load(file, overrides=[f"task={name}", f"execution.cloud={cloud}"])
    assert config.task.run == task(name)["run"]
    asked = resources_of(config)
    places = [one["infra"] for one in asked.get("any_of", asked.get("ordered", [asked]))]
    assert set(places) == {cloud}


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("section", ["setup", "run"])
def test_the_scripts_are_bash(name: str, section: str) -> None:
    checked = subprocess.run(
        ["bash", "-n"], input=task(name)[section], capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stderr) == (0, "")


@pytest.mark.parametrize("name", TRIALS)
def test_a_trial_installs_the_code_that_launches_it_once(name: str) -> None:
    setup = task(name)["setup"]
    assert setup == task("trial")["setup"]
    assert setup.startswith("python -c 'import trainer, torch' 2>/dev/null && exit 0")


RECORDER = """\
#!/bin/bash
env >"$HOME/environment"
printf '%s\\n' "$@" >"$HOME/arguments"
case "$*" in *preflight*) exit "${PREFLIGHT_CODE:-0}";; esac
"""


class Machine:
    """A home with a `python` that only notes how it was called."""

    def __init__(self, home: Path) -> None:
        self.home = home
        python = home / "protein-venv" / "bin" / "python"
        python.parent.mkdir(parents=True)
        python.write_text(RECORDER)
        python.chmod(0o755)

    def run(self, name: str, **variables: str) -> int:
        path = "/usr/local/bin:/usr/bin:/bin"
        environment = {"HOME": str(self.home), "PATH": path} | variables
        envs = {key: str(value) for key, value in task(name).get("envs", {}).items()}
        return subprocess.run(
            ["bash", "-c", task(name)["run"]],
            env=envs | environment,
            capture_output=True,
            text=True,
            check=False,
        ).returncode

    @property
    def environment(self) -> dict[str, str]:
        lines = (self.home / "environment").read_text().splitlines()
        return dict(line.partition("=")[::2] for line in lines)

    @property
    def arguments(self) -> list[str]:
        return (self.home / "arguments").read_text().splitlines()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.mark.parametrize("name", TRIALS)
def test_a_trial_of_a_sweep_reads_its_own_configuration(machine: Machine, name: str) -> None:
    run_dir = machine.home / "runs" / "one"
    run_dir.mkdir(parents=True)
    config = run_dir / "train_config_overrides.yaml"
    config.write_text("seed: 3\n")
    assert machine.run(name, PROTEIN_RUN_DIR=str(run_dir)) == 0
    assert machine.arguments == [
        "-m",
        "trainer",
        "--config",
        f"{run_dir}/train_config_overrides.yaml",
    ]
    assert (run_dir / "train_config_overrides.yaml").read_text() == "seed: 3\n"


@pytest.mark.parametrize("name", TRIALS)
def test_a_trial_that_skypilot_starts_alone_has_a_folder(machine: Machine, name: str) -> None:
    assert machine.run(name) == 0
    folder = machine.home / "protein-trial"
    assert machine.environment["PROTEIN_RUN_DIR"] == str(folder)
    assert (folder / "train_config_overrides.yaml").read_text() == ""


@pytest.mark.parametrize("name", ["trial", "multi_node_nccl"])
def test_a_node_finds_its_place_in_skypilot_s_variables(machine: Machine, name: str) -> None:
    given = {"SKYPILOT_NODE_RANK": "1", "SKYPILOT_NUM_NODES": "2"}
    given |= {"SKYPILOT_NODE_IPS": "10.0.0.7\n10.0.0.8", "SKYPILOT_NUM_GPUS_PER_NODE": "8"}
    assert machine.run(name, **given) == 0
    found = {key: machine.environment[key] for key in ("NODE_INDEX", "NUM_NODES", "MASTER_ADDR")}
    assert found == {"NODE_INDEX": "1", "NUM_NODES": "2", "MASTER_ADDR": "10.0.0.7"}
    assert machine.environment["NUM_GPUS"] == "8"


def test_what_the_launcher_says_about_the_place_counts(machine: Machine) -> None:
    machine.run("trial", NODE_INDEX="3", SKYPILOT_NODE_RANK="1", MASTER_PORT="4242")
    assert machine.environment["NODE_INDEX"] == "3"
    assert machine.environment["MASTER_PORT"] == "4242"


def test_nodes_that_cannot_talk_are_the_machines_fault(machine: Machine) -> None:
    two = {"SKYPILOT_NUM_NODES": "2"}
    assert machine.run("multi_node_nccl", PREFLIGHT_CODE="1", **two) == 75
    assert "--nnodes=2" in machine.arguments
    assert machine.run("multi_node_nccl", PREFLIGHT_CODE="1", NCCL_PREFLIGHT="0", **two) == 0


def test_the_test_of_the_nodes_leaves_others_alone_on_the_same_machine(
    machine: Machine, tmp_path: Path
) -> None:
    shared = tmp_path / "tmp"
    shared.mkdir()
    settings = {"SKYPILOT_NUM_NODES": "2", "PREFLIGHT_CODE": "1", "TMPDIR": str(shared)}
    machine.run("multi_node_nccl", **settings)
    first = machine.arguments[-1]
    machine.run("multi_node_nccl", **settings)
    assert machine.arguments[-1] != first
    assert list(shared.iterdir()) == []


def test_the_test_of_the_nodes_adds_up(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    found = re.search(r"<<'PREFLIGHT'\n(.*?)\nPREFLIGHT\n", task("multi_node_nccl")["run"], re.S)
    assert found is not None
    file = tmp_path / "preflight.py"
    file.write_text(found[1])
    place = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1"}
    alone = {**offline_sky.environment(tmp_path), **place, "MASTER_PORT": "0"}
    subprocess.run([sys.executable, str(file)], env=alone, check=True, capture_output=True)


_READ = """
import json, sys, sky
tasks = {}
for path in json.loads(sys.argv[-1]):
    task = sky.Task.from_yaml(path)
    tasks[path] = [task.num_nodes, len(task.resources), bool(task.run and task.setup)]
print(json.dumps(tasks))
"""


@pytest.mark.infra
@pytest.mark.skipif(installed_version() is None, reason="needs SkyPilot")
def test_skypilot_itself_reads_every_template(tmp_path: Path) -> None:
    offline_sky.write_home(tmp_path)
    paths = {name: str(shipped_tasks() / f"{name}.yaml") for name in ALL}
    given = f"import sys; sys.argv.append({json.dumps(list(paths.values()))!r})\n"
    found = offline_sky.answer(offline_sky.python(tmp_path, given + _READ))
    read_as = {name: found[path] for name, path in paths.items()}
    assert read_as["multi_node_nccl"] == [2, 1, True]
    assert read_as["spot_gpu"] == [1, 6, True]
    assert read_as["gpu_8"] == [1, 4, True]
    assert all(has_scripts for _, _, has_scripts in read_as.values())
