"""What several commands need."""

import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from launcher.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from launcher.folder import SweepFolder

EXIT_BUDGET = 5
EXIT_FAILURES = 6
EXIT_INTERRUPTED = 130

as_json = click.option("--json", "as_json", is_flag=True, help="One JSON document.")
yes = click.option("--yes", is_flag=True, help="Don't ask.")
name_or_latest = click.argument("name", required=False)


def console() -> "Console":
    """Return the terminal, or whatever stdout is."""
    from rich.console import Console

    return Console(highlight=False, file=sys.stdout)  # this one, also while SkyPilot is kept quiet


def document(folder: "SweepFolder") -> dict[str, Any]:
    """Return a sweep's status document as of now."""
    from launcher import reading
    from launcher.config import from_mapping
    from launcher.pages.status import document as status_document

    state = reading.read(folder)
    config = from_mapping(state.config)
    return status_document(
        config,
        state,
        offer=reading.offer_of(folder, config),
        now=time.time(),
        is_live=reading.is_live(folder),
    )


def as_text(document: dict[str, Any]) -> bytes:
    """Return a document as JSON for people and programs."""
    import msgspec

    return msgspec.json.format(msgspec.json.encode(document), indent=2)


def write_report(folder: "SweepFolder") -> Path:
    """Write the HTML report and return where it lies."""
    from launcher import sweep
    from launcher.config import from_mapping
    from launcher.optimizer import importances
    from launcher.pages.report import write

    state = sweep.read(folder)
    found = importances(from_mapping(state.config), state)
    shares = [{"parameter": one.parameter, "mean": one.mean, "sd": one.sd} for one in found]
    write({**document(folder), "importance": shares}, folder.report)
    return folder.report


class Interrupt:
    """From now on SIGTERM is a KeyboardInterrupt, as Ctrl-C is, and neither is lost.

    A library may swallow what is raised while it is being imported.
    """

    def __init__(self) -> None:
        self.is_pending = False
        for number in (signal.SIGTERM, signal.SIGINT):
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._note)

    def check(self) -> None:
        """Raise KeyboardInterrupt if a signal has come and nobody has heard of it."""
        if self.is_pending:
            raise KeyboardInterrupt

    def _note(self, _number: int, _frame: object) -> NoReturn:
        self.is_pending = True
        raise KeyboardInterrupt


def confirm(question: str, *, is_sure: bool) -> None:
    """Ask before something that cannot be undone.

    Raises UsageError where nobody can answer, click.Abort on a no.
    """
    if is_sure:
        return
    if not click.get_text_stream("stdin").isatty():
        raise UsageError(question, hint="nobody is there to answer: add --yes")
    click.confirm(question, abort=True, err=True)
