"""launch and resume: run a sweep here, in the foreground or detached."""

import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import click

from launcher.cli.common import (
    EXIT_BUDGET,
    EXIT_FAILURES,
    EXIT_INTERRUPTED,
    Interrupt,
    confirm,
    console,
    name_or_latest,
    write_report,
    yes,
)
from launcher.cli.common import document as current_document
from launcher.cli.options import given, sweep_options
from launcher.cli.plan import plan_of, print_plan
from launcher.cli.work import work
from launcher.errors import LockedError, ProteinSkyError, UsageError
from launcher.executors.place import by_hand

if TYPE_CHECKING:
    from launcher.config import SweepConfig
    from launcher.events import Recorded
    from launcher.folder import SweepFolder
    from launcher.pages.table import LiveView, PlainView
    from launcher.state import State

detach = click.option("--detach", is_flag=True, help="Go on in the background.")


@click.command()
@sweep_options
@click.option("--dry-run", is_flag=True, help="Show the plan and start nothing, as `plan` does.")
@click.option("--json", "as_json", is_flag=True, help="With --dry-run: one JSON document.")
@detach
@yes
def launch(
    config: str,
    overrides: tuple[str, ...],
    settings: tuple[str, ...],
    dry_run: bool,
    as_json: bool,
    detach: bool,
    yes: bool,
) -> int:
    """Start the sweep that CONFIG describes, or go on with it.

    CONFIG is a file or the name of a shipped sweep. Values can be overridden in both spellings:
    `--set trainer.num_workers=1`, and bare `trainer.num_workers=1 +hardware=macbook`. On machines
    that cost money it shows its plan and asks, unless --yes.
    """
    from launcher.config import load
    from launcher.folder import SweepFolder

    loaded = load(config, overrides=given(overrides, settings))
    if as_json and not dry_run:
        raise UsageError("--json goes with --dry-run", hint="status --json follows a sweep")
    if dry_run:
        print_plan(plan_of(loaded), as_json=as_json)
        return 0
    folder = SweepFolder.of(loaded.name)
    place = by_hand(os.environ)
    if place is not None and place.is_worker:
        return work(folder, loaded, place)
    if folder.exists():
        _refuse_another_config(folder, loaded)
    else:
        _ask_before_paying(loaded, is_sure=yes)
    if detach:
        return _detach(folder, loaded)
    return run(folder, loaded, is_asking=not yes)


def _ask_before_paying(config: "SweepConfig", *, is_sure: bool) -> None:
    """Show what a new sweep takes on other machines, and ask.

    Raises UsageError where nobody can answer: money is spent on a yes only.
    """
    from launcher import sweep
    from launcher.pages.plan import lines

    if not sweep.is_elsewhere(config):
        return
    sweep.check_can_start(config)
    for line in lines(plan_of(config), is_short=True):
        click.echo(line, err=True)
    confirm(f"Start {config.name} on {config.execution.cloud}?", is_sure=is_sure)


@click.command()
@name_or_latest
@detach
@yes
def resume(name: str | None, detach: bool, yes: bool) -> int:
    """Go on with an interrupted, paused or stopped sweep."""
    from launcher import inbox, sweep
    from launcher.config import from_mapping
    from launcher.events import ResumeRequested
    from launcher.folder import find
    from launcher.state import Mode

    folder = find(name)
    state = sweep.read(folder)
    if state.mode is not Mode.ACTIVE:
        sweep.request(folder, ResumeRequested(inbox.new_command_id()))
    if sweep.is_live(folder):
        click.echo(f"sweep {folder.name!r} goes on under its coordinator", err=True)
        return 0
    config = from_mapping(state.config)
    if detach:
        return _detach(folder, config)
    return run(folder, config, is_asking=not yes)


COMMANDS = (launch, resume)


def run(folder: "SweepFolder", config: "SweepConfig", *, is_asking: bool) -> int:
    """Run a sweep in the foreground until it rests, then say how it went."""
    from launcher import sweep
    from launcher.pages.table import view as view_on
    from launcher.state import Mode

    interrupt = Interrupt()
    if folder.exists():
        state = sweep.read(folder)
        if state.mode is Mode.ENDED or (state.mode is Mode.PAUSED and not state.live):
            _offer_to_go_on(folder.name, state)
            return _conclude(folder)
    choice = "continue"
    while choice == "continue":
        try:
            with view_on(console()) as view:
                showing = _Showing(folder, view, interrupt)
                sweep.run(folder, config, showing, _notice)
                showing.show()
            return _conclude(folder)
        except KeyboardInterrupt:
            interrupt.is_pending = False
            choice = _ask_how_to_leave() if is_asking and sys.stdin.isatty() else "leave"
    if choice == "end":
        with view_on(console()) as view:
            sweep.interrupt(folder, _Showing(folder, view, interrupt))
        click.echo("The running trials were ended; they start again on resume.", err=True)
    else:
        click.echo("Running trials go on by themselves.", err=True)
    click.echo(f"  protein-sky resume {config.name}   go on", err=True)
    click.echo(f"  protein-sky status {config.name}   see where it stands", err=True)
    return EXIT_INTERRUPTED


def _offer_to_go_on(name: str, state: "State") -> None:
    """Say why nothing starts in a sweep that rests, and what would make it go on."""
    from launcher.events import EndReason
    from launcher.state import Mode

    if state.mode is Mode.PAUSED:
        click.echo(f"sweep {name!r} is paused; this is how it stands", err=True)
    else:
        click.echo(f"sweep {name!r} has ended already; this is its result", err=True)
    if state.end is EndReason.COMPLETED:
        click.echo(f"  more trials: protein-sky extend {name} --trials N", err=True)
    elif state.end is not EndReason.BUDGET:  # the summary below says what that one needs
        click.echo(f"  go on: protein-sky resume {name}", err=True)
    click.echo("  another run: add --name OTHER", err=True)


def _notice(text: str) -> None:
    click.echo(text, err=True)


class _Showing:
    """A watcher that shows the state, at most so often as people can look.

    A look at thousands of trials takes its time: it gets a tenth of all.

    Nothing is lost in between: a view tells everything that has changed since it last looked.
    """

    def __init__(
        self, folder: "SweepFolder", view: "LiveView | PlainView", interrupt: Interrupt
    ) -> None:
        self._folder = folder
        self._view = view
        self._interrupt = interrupt
        self._next_at = 0.0
        self._latest: State | None = None

    def __call__(self, state: "State", _event: "Recorded | None") -> None:
        self._interrupt.check()
        self._latest = state
        if time.monotonic() >= self._next_at:
            self.show()

    def show(self) -> None:
        """Show the latest state now."""
        from launcher import sweep
        from launcher.config import from_mapping
        from launcher.pages.status import document

        if self._latest is not None:
            began = time.monotonic()
            config = from_mapping(self._latest.config)
            offer = sweep.offer_of(self._folder, config)
            now = time.time()
            self._view.update(document(config, self._latest, offer=offer, now=now, is_live=True))
            took = time.monotonic() - began
            self._next_at = began + max(SECONDS_BETWEEN_LOOKS, 10 * took)


SECONDS_BETWEEN_LOOKS = 0.2


def _ask_how_to_leave() -> str:
    """Ask once what Ctrl-C meant; a second Ctrl-C leaves."""
    click.echo(
        "\nLeave the sweep? Running trials can go on by themselves, or end now;"
        " the same command resumes the sweep.",
        err=True,
    )
    try:
        answer: str = click.prompt(
            "[l]eave them running, [e]nd them, [c]ontinue watching",
            type=click.Choice(["l", "e", "c"]),
            default="l",
            show_choices=False,
            err=True,
        )
    except (click.Abort, KeyboardInterrupt):
        return "leave"
    return {"l": "leave", "e": "end", "c": "continue"}[answer]


def _refuse_another_config(folder: "SweepFolder", config: "SweepConfig") -> None:
    """Refuse to go on with a sweep of this name under another config than its own."""
    from launcher import sweep
    from launcher.config import from_mapping
    from launcher.edits import differences

    if sweep.is_live(folder):
        raise LockedError(
            f"sweep {folder.name!r} is running already",
            hint=f"watch it: protein-sky status {folder.name} --watch",
        )
    recorded = from_mapping(sweep.read(folder).config)
    changed = differences(recorded, config)
    if changed:
        lines = [f"  {key}: {old!r} there, {new!r} here" for key, old, new in changed[:8]]
        raise UsageError(
            "\n".join([f"sweep {folder.name!r} exists already, with another config:", *lines]),
            hint=f"go on with it as it is: protein-sky resume {folder.name};"
            f" change it: protein-sky edit {folder.name}; or start another: --name OTHER",
        )


def _detach(folder: "SweepFolder", config: "SweepConfig") -> int:
    """Start a coordinator that outlives this terminal, and wait until it is at work."""
    from launcher import sweep, trainlog

    sweep.create(folder, config)
    log = folder.path / "coordinator.log"
    command = [sys.executable, "-m", "launcher", "resume", folder.name, "--yes"]
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    while not sweep.is_live(folder):
        if process.poll() is not None:
            if process.returncode == 0:
                break  # it was quicker than we looked
            last = "\n".join(trainlog.last_lines(log, 5))
            raise ProteinSkyError(f"the coordinator did not start:\n{last}", hint=f"see {log}")
        time.sleep(0.05)
    click.echo(f"sweep {folder.name!r} runs in the background (pid {process.pid})", err=True)
    click.echo(f"  protein-sky status {folder.name} --watch   follow it", err=True)
    click.echo(f"  protein-sky stop {folder.name}             end it after its trials", err=True)
    return 0


def _conclude(folder: "SweepFolder") -> int:
    """Print the result, write the report, return the exit code of the sweep's end."""
    from launcher import sweep
    from launcher.events import EndReason
    from launcher.pages.summary import summary
    from launcher.state import Mode

    state = sweep.read(folder)
    terminal = console()
    terminal.print(summary(current_document(folder)))
    try:
        terminal.print(f"\nreport: {write_report(folder)}", soft_wrap=True)
    except ProteinSkyError as error:
        click.echo(f"no report: {error}", err=True)
    if state.end is EndReason.BUDGET:
        return EXIT_BUDGET
    if state.mode is Mode.PAUSED and state.reason:
        return EXIT_FAILURES
    return 0
