"""Every value that does not fit is told with its key, and none that fits."""

import json
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from launcher.errors import Problem
from launcher.sweepfile.complaints import complaints
from launcher.sweepfile.schema import SweepConfig, keys, sections
from launcher.sweepfile.yamlio import parse

GOOD: dict[str, Any] = {"name": "a", "sweep": {"metric": "reward", "goal": "maximize"}}
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text("aZ-\n")
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text("ab_"), inner), max_leaves=4
)
PATHS = [(key,) for key in keys(SweepConfig)] + [
    (section, key) for section, kind in sections() for key in (*keys(kind), "unknown")
]


def complained(written: dict[str, Any]) -> list[Problem]:
    """What is wrong with a sweep file, nothing where msgspec takes it."""
    root = parse(json.dumps(written), Path("mine.yaml")).node
    assert root is not None
    plain = root.plain()
    try:
        msgspec.convert(plain, SweepConfig)
    except msgspec.ValidationError as error:
        return complaints(root, plain, error)
    return []


@given(st.sampled_from(PATHS), VALUES)
def test_what_msgspec_refuses_is_told_with_its_key(path: tuple[str, ...], value: Any) -> None:
    written = {**GOOD, path[0]: value}
    if len(path) == 2:
        written[path[0]] = {**GOOD.get(path[0], {}), path[1]: value}
    for problem in complained(written):
        assert problem.key.startswith(path[0])
        assert problem.line == 1


def test_each_wrong_value_is_told_not_only_the_first() -> None:
    wrong = {"trials": 0, "budget": {"usd": -1, "warn": [0.5, 2]}, "task": {"envs": {"a-b": "x"}}}
    assert [(p.key, p.message) for p in complained({**GOOD, **wrong})] == [
        ("task.envs.a-b", "must be the name of an environment variable, is 'a-b'"),
        ("trials", "must be at least 1, is 0"),
        ("budget.usd", "must be above 0, is -1"),
        ("budget.warn", "must be at most 1, is 2"),
    ]


def test_a_misspelt_key_is_not_missing_as_well() -> None:
    told = complained({"name": "a", "sweep": {"metrc": "reward", "goal": "maximize"}})
    assert [(p.key, p.message) for p in told] == [("sweep.metrc", "is no key here")]
