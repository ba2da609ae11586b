"""Every way in which a training run ends early, in one tree.

TrainerError                  exit code 1
├── ConfigError               2   the config file, an override or the machine does not fit
├── DivergedError             3   the loss is no longer a number: these parameters do not train
├── InterruptedRunError       75  a signal came, the checkpoint is written: start again
├── OutputError               75  the disk is full or not ours: no fault of the parameters
└── LostRanksError            75  the other machines are gone: start all again, from the checkpoint
"""

from collections.abc import Sequence
from dataclasses import dataclass


class TrainerError(Exception):
    """What happened, where, and as `hint` what to do about it."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  hint: {self.hint}" if self.hint else self.message


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing wrong in a config. `where` is file:line:column, or the override as typed."""

    where: str
    key: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        hint = f"\n  hint: {self.hint}" if self.hint else ""
        return f"{self.where}: {self.key}: {self.message}{hint}"


class ConfigError(TrainerError):
    """The config file, an override or the machine does not fit."""

    exit_code = 2

    @classmethod
    def of(cls, problems: Sequence[Problem]) -> "ConfigError":
        """All problems of one config, in the order in which they were found."""
        return cls("\n".join(str(problem) for problem in problems))


class DivergedError(TrainerError):
    """The loss is no longer a number: these parameters do not train."""

    exit_code = 3


class InterruptedRunError(TrainerError):
    """A signal came, the checkpoint is written: start again."""

    exit_code = 75


class OutputError(TrainerError):
    """A file cannot be written: the machine's fault, what was trained since is lost."""

    exit_code = 75


class LostRanksError(TrainerError):
    """The other ranks are gone; what ended them is told by them, or was no fault of the run."""

    exit_code = 75
