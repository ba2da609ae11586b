"""Every error that a user can see, in one tree.

ProteinSkyError                exit code 1
├── UsageError                 2  the command line or a file is wrong; nothing was started
│   └── ConfigError            2  a sweep file is wrong: carries every Problem found
├── NotFoundError              3  no such sweep or trial
├── LockedError                4  another coordinator owns the sweep
├── JournalError               1  the sweep's database cannot be read or written
│   ├── DiskError              1  the disk refuses (full, read-only): what passes when it is mended
│   └── DamageError            1  the database is damaged: `doctor --restore` rebuilds it
└── ExecutorError              1  a job could not be started, asked about or ended
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


class ProteinSkyError(Exception):
    """What happened, where, and as `hint` what to do about it."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  hint: {self.hint}" if self.hint else self.message


class UsageError(ProteinSkyError):
    """The command line or a file is wrong; nothing was started."""

    exit_code = 2


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing wrong in one file. `line` and `column` count from 1; 0 means the whole file."""

    file: Path
    line: int
    column: int
    key: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}:{self.column}" if self.line else str(self.file)
        key = f" {self.key}:" if self.key else ""
        hint = f"\n  hint: {self.hint}" if self.hint else ""
        return f"{where}:{key} {self.message}{hint}"


class ConfigError(UsageError):
    """A sweep file is wrong. `problems` holds everything found, in the order of the file."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(sorted(problems))
        super().__init__("\n".join(str(problem) for problem in self.problems))


class NotFoundError(ProteinSkyError):
    """No such sweep or trial."""

    exit_code = 3


class LockedError(ProteinSkyError):
    """Another coordinator owns the sweep."""

    exit_code = 4


class JournalError(ProteinSkyError):
    """The sweep's database cannot be read or written."""


class DiskError(JournalError):
    """The disk refuses (full, read-only, failing): it may pass, so the coordinator waits."""


class DamageError(JournalError):
    """The database is damaged: its backup and the run folders can rebuild it."""


class ExecutorError(ProteinSkyError):
    """A job could not be started, asked about or ended."""
