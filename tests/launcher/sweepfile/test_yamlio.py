"""YAML 1.2 numbers, places, and files that are made to break a loader."""

import math
from enum import StrEnum
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from launcher.sweepfile import yamlout
from launcher.sweepfile.yamlio import MAX_BYTES, MAX_NODES, Node, Parsed, dump, parse, read, shown

FILE = Path("f.yaml")


class Goal(StrEnum):
    UP = "up"


def node_of(text: str) -> Node:
    parsed = parse(text, FILE)
    assert not parsed.problems, parsed.problems
    assert parsed.node is not None
    return parsed.node


def problem_of(text: str) -> str:
    (problem,) = parse(text, FILE).problems
    return str(problem)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-5", 1e-5),
        ("1E5", 1e5),
        (".5", 0.5),
        ("3.", 3.0),
        ("-0", 0),
        ("010", 10),
        ("0o10", 8),
        ("0x1F", 31),
        ("-.inf", -math.inf),
        ("true", True),
        ("~", None),
        ("null", None),
        ("", None),
    ],
)
def test_numbers_and_constants_follow_the_core_schema(text: str, value: object) -> None:
    read_value = node_of(text).value
    assert read_value == value
    assert type(read_value) is type(value)


@pytest.mark.parametrize("text", ["no", "yes", "on", "1:30", "1_000", "2024-01-01", "'1e-5'", "+"])
def test_what_only_yaml_1_1_takes_for_a_number_date_or_boolean_is_text(text: str) -> None:
    assert node_of(text).value == text.strip("'")


def test_keys_are_text_however_they_look() -> None:
    assert node_of("{on: 1, 5: 2, true: 3}").plain() == {"on": 1, "5": 2, "true": 3}


def test_each_key_and_value_knows_its_place() -> None:
    inner = node_of("a: 1\nb:\n  - x\n  - {c: 2}\n").entries["b"].items[1].entries["c"]
    assert (inner.key_place.line, inner.key_place.column) == (4, 6)
    assert (inner.place.line, inner.place.column) == (4, 9)


def test_an_alias_stands_for_its_anchor_and_keeps_its_own_key() -> None:
    root = node_of("a: &x {p: 1}\nb: *x\n")
    assert root.plain() == {"a": {"p": 1}, "b": {"p": 1}}
    assert root.entries["b"].key_place.line == 2


def test_merged_keys_give_way_to_own_keys() -> None:
    root = node_of("a: &a {p: 1, q: 2}\nb: &b {q: 5, r: 6}\nc: {<<: [*a, *b], p: 3}\n")
    assert root.entries["c"].plain() == {"p": 3, "q": 2, "r": 6}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3", "f.yaml:3:1: a: stands twice, first in line 1\n  hint: keep one"),
        ("b: {a: 1, a: 2}", "f.yaml:1:11: b.a: stands twice"),
        ("a: !!python/object:os.system x", "f.yaml:1:4: a: the tag !!python/object:os.system is"),
        ("a: !!python/object/apply:os.system [x]", "f.yaml:1:4: a: the tag !!python/object/apply"),
        ("a: !!int x", "f.yaml:1:4: a: 'x' does not fit its tag !!int"),
        ("a:\n\tb: 1", "f.yaml:2:1: a tab cannot indent YAML\n  hint: use spaces"),
        ("a: [1, 2", "f.yaml:1:9: a list is not closed; it begins in line 1\n  hint: add `]`"),
        ("a: {b: 1", "f.yaml:1:9: a mapping is not closed; it begins in line 1"),
        ('a: "x\nb: 1', "f.yaml:2:5: quoted text is not closed; it begins in line 1"),
        ("a: b: c", "f.yaml:1:5: a `:` makes no key here"),
        ("a: @x", "f.yaml:1:4: a value cannot begin with this character\n  hint: quote the text"),
        ("a: 1\nb", "f.yaml:2:2: expected `key: value`"),
        ("a: *x", "f.yaml:1:4: a: *x names nothing"),
        ("a: &x [*x]", "f.yaml:1:8: *x stands inside of what it names"),
        ("a: 1e999", "f.yaml:1:4: a: 1e999 is larger than any float"),
        ("a: 1e-999", "f.yaml:1:4: a: 1e-999 is smaller than any float"),
        ("a: 9223372036854775808", "f.yaml:1:4: a: 9223372036854775808 does not fit into 64 bits"),
        (f"a: {'9' * 9999}", "f.yaml:1:4: a: 99999999999999999999999999999… does not fit"),
        (f"a: 0x{'9' * 9999}", "f.yaml:1:4: a: 0x999"),
        ("a\n---\nb", "f.yaml:2:1: a second document begins here"),
        ("? [a]\n: b", "f.yaml:1:3: a key must be text, this is a list or mapping"),
        ("a: {<<: 3}", "f.yaml:1:9: a.<<: `<<` merges mappings only"),
        ("[" * 9999, "f.yaml:1:65: is nested more than 64 levels deep"),
        ("a: b\n\x07", "f.yaml:2:1: the character U+0007 cannot stand in YAML"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(text: str, message: str) -> None:
    assert problem_of(text).startswith(message)


def test_several_problems_are_found_at_once() -> None:
    assert [p.line for p in parse("a: 1\na: 2\nb: 1e999\nc: *d\n", FILE).problems] == [2, 3, 4]


def test_a_bomb_of_aliases_is_defused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 40)]
    assert f"holds more than {MAX_NODES} values" in problem_of("\n".join(lines))


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    file = tmp_path / "large.yaml"
    file.write_bytes(b"#" * (MAX_BYTES + 1))
    assert "is larger than 256 KiB" in str(read(file).problems[0])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"a: 1\nb: caf\xe9\n", ":2:7: is not UTF-8 text\n"),
        ("a: 1".encode("utf-16"), ":1:1: is not UTF-8 text, it looks like UTF-16\n"),
    ],
)
def test_a_wrong_encoding_is_told_with_its_place(tmp_path: Path, data: bytes, message: str) -> None:
    file = tmp_path / "f.yaml"
    file.write_bytes(data)
    assert message in str(read(file).problems[0])


def test_a_byte_order_mark_is_no_problem(tmp_path: Path) -> None:
    file = tmp_path / "f.yaml"
    file.write_bytes("a: ü".encode("utf-8-sig"))
    parsed = read(file)
    assert parsed == Parsed(parsed.node)
    assert parsed.node is not None
    assert parsed.node.plain() == {"a": "ü"}


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    assert "cannot be read: Is a directory" in str(read(tmp_path).problems[0])


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.from_regex(
        r"[-+]?[0-9_.]{1,6}([eE][-+]?[0-9]{1,3})?|0[ox][0-7]+|[0-9]:[0-9]", fullmatch=True
    )
    | st.sampled_from(
        ["no", "on", "~", "", "null", "True", "<<", "=", "-", "a\nb\n", " x\n y", "#"]
    )
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner) | st.dictionaries(st.text("abc.-_ é:#'\"", min_size=1), inner),
    max_leaves=20,
)


@given(VALUES)
def test_what_is_written_reads_back_the_same(value: object) -> None:
    assert node_of(dump(value)).plain() == value


KEYS = st.text(st.characters(exclude_categories=["Cs"])) | st.sampled_from(["k" * 120, "? x"])


@given(st.dictionaries(KEYS, VALUES, max_size=4))
def test_the_fast_writer_writes_what_pyyaml_does(value: dict[str, object]) -> None:
    assert dump(value) == yamlout._dump(value)


def test_a_value_that_yaml_does_not_know_is_refused() -> None:
    for value in ({"a": Goal.UP}, {Goal.UP: "a"}, [object()]):
        with pytest.raises(yaml.representer.RepresenterError):
            dump(value)


@given(st.floats(allow_nan=False, allow_infinity=False) | st.text("0123456789e+-.ox_ yno"))
def test_readers_of_yaml_1_1_read_the_same(value: object) -> None:
    assert yaml.safe_load(dump({"key": value})) == {"key": value}


def test_output_is_readable_and_keeps_the_order() -> None:
    value = {"b": 1e-5, "a": {"run": "one\ntwo\n", "tags": ["x", "1e5"]}, "none": None}
    assert dump(value) == (
        "b: 1.0e-05\na:\n  run: |\n    one\n    two\n  tags:\n  - x\n  - '1e5'\nnone: null\n"
    )


def test_a_value_that_stands_twice_is_written_twice() -> None:
    shared = ["x"]
    assert dump({"a": shared, "b": shared}) == "a:\n- x\nb:\n- x\n"


@given(st.text())
def test_a_stranger_s_text_is_shown_as_one_short_printable_line(text: str) -> None:
    line = shown(text)
    assert len(line) <= 60
    assert line.isprintable()
