"""A log is cut by its headers and shown without what could fool a terminal."""

import unicodedata
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from launcher.trainlog import header, last_lines, of_attempt, plain, printable, tail

LINES = st.lists(st.text(st.characters(exclude_characters="\n"), max_size=10), max_size=5)


@given(st.lists(LINES, min_size=1, max_size=4))
def test_each_attempt_gets_its_own_lines_back(attempts: list[list[str]]) -> None:
    log: list[str] = []
    for number, lines in enumerate(attempts, 1):
        log += [header("run", number, "now"), *lines]
    for number, lines in enumerate(attempts, 1):
        assert of_attempt(log, number) == lines


def test_lines_before_the_first_header_in_sight_are_the_attempt_before() -> None:
    lines = ["cut", header("run", 3, "now"), "third"]
    assert of_attempt(lines, 2) == ["cut"]
    assert of_attempt(lines, 1) == []


def test_without_a_header_everything_is_this_attempts() -> None:
    assert of_attempt(["a", "b"], 5) == ["a", "b"]


def test_a_tail_starts_at_a_whole_line(tmp_path: Path) -> None:
    log = tmp_path / "train.log"
    log.write_bytes("ä1\nb2\nc3\n".encode())
    assert tail(log, 100) == ["ä1", "b2", "c3"]
    assert tail(log, 8) == ["b2", "c3"]
    assert tail(log, 0) == []
    assert tail(tmp_path / "none") == []


def test_bytes_that_are_no_text_are_replaced(tmp_path: Path) -> None:
    (tmp_path / "train.log").write_bytes(b"\xff\xfe ok\n")
    assert last_lines(tmp_path / "train.log", 1) == ["\ufffd\ufffd ok"]


def test_no_line_is_asked_for_none_is_given(tmp_path: Path) -> None:
    (tmp_path / "train.log").write_text("a\nb\n")
    assert last_lines(tmp_path / "train.log", 0) == []
    assert last_lines(tmp_path / "train.log", 1) == ["b"]


def test_a_progress_bar_is_shown_as_it_stood_last() -> None:
    assert printable(" 10%|█\r 50%|███\r100%|█████\r") == "100%|█████"


def test_colours_titles_and_links_are_taken_off() -> None:
    dressed = "\x1b[1;31mred\x1b[0m \x1b]0;title\x07and \x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\"
    assert plain(dressed) == "red and link"


@given(st.text())
def test_nothing_printable_moves_a_cursor(text: str) -> None:
    shown = printable(text)
    assert not [c for c in shown if unicodedata.category(c) == "Cc" and c != "\t"]
    assert "\u202e" not in shown
