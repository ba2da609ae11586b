"""Values as people read them."""

import pytest

from launcher.pages import formats


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "–"),
        (0.0, "0"),
        (-0.0, "0"),
        (-0.5, "-0.5"),
        (1e-7, "1e-07"),
        (123456.7, "123,457"),
        (1e300, "1e+300"),
        (float("nan"), "nan"),
    ],
)
def test_a_number_is_short(value: float | None, shown: str) -> None:
    assert formats.number(value) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (None, "–"),
        (0.42, "0.42 s"),
        (6.2, "6.2 s"),
        (59.4, "59 s"),
        (185, "3 min 05 s"),
        (7800, "2 h 10 min"),
        (3 * 86400 + 4 * 3600, "3 d 04 h"),
    ],
)
def test_a_duration_is_said_as_people_say_it(seconds: float | None, shown: str) -> None:
    assert formats.duration(seconds) == shown
