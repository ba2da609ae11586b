"""What jobs say of their ends, in a folder that their machines and we see."""

from pathlib import Path

from launcher.executors.skypilot.ledger import Entry
from launcher.executors.skypilot.words import OwnWords
from launcher.executors.skypilot.wrapping import over_file


def an_entry(run_id: str, *, attempt: int = 1, is_cancelled: bool = False) -> Entry:
    return Entry(
        name=f"{run_id}-{attempt}",
        run_id=run_id,
        attempt=attempt,
        run_dir="",
        asked_at=0.0,
        cluster="ps-w0",
        job_id=7,
        is_cancelled=is_cancelled,
    )


def test_a_job_whose_folder_is_not_seen_says_nothing(tmp_path: Path) -> None:
    assert OwnWords(str(tmp_path), lambda: 5.0).of([an_entry("a")]) == {}


def test_a_folder_that_cannot_be_looked_at_says_nothing(tmp_path: Path) -> None:
    too_long = str(tmp_path / ("x" * 300))
    assert OwnWords(too_long, lambda: 5.0).of([an_entry("a")]) == {}


def test_where_machines_have_a_place_of_their_own_nobody_looks(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    for storage in (None, f"~/{tmp_path.name}"):
        assert OwnWords(storage, lambda: 5.0).of([an_entry("a")]) == {}


def test_a_job_says_that_it_runs_and_then_since_when_it_is_over(tmp_path: Path) -> None:
    times = iter([5.0, 9.0])
    words = OwnWords(str(tmp_path), lambda: next(times))
    (tmp_path / "a").mkdir()
    assert words.of([an_entry("a")]) == {("ps-w0", 7): None}
    (tmp_path / "a" / over_file(1)).touch()
    assert words.of([an_entry("a")]) == {("ps-w0", 7): 5.0}
    assert words.of([an_entry("a")]) == {("ps-w0", 7): 5.0}
    assert words.of([an_entry("a", attempt=2)]) == {("ps-w0", 7): None}


def test_a_job_that_was_told_to_end_may_say_nothing_any_more(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    assert OwnWords(str(tmp_path), lambda: 5.0).of([an_entry("a", is_cancelled=True)]) == {}
