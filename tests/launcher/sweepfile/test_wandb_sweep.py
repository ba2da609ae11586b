"""W&B's sweep files as ours, and ours as W&B's."""

import math
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.errors import Problem
from launcher.sweepfile.nodes import Node
from launcher.sweepfile.wandb_sweep import from_wandb, is_wandb_sweep, to_wandb
from launcher.sweepfile.yamlio import parse
from protein import Space
from tests.launcher.builders import SPACE

FILE = """\
program: train.py
name: a sweep of theirs
method: bayes
project: theirs
metric:
  name: val/loss
run_cap: 30
early_terminate:
  type: hyperband
  max_iter: 27
  s: 2
command: ["${env}", "${interpreter}", "${program}", --fast, "${args}"]
parameters:
  optimizer:
    values: [adam, sgd]
    probabilities: [0.9, 0.1]
  lr:
    distribution: log_uniform_values
    min: 1e-5
    max: 0.1
  batch_size:
    distribution: q_log_uniform_values
    q: 8
    min: 32
    max: 64
  layers: {min: 1, max: 5}
  dropout: {min: 0.0, max: 0.5}
  decay: {distribution: log_normal, mu: -3, sigma: 0.5}
  model:
    parameters:
      width: {value: 64}
"""


def root_of(text: str) -> Node:
    parsed = parse(text, Path("sweep.yaml"))
    assert parsed.problems == ()
    assert parsed.node is not None
    return parsed.node


def of_one(parameter: str) -> tuple[Any, list[Problem]]:
    root, problems = from_wandb(
        root_of(f"program: t.py\nmetric: {{name: r}}\nparameters:\n  x: {parameter}\n")
    )
    return root.plain()["sweep"]["parameters"].get("x"), problems


def test_a_sweep_file_of_wandb_is_accepted_as_it_is() -> None:
    root, problems = from_wandb(root_of(FILE))
    assert problems == []
    plain = root.plain()
    sweep = plain["sweep"]
    assert (sweep["method"], sweep["metric"], sweep["goal"]) == ("protein", "val/loss", "minimize")
    assert plain["task"]["run"] == "/usr/bin/env python train.py --fast ${args}"
    assert (plain["trials"], plain["wandb"]) == (30, {"project": "theirs"})
    assert sweep["early_stopping"] == {
        "method": "asha",
        "resource": "step",
        "grace": 3.0,
        "reduction_factor": 3,
    }
    assert sweep["parameters"]["model.width"] == 64
    assert sweep["parameters"]["batch_size"]["values"] == [32, 40, 48, 56, 64]
    assert sweep["parameters"]["layers"]["distribution"] == "int_uniform"
    assert sweep["parameters"]["dropout"]["distribution"] == "uniform"
    assert len(Space.from_dict(sweep["parameters"]).parameters) == 6


def test_values_know_their_lines() -> None:
    root, _ = from_wandb(root_of(FILE))
    low = root.get("sweep", "parameters", "lr", "min")
    assert low is not None
    assert low.place.line == 19


@pytest.mark.parametrize(
    ("theirs", "low", "high"),
    [
        ("{distribution: log_uniform, min: -2, max: 0}", math.exp(-2), 1.0),
        ("{distribution: inv_log_uniform, min: 0, max: 2}", math.exp(-2), 1.0),
        ("{distribution: inv_log_uniform_values, min: 0.1, max: 2}", 0.1, 2.0),
        ("{distribution: normal, mu: 1, sigma: 2}", -5.0, 7.0),
        ("{distribution: log_normal, mu: 0, sigma: 1}", math.exp(-3), math.exp(3)),
        ("{distribution: beta, a: 1, b: 3}", 0.0, 1.0),
        ("{distribution: q_uniform, q: 1, min: 0.5, max: 9}", 1, 9),
        ("{distribution: uniform, min: 0, max: 3}", 0, 3),
    ],
)
def test_every_distribution_has_its_range(theirs: str, low: float, high: float) -> None:
    ours, problems = of_one(theirs)
    assert problems == []
    assert (ours["min"], ours["max"]) == pytest.approx((low, high))
    Space.from_dict({"x": ours})


def test_quantised_values_are_multiples() -> None:
    ours, _ = of_one("{distribution: q_uniform, q: 0.1, min: 0, max: 0.5}")
    assert ours["values"] == [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]


@pytest.mark.parametrize(
    ("theirs", "key", "words"),
    [
        ("{distribution: gaussian, min: 0, max: 1}", "distribution", "unknown"),
        ("{distribution: uniform, min: 0}", "max", "missing"),
        ("{distribution: q_uniform, q: 0.001, min: 0, max: 10}", "q", "10001 values"),
        ("{distribution: log_uniform, min: 1, max: 10000}", "max", "exponent"),
        ("{min: low, max: 1}", "min", "number"),
        ("3", "", "mapping"),
    ],
)
def test_what_has_no_equal_is_told_with_its_line(theirs: str, key: str, words: str) -> None:
    _, problems = of_one(theirs)
    (problem,) = problems
    assert problem.line == 4
    assert problem.key == f"parameters.x.{key}".rstrip(".")
    assert words in problem.message


def test_weights_are_refused_where_they_would_count() -> None:
    text = (
        FILE.replace("method: bayes", "method: random")
        + """\
      kind:
        values: [1, 2]
        probabilities: [0.5, 0.5]
      depth:
        values: [1, 2]
        probabilities: [0.1, 0.9]
"""
    )
    _, problems = from_wandb(root_of(text))
    assert [(p.line, p.key) for p in problems] == [
        (16, "parameters.optimizer.probabilities"),
        (text.count("\n"), "parameters.model.parameters.depth.probabilities"),
    ]
    assert all(p.hint for p in problems)


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ("imageuri: x", "imageuri"),
        ("paramters: {}", "paramters"),
        ("method: tpe", "method"),
        ("command: ['${args_no_boolean_flags}']", "command"),
        ("early_terminate: {type: envelope}", "early_terminate"),
    ],
)
def test_other_keys_are_refused(line: str, key: str) -> None:
    text = f"{line}\nprogram: t.py\nmetric: {{name: r}}\nparameters: {{x: {{value: 1}}}}\n"
    _, problems = from_wandb(root_of(text))
    assert [(problem.line, problem.key) for problem in problems] == [(1, key)]
    assert problems[0].hint


def test_a_sweep_file_of_ours_is_not_taken_for_one_of_wandb() -> None:
    assert is_wandb_sweep(root_of(FILE))
    assert not is_wandb_sweep(root_of("sweep: {parameters: {}}"))


def test_ours_becomes_wandbs() -> None:
    theirs = to_wandb({**SPACE, "seed": 3})
    assert theirs["trainer.learning_rate"]["distribution"] == "log_uniform_values"
    assert theirs["trainer.batch_size"] == {"values": [16, 32, 64, 128, 256]}
    assert theirs["model.activation"] == {"values": ["relu", "tanh"]}
    assert theirs["seed"] == {"value": 3}


@given(st.floats(1e-6, 1e3), st.floats(1.001, 1e3), st.sampled_from(["uniform", "log_normal"]))
def test_ranges_survive_the_way_to_wandb_and_back(low: float, factor: float, kind: str) -> None:
    ours = {"x": {"distribution": kind, "min": low, "max": low * factor}}
    theirs = to_wandb(ours)["x"]
    inline = ", ".join(f"{key}: {value!r}" for key, value in theirs.items()).replace("'", "")
    back, problems = of_one(f"{{{inline}}}")
    assert problems == []
    assert back == ours["x"]


@pytest.mark.parametrize(
    ("macro", "words"),
    [
        ("${args}", ["--lr=1e-3", "--name=a b --c"]),
        ("${args_no_hyphens}", ["lr=1e-3", "name=a b --c"]),
    ],
)
def test_a_command_gives_the_words_that_an_agent_would(macro: str, words: list[str]) -> None:
    text = f"command: [printf, '%s\\n', '{macro}']\nmetric: {{name: r}}\nparameters: {{}}\n"
    root, problems = from_wandb(root_of(text))
    assert problems == []
    script = root.plain()["task"]["run"].replace("${args}", '"$@"')  # as launcher.jobs does
    given = ["bash", "-c", script, "bash", "--lr=1e-3", "--name=a b --c"]
    assert subprocess.run(given, capture_output=True, text=True).stdout.splitlines() == words
