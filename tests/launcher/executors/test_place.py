"""Which node a machine is, by the variables that a user sets."""

import pytest

from launcher.errors import UsageError
from launcher.executors.place import Place, by_hand


def test_nodes_are_what_the_user_says() -> None:
    said = {"NODE_INDEX": "1", "NUM_NODES": "3", "MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "29501"}
    assert by_hand(said) == Place(1, 3, "10.0.0.1", 29501)


def test_without_an_address_this_machine_has_one() -> None:
    place = by_hand({"NUM_NODES": "2"})
    assert place is not None
    assert (place.index, place.master_port, bool(place.master_addr)) == (0, None, True)


@pytest.mark.parametrize("said", [{}, {"NODE_INDEX": "0", "NUM_NODES": "1"}, {"NUM_NODES": ""}])
def test_a_machine_may_be_alone(said: dict[str, str]) -> None:
    assert by_hand(said) is None


@pytest.mark.parametrize(
    "said",
    [
        {"NODE_INDEX": "2", "NUM_NODES": "2"},
        {"NODE_INDEX": "1"},
        {"NODE_INDEX": "-1", "NUM_NODES": "2"},
        {"NUM_NODES": "two"},
        {"NUM_NODES": "²"},
        {"NUM_NODES": "0"},
        {"NUM_NODES": "2", "MASTER_PORT": "0"},
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused(said: dict[str, str]) -> None:
    with pytest.raises(UsageError, match=r"NODE_INDEX|NUM_NODES|MASTER_PORT"):
        by_hand(said)
