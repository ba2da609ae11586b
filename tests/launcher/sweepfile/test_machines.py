"""Where and on what trials run: what is wrong is told with its place, without SkyPilot."""

from pathlib import Path

import pytest

from launcher.config import SweepConfig, check, load
from launcher.errors import Problem

HEAD = """\
sweep:
  metric: reward
  goal: maximize
  parameters: {a: {min: 0, max: 1}}
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def written(here: Path, text: str) -> Path:
    path = here / "mine.yaml"
    path.write_text(HEAD + text, encoding="utf-8")
    return path


def only_problem(here: Path, text: str, *overrides: str) -> Problem:
    problems = check(written(here, text), overrides)
    assert len(problems) == 1, problems
    return problems[0]


def loaded(here: Path, text: str, *overrides: str) -> SweepConfig:
    return load(written(here, text), overrides=overrides)


@pytest.mark.parametrize(
    ("line", "key", "hint"),
    [
        ("task: {resources: {acelerators: A10G:1}}", "task.resources.acelerators", "accelerators"),
        ("task: {resources: {accelerators: 'A10G:one'}}", "task.resources.accelerators", "A10G:1"),
        (
            "task: {resources: {accelerators: [A10G:1, 'L4 : 1']}}",
            "task.resources.accelerators",
            "",
        ),
        ("task: {resources: {infra: awss}}", "task.resources.infra", "did you mean `aws`?"),
        ("task: {resources: {infra: aws//a}}", "task.resources.infra", "such as aws"),
        ("task: {resources: {cloud: gpc}}", "task.resources.cloud", "did you mean `gcp`?"),
        ("task: {resources: {infra: aws, region: a}}", "task.resources.region", "keep one"),
        ("task: {resources: {use_spot: maybe}}", "task.resources.use_spot", ""),
        ("task: {resources: {any_of: {cpus: 2}}}", "task.resources.any_of", "infra: aws"),
        ("task: {resources: {any_of: [{cpu: 2}]}}", "task.resources.any_of.cpu", "cpus"),
        (
            "task: {resources: {any_of: [{cpus: 2}], ordered: [{cpus: 2}]}}",
            "task.resources.ordered",
            "keep one",
        ),
        ("task: {resources: {any_of: [{ordered: []}]}}", "task.resources.any_of", ""),
        ("hardware: {resources: A10G:1}", "hardware.resources", "accelerators"),
        ("execution: {infra: 'aws/a/b/c'}", "execution.infra", "such as aws"),
        ("execution: {gpus: '-1'}", "execution.gpus", "A10G:1"),
        ("execution: {storage: runs}", "execution.storage", "s3://"),
        ("execution: {cloud: gcp, infra: aws/us-east-1}", "execution.infra", "leave `cloud` out"),
        (
            "execution: {cloud: aws}\ntask: {resources: {infra: gcp}}",
            "task.resources",
            "--cloud gcp",
        ),
        (
            "execution: {cloud: aws}\ntask: {resources: {any_of: [{infra: gcp}, {cloud: azure}]}}",
            "task.resources",
            "--cloud any",
        ),
        ("execution: {pool: My_Pool}", "execution.pool", ""),
        ("execution: {idle_minutes: 0}", "execution.idle_minutes", ""),
    ],
)
def test_what_is_wrong_is_told_with_its_line(here: Path, line: str, key: str, hint: str) -> None:
    problem = only_problem(here, line)
    assert problem.key == key
    assert hint in problem.hint
    assert problem.line > 4


@pytest.mark.parametrize(
    "line",
    [
        "task: {resources: {accelerators: A10G}}",
        "task: {resources: {accelerators: {A10G: 1, L4: 1}}}",
        "task: {resources: {accelerators: '80GB+'}}",
        "task: {resources: {accelerators: 'nvidia:80GB+:2'}}",
        "task: {resources: {accelerators: 'tpu-v6e-8'}}",
        "task: {resources: {infra: 'k8s/arn:aws:eks:us-east-1:1:cluster/x'}}",
        "task: {resources: {infra: '*/us-east-1', cpus: 2+, memory: 8, ports: [80]}}",
        "execution: {cloud: slurm}\ntask: {resources: {infra: slurm/lab/gpu}}",
        "execution: {cloud: aws}\ntask: {resources: {any_of: [{infra: gcp}, {cpus: 2}]}}",
        "execution: {cloud: any}\ntask: {resources: {infra: gcp}}",
        "task: {resources: {infra: gcp}}",
        "execution: {storage: 's3://mine/runs', pool: a-b, idle_minutes: 5}",
        "execution: {storage: /shared/runs, pool: mine}",
        "execution: {region: us-east-1, gpus: 'H100:8', use_spot: false}",
    ],
)
def test_what_skypilot_takes_is_taken(here: Path, line: str) -> None:
    assert check(written(here, line)) == []


def test_infra_says_the_cloud(here: Path) -> None:
    assert loaded(here, "execution: {infra: aws/us-east-1}").execution.cloud == "aws"
    assert loaded(here, "execution: {infra: k8s/ctx}").execution.cloud == "kubernetes"
    assert loaded(here, "", "execution.infra=slurm/lab").execution.cloud == "slurm"


def test_the_command_line_counts_over_the_file_s_place(here: Path) -> None:
    config = loaded(here, "execution: {cloud: gcp}", "execution.infra=aws/us-east-1")
    assert (config.execution.cloud, config.execution.infra) == ("aws", "aws/us-east-1")
    config = loaded(here, "execution: {infra: aws/us-east-1}", "execution.cloud=local")
    assert (config.execution.cloud, config.execution.infra) == ("local", None)


def test_a_place_with_too_many_parts_on_the_command_line_is_told(here: Path) -> None:
    assert only_problem(here, "", "execution.infra=aws/a/b/c").key == "execution.infra"


def test_a_program_of_the_user_s_takes_the_folder_where_it_is_launched(here: Path) -> None:
    mine = "task: {run: python train.py}\n"
    assert loaded(here, mine + "execution: {cloud: aws}").task.workdir == str(here)
    assert loaded(here, mine).task.workdir is None
    assert loaded(here, "execution: {cloud: aws}").task.workdir is None


def test_a_sweep_without_a_task_brings_the_trainer_to_other_machines(here: Path) -> None:
    here_and_there = [loaded(here, f"execution: {{cloud: {cloud}}}") for cloud in ("local", "aws")]
    assert here_and_there[0].task.setup is None
    assert "protein-sky[trainer" in (here_and_there[1].task.setup or "")
    mine = loaded(here, "execution: {cloud: aws}\ntask: {setup: echo mine, num_nodes: 2}")
    assert (mine.task.setup, mine.task.num_nodes) == ("echo mine", 2)
    assert "-m trainer" in mine.task.run


def test_a_task_is_found_by_name_from_any_folder(here: Path) -> None:
    assert "-m trainer" in loaded(here, "task: trial").task.run
    assert loaded(here, "task: sky/trial.yaml").task.num_nodes == 1
    (here / "sky").mkdir()
    (here / "sky" / "trial.yaml").write_text("num_nodes: 7\nrun: echo mine\n")
    assert loaded(here, "task: sky/trial.yaml").task.num_nodes == 7


def test_a_misspelt_task_is_told(here: Path) -> None:
    problem = only_problem(here, "task: sky/trail.yaml")
    assert "did you mean trial?" in problem.hint
