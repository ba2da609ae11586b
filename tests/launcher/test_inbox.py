"""Requests of other processes."""

import os
from pathlib import Path

from launcher import inbox
from launcher.events import PauseRequested


def test_requests_of_one_instant_are_read_in_their_order(tmp_path: Path) -> None:
    """Many file systems keep times to some milliseconds only."""
    asked = [PauseRequested(command_id=inbox.new_command_id()) for _ in range(20)]
    for command in asked:
        inbox.post(tmp_path, command)
    for file in tmp_path.iterdir():
        os.utime(file, (0, 0))
    assert [command for _, command in inbox.read(tmp_path)] == asked
