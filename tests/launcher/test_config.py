"""The sweep file: what it means, and what is said when it is wrong."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from launcher.config import (
    DEFAULT_RUN,
    SweepConfig,
    check,
    from_mapping,
    load,
    nested,
    trial_config,
    trial_parameters,
)
from launcher.errors import ConfigError

GOLDEN = Path(__file__).parent / "golden"

SMALL = """
sweep:
  metric: reward
  goal: maximize
  parameters:
    trainer.learning_rate: {min: 1e-5, max: 1e-2, distribution: log_normal}
    trainer.gamma: {min: 0.9, max: 0.999}
    env.name: swingup
"""


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def loaded(text: str, overrides: Sequence[str] = (), file: str = "small.yaml") -> SweepConfig:
    Path(file).write_text(text, encoding="utf-8")
    return load(file, overrides=overrides)


def problems(text: str, overrides: Sequence[str] = ()) -> list[str]:
    Path("small.yaml").write_text(text, encoding="utf-8")
    return [str(problem) for problem in check("small.yaml", overrides)]


def with_parameters(text: str) -> str:
    lines = "".join(f"    {line}\n" for line in text.splitlines())
    return f"sweep:\n  metric: reward\n  goal: maximize\n  parameters:\n{lines}"


def test_every_problem_of_a_file_is_told_at_once_in_its_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(GOLDEN)
    told = "\n".join(str(problem) for problem in check("problems.yaml")) + "\n"
    assert told == (GOLDEN / "problems.txt").read_text(encoding="utf-8")


def test_load_raises_what_check_tells() -> None:
    Path("bad.yaml").write_text("trials: 0\n", encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load("bad.yaml")
    assert list(caught.value.problems) == check("bad.yaml")
    assert caught.value.exit_code == 2


def test_what_is_left_out_has_a_default() -> None:
    config = loaded(SMALL)
    assert (config.name, config.trials, config.parallel) == ("small", 20, None)
    assert (config.sweep.num_random_samples, config.sweep.seed) == (5, 0)
    assert config.task.run == DEFAULT_RUN
    assert (config.execution.cloud, config.execution.max_attempts) == ("local", 3)


def test_ranges_and_fixed_values_are_told_apart() -> None:
    config = loaded(SMALL)
    assert list(config.sweep.tuned) == ["trainer.learning_rate", "trainer.gamma"]
    assert config.sweep.tuned["trainer.learning_rate"]["min"] == 1e-5
    assert config.sweep.fixed == {"env.name": "swingup"}


def test_nested_and_dotted_names_are_the_same() -> None:
    text = "trainer:\n  gamma: {min: 0.9, max: 0.999}\n  epochs: 3\nenv: {scale: 2}"
    config = loaded(with_parameters(text))
    assert list(config.sweep.tuned) == ["trainer.gamma"]
    assert config.sweep.fixed == {"trainer.epochs": 3, "env.scale": 2}


def test_a_parameter_may_be_called_like_a_field_of_a_range() -> None:
    config = loaded(with_parameters("env: {scale: {min: 1, max: 2}, min: {values: [1, 2]}}"))
    assert list(config.sweep.tuned) == ["env.scale", "env.min"]


def test_wandb_s_way_of_nesting_and_of_fixing_is_read() -> None:
    config = loaded(with_parameters("trainer: {parameters: {lr: {min: 1, max: 2}}}\na: {value: 3}"))
    assert list(config.sweep.tuned) == ["trainer.lr"]
    assert config.sweep.fixed == {"a": 3}


def test_wandb_s_top_level_gives_defaults() -> None:
    text = "method: bayes\nmetric: {name: score, goal: minimize}\nsweep: {parameters: {}}\n"
    sweep = loaded(text).sweep
    assert (sweep.metric, sweep.goal, sweep.method) == ("score", "minimize", "protein")


def test_a_contradiction_names_both_places() -> None:
    (told,) = problems(f"metric: {{name: reward, goal: minimize}}{SMALL}")
    assert told.startswith(
        "small.yaml:4:9: sweep.goal: 'maximize' contradicts 'minimize' in line 1"
    )


def test_min_and_max_beside_mu_and_sigma_are_two_meanings() -> None:
    (told,) = problems(
        with_parameters("a: {distribution: log_normal, min: 1, max: 2, mu: 0, sigma: 1}")
    )
    assert told.startswith("small.yaml:5:55: a.mu: min/max and mu/sigma are two meanings")


def test_a_file_without_ranges_is_a_template() -> None:
    assert loaded("sweep: {metric: reward, goal: maximize, parameters: {}}").sweep.tuned == {}


def test_an_empty_file_says_where_to_begin() -> None:
    (told,) = problems("# nothing\n")
    assert told == (
        "small.yaml:1:1: the file is empty\n  hint: begin with a copy of configs/sweep/empty.yaml"
    )


def test_a_config_survives_json() -> None:
    extras = "task: {secrets: [KEY], envs: {A: 1e-5}}\nwandb: {tags: [a]}\nhardware: {device: cpu}"
    config = loaded(SMALL + extras)
    assert from_mapping(json.loads(json.dumps(config.to_mapping(), allow_nan=False))) == config


@pytest.mark.parametrize(
    ("written", "seconds"), [("90", 90.0), ("2h", 7200.0), ("30m", 1800.0), ("1h 30m", 5400.0)]
)
def test_times_can_be_written_with_units(written: str, seconds: float) -> None:
    config = loaded(f"{SMALL}execution: {{timeout_seconds: {written}}}")
    assert config.execution.timeout_seconds == seconds


def test_environment_values_are_the_text_that_was_written() -> None:
    config = loaded(f"{SMALL}task: {{envs: {{RATE: 1e-5, ON: true, PORT: 080}}}}")
    assert config.task.envs == {"RATE": "1e-5", "ON": "true", "PORT": "080"}


@pytest.mark.parametrize("secrets", ["[KEY, B]", "{KEY: null, B: }", '{KEY: "", B: null}'])
def test_secrets_are_names(secrets: str) -> None:
    assert loaded(f"{SMALL}task: {{secrets: {secrets}}}").task.secrets == ("KEY", "B")


def test_the_value_of_a_secret_is_refused_and_never_told() -> None:
    (told,) = problems(f"{SMALL}task: {{secrets: {{KEY: canary}}}}")
    assert "small.yaml:9:23: task.secrets.KEY: a secret's value does not belong" in told
    assert "canary" not in told


def test_a_task_file_lies_beside_the_sweep_file() -> None:
    Path("sub").mkdir()
    Path("sub/task.yaml").write_text("run: echo\nnum_nodes: 2\nresources: {cpus: 2}\n")
    config = loaded(f"{SMALL}task: task.yaml\n", file="sub/sweep.yaml")
    assert (config.task.run, config.task.num_nodes) == ("echo", 2)
    assert config.task.resources == {"cpus": 2}


def test_a_problem_in_a_task_file_is_told_there() -> None:
    Path("task.yaml").write_text("run: echo\nnum_node: 2\n")
    (told,) = problems(f"{SMALL}task: task.yaml\n")
    assert told == "task.yaml:2:1: task.num_node: is no key here\n  hint: did you mean `num_nodes`?"


def test_hardware_is_a_name_a_path_or_values() -> None:
    Path("mine.yaml").write_text("device: tpu\n")
    assert loaded(f"{SMALL}hardware: macbook\n").hardware["device"] == "cpu"
    assert loaded(f"{SMALL}hardware: mine.yaml\n").hardware == {"device": "tpu"}
    assert loaded(f"{SMALL}hardware: {{a: {{b: 1}}}}\n").hardware == {"a": {"b": 1}}


def test_a_trial_s_config_is_hardware_then_fixed_then_suggested() -> None:
    text = f"{SMALL}hardware: {{env: {{name: x, seed: 1}}, device: cpu, resources: {{cpus: 1}}}}"
    params = {"trainer.gamma": 0.95}
    assert trial_config(loaded(text), params) == {
        "env": {"name": "swingup", "seed": 1},
        "device": "cpu",
        "trainer": {"gamma": 0.95},
    }
    assert trial_parameters(loaded(text), params)["env.seed"] == 1


def test_nested_expands_dots() -> None:
    assert nested({"a.b.c": 1, "a.d": 2, "e": 3}) == {"a": {"b": {"c": 1}, "d": 2}, "e": 3}


@pytest.mark.parametrize(
    "name", ["../../x", "a;rm -rf", "a\nb", "a" * 300, "-rf", "🦄", "", "A", "."]
)
def test_a_hostile_name_is_refused_on_one_line(name: str) -> None:
    (told,) = problems(f"name: {json.dumps(name, ensure_ascii=False)}{SMALL}")
    assert told.startswith("small.yaml:1:7: name: ")
    assert len(told.split("\n  hint: ")[0].splitlines()) == 1


def test_the_nearest_safe_name_is_offered() -> None:
    (told,) = problems(f"name: ../My Sweep{SMALL}")
    assert told.endswith("hint: did you mean `my-sweep`?")


def test_a_name_is_made_of_the_file_s_name() -> None:
    assert loaded(SMALL, file="My Sweep (1).yaml").name == "my-sweep-1"


@pytest.mark.parametrize(
    "name", ["../../x", "a;rm -rf", "a\nb", "a" * 300, "-rf", "🦄", "", "\0", "a/" * 3000]
)
def test_a_sweep_that_does_not_exist_is_told_on_one_line(name: str) -> None:
    (problem,) = check(name)
    assert "\n" not in str(problem.file)
    assert "no such sweep file" in problem.message or "no sweep file" in problem.message


def test_a_misspelt_name_of_a_shipped_sweep_is_recognised() -> None:
    (problem,) = check("demo_swep")
    assert problem.hint == "did you mean demo_sweep?"


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("trainer", "3", "lies below"),
        ("trainer.gamma.x", "3", "lies below trainer.gamma, which is a value itself (line 7)"),
    ],
)
def test_no_name_may_lie_below_another(key: str, value: str, message: str) -> None:
    told = problems(f"{SMALL}    {key}: {value}\n")
    assert told
    assert all(message in line for line in told)


def test_a_hardware_file_must_not_clash_with_a_parameter() -> None:
    told = problems(f"{SMALL}hardware: {{env: 3}}\n")
    assert told[0].startswith("small.yaml:8:5: env.name: lies below env, which is a value itself")


def test_unknown_keys_say_where_they_belong() -> None:
    told = problems(f"max_attempts: 3\nrun_cap: 5{SMALL}  trials: 3\n")
    hints = [line.split("hint: ")[1] for line in told]
    assert hints == [
        "it belongs under `execution:`",
        "`trials: 20` says how many",
        "`trials:` stands at the top level of the file",
    ]


def test_a_method_may_be_a_function_of_the_user() -> None:
    assert loaded(SMALL, ["sweep.method=json:loads"]).sweep.method == "json:loads"
    assert loaded(SMALL, ["sweep.method=optuna:TPESampler"]).sweep.method == "optuna:TPESampler"
    (told,) = problems(SMALL.replace("goal: maximize", "goal: maximize\n  method: nowhere:f"))
    assert "there is no module nowhere" in told


def test_a_config_cannot_be_changed() -> None:
    config: Any = loaded(SMALL)
    with pytest.raises(AttributeError, match="immutable"):
        config.trials = 3


def test_a_secret_in_the_wrong_place_is_not_repeated(tmp_path: Path) -> None:
    file = tmp_path / "wandb.yaml"
    file.write_text("method: bayes\nparameters:\n  secrets: {TOKEN: canary}\n", encoding="utf-8")
    told = "\n".join(str(problem) for problem in check(file))
    assert "secrets" in told
    assert "canary" not in told


def test_two_names_that_an_environment_cannot_tell_apart_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    parameters = "    a.b: {min: 0, max: 1}\n    c: 1\n    a_b: 2\n"
    file.write_text(f"sweep:\n  metric: r\n  goal: maximize\n  parameters:\n{parameters}")
    (problem,) = check(file)
    assert (problem.line, problem.key) == (7, "a_b")
    assert "is PROTEIN_PARAM_A_B in a trial's environment, as is a.b" in problem.message


@pytest.mark.parametrize("default", ["3", "yes"])
def test_a_default_lies_in_the_range(tmp_path: Path, default: str) -> None:
    file = tmp_path / "x.yaml"
    parameters = f"    x:\n      min: 0\n      max: 1\n      default: {default}\n"
    file.write_text(f"sweep:\n  metric: r\n  goal: maximize\n  parameters:\n{parameters}")
    (problem,) = check(file)
    assert (problem.line, problem.key) == (8, "x.default")
