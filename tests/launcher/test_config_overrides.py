"""What the command line changes, in both spellings."""

from pathlib import Path

import pytest

from launcher.config import SweepConfig, check, load

FILE = "small.yaml"


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path(FILE).write_text(
        "sweep:\n  metric: reward\n  goal: maximize\n  parameters:\n"
        "    trainer.learning_rate: {min: 1e-5, max: 1e-2, distribution: log_normal}\n"
        "    trainer.gamma: {min: 0.9, max: 0.999}\n"
        "    env.name: swingup\n"
        "wandb: {tags: [first]}\n"
    )


def changed(*overrides: str) -> SweepConfig:
    return load(FILE, overrides=overrides)


def told(*overrides: str) -> str:
    (problem,) = check(FILE, overrides)
    assert (problem.file, problem.line) == (Path("command line"), 0)
    return f"{problem.key}: {problem.message} | {problem.hint}"


def test_the_reference_s_command_line_works() -> None:
    line = "run=my_name ++sweep_params=sweep/demo_sweep +hardware=macbook +user=me"
    config = load(None, overrides=[*line.split(), "trainer.num_workers=1"])
    assert config.name == "my_name"
    assert config.sweep.fixed["trainer.num_workers"] == 1
    assert config.hardware["device"] == "cpu"
    assert config.wandb.tags == ("user:me",)


def test_sections_of_the_file_are_set_by_their_path() -> None:
    config = changed("sweep.seed=3", "budget.usd=5", "parallel=4", "execution.timeout_seconds=2h")
    assert (config.sweep.seed, config.budget.usd, config.parallel) == (3, 5.0, 4)
    assert config.execution.timeout_seconds == 7200


def test_anything_else_is_a_fixed_value_of_the_trials() -> None:
    config = changed("model.size=32", "seed=1", "device=cpu", "+trial.x=1e-3", "env.name=pong")
    fixed = {"model.size": 32, "seed": 1, "device": "cpu", "trial.x": 1e-3, "env.name": "pong"}
    assert config.sweep.fixed == fixed


def test_a_value_takes_its_parameter_out_of_the_search() -> None:
    config = changed("trainer.gamma=0.99")
    assert list(config.sweep.tuned) == ["trainer.learning_rate"]
    assert config.sweep.fixed["trainer.gamma"] == 0.99


def test_a_range_is_changed_by_its_full_path() -> None:
    config = changed("sweep.parameters.trainer.gamma.min=0.95", "sweep.parameters.b={values: [1]}")
    assert config.sweep.tuned["trainer.gamma"] == {"min": 0.95, "max": 0.999}
    assert config.sweep.tuned["b"] == {"values": [1]}


def test_the_last_one_counts() -> None:
    assert changed("trials=3", "trials=4").trials == 4


def test_the_user_joins_the_tags() -> None:
    assert changed("user=me").wandb.tags == ("first", "user:me")


def test_a_name_may_be_a_number() -> None:
    assert changed("run=2024").name == "2024"
    assert changed("name=007").name == "007"


def test_a_path_on_the_command_line_counts_from_here() -> None:
    Path("task.yaml").write_text("run: echo\n")
    Path("sub").mkdir()
    Path("sub/s.yaml").write_text(Path(FILE).read_text())
    assert load("sub/s.yaml", overrides=["task=task.yaml", "task.num_nodes=2"]).task.run == "echo"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("x", ": 'x' has no `=` | write key=value, such as trainer.num_workers=1"),
        ("=3", ": '' is no key | write key=value"),
        ("a b=3", ": 'a b' is no key"),
        ("~trainer.gamma=", ": '~trainer.gamma' is no key"),
        ("../x=1", ": '../x' is no key"),
        ("trials=zero", "trials: must be a whole number, is 'zero'"),
        ("trials=[1", "trials: a list is not closed"),
        ("trials={a: 1, a: 2}", "trials.a: stands twice"),
        ("budgt.usd=3", "budgt.usd: is no key | did you mean `budget`?"),
        ("budget.usdd=3", "budget.usdd: is no key here | did you mean `usd`?"),
        ("trainer=3", "trainer: is a group: trainer.learning_rate lies below it"),
        ("trainer.gamma.min=1", "trainer.gamma.min: is part of a range | sweep.parameters.trainer"),
        ("model.x=[1]", "model.x: must be a number, text, true or false"),
        ("model.x=1e999", "model.x: 1e999 is larger than any float"),
        ("model.x=.nan", "model.x: must be finite, is nan"),
        ("metric=x", "metric: is W&B's key | sweep.metric="),
        ("hardware=macbok", "hardware: no such hardware file 'macbok' | did you mean macbook?"),
        ("sweep_params=other", "sweep_params: names another sweep than small.yaml"),
        ("execution.cloud=awz", "execution.cloud: no cloud is called 'awz' | did you mean `aws`?"),
        ("run=../x", "name: must be a name of lower-case"),
        ("user=a,b", "wandb.tags: must be 1 to 64 characters without comma, is 'user:a,b'"),
        ("sweep.parameters.trainer.gamma.min=2", "trainer.gamma.max: 0.999 is not above min, 2"),
    ],
)
def test_what_is_wrong_is_told_of_the_command_line(override: str, message: str) -> None:
    if override.startswith("sweep.parameters"):
        (problem,) = check(FILE, [override])
        assert f"{problem.key}: {problem.message}" == message
    else:
        assert told(override).startswith(message)


def test_without_a_file_the_shipped_ones_are_offered() -> None:
    (problem,) = check(None, [])
    assert problem.message == "no sweep file is named"
    assert "demo_sweep" in problem.hint
