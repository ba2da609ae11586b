"""A frozen sequence counted from 1."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.numbered import Numbered


@given(st.lists(st.integers(0, 300), max_size=300), st.data())
def test_it_holds_what_a_list_would_and_no_copy_changes_another(
    values: list[int], data: st.DataObject
) -> None:
    kept = Numbered[int]()
    for number, value in enumerate(values, start=1):
        kept = kept.put(number, value)
    changes = data.draw(st.lists(st.integers(1, len(values)))) if values else []
    changed, expected = kept, list(values)
    for number in changes:
        changed, expected[number - 1] = changed.put(number, -number), -number
    assert list(kept) == values
    assert list(changed) == expected
    assert [changed[number] for number in range(1, len(changed) + 1)] == expected
    assert len(changed) == len(expected)
    assert (changed == kept) is (values == expected)


def test_a_number_that_is_not_there_is_told() -> None:
    kept = Numbered[str]().put(1, "a")
    assert (kept.get(1), kept.get(0), kept.get(2), 2 in kept) == ("a", None, None, False)
    for number in (0, 2, -1, 65):
        with pytest.raises(IndexError):
            kept[number]
    with pytest.raises(IndexError):
        kept.put(3, "c")
