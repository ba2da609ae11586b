"""train.log: how its attempts are marked, and how it is read without trusting it.

One file per trial holds the output of all its attempts. A header line stands before each.
"""

import os
import re
import stat
from collections.abc import Sequence
from pathlib import Path

TAIL_BYTES = 256 * 1024
LINE_CHARACTERS = 2000  # of a line shown to people

_HEADER = re.compile(r"=== protein-sky: attempt (\d+) of run ")
# CSI and OSC sequences, other two-character escapes, then any control character but tab.
_CONTROL = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)"
    r"|\x1b[@-Z\\-_]"
    r"|[\x00-\x08\x0a-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]"
)


def name(node: int) -> str:
    """Return the name of a node's log in the run folder."""
    return f"train.node{node}.log" if node else "train.log"


def header(run_id: str, attempt: int, when: str) -> str:
    """Return the line before the output of an attempt."""
    return f"=== protein-sky: attempt {attempt} of run {run_id}, {when} ==="


def tail(path: Path, limit: int = TAIL_BYTES) -> list[str]:
    """Return the whole lines among the last `limit` bytes; none if the file cannot be read."""
    data, whole = end_of(path, limit)
    lines = data.split(b"\n")
    if not whole:
        del lines[0]  # it may be half a line
    if lines and not lines[-1]:
        del lines[-1]
    return [line.decode("utf-8", "replace") for line in lines]


def end_of(path: Path, limit: int) -> tuple[bytes, bool]:
    """Return the last `limit` bytes of a regular file, and whether they are all of it.

    Anything else than a readable regular file is as good as an empty one; a pipe does not hang us.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return b"", True
    try:
        about = os.fstat(fd)
        if not stat.S_ISREG(about.st_mode):
            return b"", True
        start = max(0, about.st_size - limit)
        return os.pread(fd, limit, start), start == 0
    except OSError:
        return b"", True
    finally:
        os.close(fd)


def of_attempt(lines: Sequence[str], attempt: int) -> list[str]:
    """Return the lines of one attempt. Lines before any header belong to the attempt before it."""
    headers = [
        (at, int(match[1])) for at, line in enumerate(lines) if (match := _HEADER.match(line))
    ]
    if not headers:
        return list(lines)
    starts = [(0, headers[0][1] - 1), *((at + 1, number) for at, number in headers)]
    ends = [*(at for at, _ in headers), len(lines)]
    return [
        line
        for (start, number), stop in zip(starts, ends, strict=True)
        if number == attempt
        for line in lines[start:stop]
    ]


def has_attempt(path: Path, attempt: int) -> bool:
    """Whether an attempt's header stands among the end of the log."""
    return any((found := _HEADER.match(line)) and int(found[1]) == attempt for line in tail(path))


def last_lines(path: Path, count: int, *, attempt: int | None = None) -> list[str]:
    """Return the last lines for a person's terminal: no escapes, no control characters, cut."""
    lines = tail(path)
    if attempt is not None:
        lines = of_attempt(lines, attempt)
    return [printable(line) for line in lines[-count:]] if count > 0 else []


def printable(line: str) -> str:
    """Return what a person would see of a line: after its last carriage return, without escapes."""
    return plain(line.rstrip("\r").rpartition("\r")[2])[:LINE_CHARACTERS]


def plain(text: str) -> str:
    """Return a text without escape sequences, control and direction characters."""
    return _CONTROL.sub("", text)
