import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.errors import ConfigError
from trainer.tree import read_file, read_override, read_scalar


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-5", 1e-5),
        ("1E5", 1e5),
        (".5", 0.5),
        ("5.", 5.0),
        ("-7", -7),
        ("010", 10),
        ("0x1F", 31),
        ("0o17", 15),
        (".inf", math.inf),
        ("true", True),
        ("on", "on"),
        ("no", "no"),
        ("1_000", "1_000"),
        ("null", None),
        ("", None),
        ("12:30", "12:30"),
    ],
)
def test_scalars_mean_what_yaml_1_2_says(text, value):
    assert read_scalar(text) == value
    assert type(read_scalar(text)) is type(value)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_float_comes_back(value):
    assert read_scalar(repr(value)) == value


def test_leaves_know_where_their_key_stands(tmp_path):
    file = tmp_path / "c.yaml"
    file.write_text("trainer:\n  gamma: 0.9\nenv.name: pong\nmodel: {hidden_size: '8'}\n")
    found = [(leaf.key, leaf.value, leaf.where.removeprefix(str(file))) for leaf in read_file(file)]
    assert found == [
        ("trainer.gamma", 0.9, ":2:3"),
        ("env.name", "pong", ":3:1"),
        ("model.hidden_size", "8", ":4:9"),
    ]


@pytest.mark.parametrize(
    "text",
    ["a: [", "- 1", "a: 1\na: 2", "\t", "a: [[1]]", "a: &x {b: *x}", 4000 * "[", 4000 * "{a: "],
    ids=range(8),
)
def test_what_is_no_config_is_a_config_error(tmp_path, text):
    file = tmp_path / "c.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError):
        read_file(file)


def test_a_missing_file_is_a_config_error(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        read_file(tmp_path / "none.yaml")


@pytest.mark.parametrize("plus", ["", "+", "++"])
def test_overrides_are_read_as_yaml(plus):
    leaf = read_override(f"{plus}trainer.learning_rate=1e-5")
    assert (leaf.key, leaf.value) == ("trainer.learning_rate", 1e-5)


def test_an_override_without_a_value_is_a_config_error():
    with pytest.raises(ConfigError, match="key=value"):
        read_override("trainer.gamma")
