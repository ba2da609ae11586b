"""What a job prints elsewhere, shown here."""

import sys
from pathlib import Path

import pytest

from launcher.errors import ExecutorError
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


@pytest.fixture
def entry(tmp_path: Path) -> Entry:
    """A job on a cluster."""
    Ledger(tmp_path / "sky").put(
        Entry("s-1-1", "s.1", 1, str(tmp_path), 0.0, "ps-s-w0", request_id="request", job_id=3)
    )
    found = entry_of(tmp_path, "s-1-1")
    assert found is not None
    assert entry_of(tmp_path, "s-2-1") is None
    return found


@pytest.fixture
def sky_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What stands for SkyPilot's command, beside the interpreter."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setattr(sys, "executable", str(folder / "python"))
    command = folder / "sky"
    command.touch(mode=0o755)
    return command


def test_a_jobs_machine_is_found_once_skypilot_has_told_ssh_where_it_is(
    entry: Entry, sky_command: Path
) -> None:
    sky_command.write_text(f'#!/bin/sh\necho "$*" > {sky_command}.asked\n')
    assert host_of(entry) == "ps-s-w0"
    assert Path(f"{sky_command}.asked").read_text() == "status ps-s-w0\n"


def test_a_machine_of_which_skypilot_cannot_tell_is_not_named(
    entry: Entry, sky_command: Path
) -> None:
    sky_command.write_text("#!/bin/sh\necho no such server >&2\nexit 1\n")
    with pytest.raises(ExecutorError, match="no such server"):
        host_of(entry)
