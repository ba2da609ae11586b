import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.sweepfile.constraints import ConstraintError, all_hold, parse


@pytest.mark.parametrize(
    ("text", "params", "expected"),
    [
        ("a <= b", {"a": 1, "b": 2}, True),
        ("a <= b", {"a": 3, "b": 2}, False),
        ("trainer.mini <= trainer.batch", {"trainer.mini": 4, "trainer.batch": 4}, True),
        ("1 < a < 3", {"a": 2}, True),
        ("1 < a < 3", {"a": 3}, False),
        ("a * 2 + 1 >= b % 3", {"a": 0, "b": 2}, False),
        ("opt == 'adam' or lr < 0.1", {"opt": "sgd", "lr": 0.5}, False),
        ("not (a > 1 and b > 1)", {"a": 2, "b": 2}, False),
        ("opt in ('adam', 'lion')", {"opt": "lion"}, True),
        ("-a < 0", {"a": 1}, True),
    ],
)
def test_a_constraint_is_what_it_says(text: str, params: dict[str, object], expected: bool) -> None:
    assert parse(text).holds(params) is expected


@given(a=st.integers(-9, 9), b=st.integers(-9, 9), c=st.integers(-9, 9))
def test_a_constraint_means_what_python_would(a: int, b: int, c: int) -> None:
    text = "a + 2 * b <= c and not a == b or c // 2 >= a - b"
    assert parse(text).holds({"a": a, "b": b, "c": c}) == (
        (a + 2 * b <= c and a != b) or c // 2 >= a - b
    )


def test_an_inactive_parameter_constrains_nothing() -> None:
    assert parse("momentum < 0.9").holds({"lr": 1.0})


@pytest.mark.parametrize("params", [{"a": "text"}, {"a": 0}])
def test_what_cannot_be_computed_does_not_hold(params: dict[str, object]) -> None:
    assert not parse("1 / a < 5").holds(params)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("__import__('os').system('id') == 0", "may not use"),
        ("a.b() > 1", "may not use"),
        ("(lambda: 1)() > 0", "may not use"),
        ("[x for x in y] == 1", "may not use"),
        ("a ** 9 ** 9 ** 9 > 1", "may not use"),
        ("a if b else c", "may not use"),
        ("f'{a}' == 'x'", "may not use"),
        ("a[0] > 1", "may not use"),
        ("a", "compares nothing"),
        ("a + b", "compares nothing"),
        ("a <", "is no expression"),
        ("a = 1", "is no expression"),
        ("", "is no expression"),
        ("a <= b; c", "is no expression"),
        ("(" * 300 + "a" + ")" * 300 + " < 1", "longer|too deep|no expression"),
        ("a < 1" + " and a < 1" * 100, "longer than"),
    ],
)
def test_anything_else_is_refused(text: str, message: str) -> None:
    with pytest.raises(ConstraintError, match=message):
        parse(text)


def test_an_unknown_name_is_named() -> None:
    with pytest.raises(ConstraintError, match=r"'trainer\.bach'"):
        parse("trainer.bach > 1", known=["trainer.batch"])


def test_a_text_is_never_multiplied() -> None:
    assert not parse("a * 999999999 == a").holds({"a": "x" * 1000})


@given(st.text(max_size=60))
def test_any_text_is_a_constraint_or_refused(text: str) -> None:
    try:
        constraint = parse(text)
    except ConstraintError:
        return
    constraint.holds(dict.fromkeys(constraint.names, 1))


def test_several_constraints_hold_together_or_not_at_all() -> None:
    both = all_hold([parse("a > 0"), parse("b > 0")])
    assert both is not None
    assert both({"a": 1, "b": 1})
    assert not both({"a": 1, "b": 0})
    assert all_hold([]) is None
