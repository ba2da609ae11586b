"""What a job prints elsewhere, shown here."""

from pathlib import Path

from launcher.executors.skypilot.ledger import Entry, Ledger
from launcher.executors.skypilot.streaming import _Lines, entry_of, host_of


def test_lines_are_whole_and_without_our_own_words() -> None:
    shown: list[str] = []
    output = _Lines(shown.append)
    for piece in (
        "(trial, pid=7) one\n(trial, ",
        "pid=7) two\nPROTEIN_SKY_FILES abc\n",
        "\x1b[2Jx",
    ):
        output.write(piece)
    output.close()
    output.close()
    assert shown == ["(trial, pid=7) one", "(trial, pid=7) two", "x"]


def test_a_jobs_machine_is_found_by_the_name_of_the_job(tmp_path: Path) -> None:
    Ledger(tmp_path / "sky").put(
        Entry("s-1-1", "s.1", 1, str(tmp_path), 0.0, "ps-s-w0", "request", 3)
    )
    entry = entry_of(tmp_path, "s-1-1")
    assert entry is not None
    assert host_of(entry) == "ps-s-w0"
    assert entry_of(tmp_path, "s-2-1") is None
