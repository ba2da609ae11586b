"""The command line: parse, call, print.

Data goes to stdout, everything else to stderr. What is heavy is imported where it is used, so that
`--help` answers at once.
"""

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from launcher import __version__
from launcher.errors import NotFoundError, ProteinSkyError, UsageError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from launcher.config import SweepConfig
    from launcher.coordinator import Watch
    from launcher.events import Command, Recorded
    from launcher.folder import SweepFolder
    from launcher.state import State
    from launcher.table import LiveView, PlainView

    View = LiveView | PlainView

EXIT_BUDGET = 5
EXIT_FAILURES = 6
EXIT_INTERRUPTED = 130

EXIT_CODES = """\b
Exit codes: 0 ok, 1 run-time failure, 2 usage or config, 3 no such sweep or trial,
4 another coordinator owns the sweep, 5 stopped by budget, 6 too many failures,
130 interrupted."""


class _Group(click.Group):
    """Shows commands in the order in which a sweep needs them, and errors as one message."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands as they were defined."""
        del ctx
        return list(self.commands)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or name the nearest one."""
        import difflib

        if args and args[0] not in self.commands and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], self.commands, 1)
            hint = f"did you mean {near[0]!r}?" if near else "see `protein-sky --help`"
            raise UsageError(f"no such command: {args[0]!r}", hint=hint)
        return super().resolve_command(ctx, args)


def main() -> NoReturn:
    """Run the command line; a ProteinSkyError becomes its message and its exit code."""
    try:
        code = cli(standalone_mode=False)
    except ProteinSkyError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted", err=True)
        sys.exit(EXIT_INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # `status | head` is no error
        sys.exit(0)
    sys.exit(code if isinstance(code, int) else 0)


@click.group(cls=_Group, epilog=EXIT_CODES, context_settings={"max_content_width": 100})
@click.version_option(__version__, prog_name="protein-sky")
def cli() -> None:
    """Hyperparameter sweeps on rented GPUs, or on this machine.

    Start with `protein-sky launch demo_sweep`.
    """


@cli.command()
@click.argument("config")
@click.argument("overrides", nargs=-1)
@click.option("--name", help="Name of the sweep; default: the file's `name`, or the file's name.")
@click.option("--cloud", help="Where trials run: local, simulated, or a cloud.")
@click.option("--trials", type=click.IntRange(min=1), help="Trials in all.")
@click.option("--parallel", type=click.IntRange(min=1), help="Trials at a time.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Override any value.")
@click.option("--yes", is_flag=True, help="Don't ask.")
def launch(
    config: str,
    overrides: tuple[str, ...],
    name: str | None,
    cloud: str | None,
    trials: int | None,
    parallel: int | None,
    settings: tuple[str, ...],
    yes: bool,
) -> int:
    """Start the sweep that CONFIG describes, or go on with it.

    CONFIG is a file or the name of a shipped sweep. Values can be overridden in both spellings:
    `--set trainer.num_workers=1`, and bare `trainer.num_workers=1 +hardware=macbook`.
    """
    from launcher import config as config_module
    from launcher.folder import SweepFolder

    given = {"name": name, "execution.cloud": cloud, "trials": trials, "parallel": parallel}
    flags = [f"{key}={value}" for key, value in given.items() if value is not None]
    loaded = config_module.load(config, overrides=[*overrides, *settings, *flags])
    return _run(SweepFolder.of(loaded.name), loaded, is_asking=not yes)


@cli.command()
@click.argument("name", required=False)
@click.option("--yes", is_flag=True, help="Don't ask.")
def resume(name: str | None, yes: bool) -> int:
    """Go on with a sweep that was interrupted, paused, stopped or cancelled."""
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
    return _run(folder, from_mapping(state.config), is_asking=not yes)


@cli.command()
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="One JSON document (see docs/status.md).")
@click.option("--watch", is_flag=True, help="Keep the view up to date until the sweep rests.")
def status(name: str | None, as_json: bool, watch: bool) -> int:
    """Show where a sweep stands; without a name, the latest."""
    from launcher.folder import find

    folder = find(name)
    if as_json:
        click.echo(json.dumps(_document(folder), indent=2, allow_nan=False))
        return 0
    if watch:
        return _watch(folder)
    from launcher.table import Screen, Spoken

    _console().print(Spoken(Screen(_document(folder))))
    return 0


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def ls(as_json: bool) -> int:
    """List the sweeps of this train_dir, the latest last."""
    from launcher.folder import all_sweeps, train_dir
    from launcher.status import SCHEMA_VERSION

    rows: list[dict[str, Any]] = []
    for folder in all_sweeps():
        try:
            document = _document(folder)
        except ProteinSkyError as error:
            rows.append({"sweep": folder.name, "state": "unreadable", "error": error.message})
            continue
        best = document["best"]
        rows.append(
            {
                "sweep": folder.name,
                "state": document["state"],
                "trials": document["counts"],
                "best": best["score"] if best else None,
                "metric": document["metric"],
            }
        )
    if as_json:
        click.echo(json.dumps({"schema_version": SCHEMA_VERSION, "sweeps": rows}, indent=2))
        return 0
    if not rows:
        click.echo(f"no sweeps under {train_dir() / 'sweep'}", err=True)
        click.echo("  hint: start one: protein-sky launch demo_sweep", err=True)
        return 0
    _console().print(_sweeps_table(rows))
    return 0


@cli.command()
@click.argument("name")
@click.argument("trial", type=click.IntRange(min=1))
@click.option("-f", "--follow", is_flag=True, help="Keep printing as the log grows.")
def logs(name: str, trial: int, follow: bool) -> int:
    """Print the log of TRIAL (its number) of the sweep NAME, all attempts."""
    from launcher import sweep
    from launcher.folder import find

    folder = find(name)
    state = sweep.read(folder)
    if trial not in state.trials:
        raise NotFoundError(
            f"sweep {name!r} has no trial {trial}", hint=f"it has trials 1 to {len(state.trials)}"
        )
    path = folder.run(state.trials[trial].run_id) / "train.log"
    if not path.is_file() and not follow:
        raise NotFoundError(f"trial {trial} has written no log yet: {path}")
    _print_log(path, lambda: follow and not sweep.read(folder).trials[trial].state.is_over)
    return 0


@cli.command()
@click.argument("name", required=False)
@click.option("--yaml", "as_yaml", is_flag=True, help="Its parameters as YAML, to train with.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def best(name: str | None, as_yaml: bool, as_json: bool) -> int:
    """Show the best trial and its parameters."""
    from launcher.folder import find
    from launcher.status import SCHEMA_VERSION

    document = _document(find(name))
    found = document["best"]
    if found is None:
        raise NotFoundError(
            f"sweep {document['sweep']!r} has no scored trial yet",
            hint=f"see where it stands: protein-sky status {document['sweep']}",
        )
    if as_json:
        facts = {key: document[key] for key in ("sweep", "metric", "goal")}
        answer = {"schema_version": SCHEMA_VERSION, **facts, "best": found}
        click.echo(json.dumps(answer, indent=2, allow_nan=False))
    elif as_yaml:
        from launcher import yamlio
        from launcher.config import nested

        click.echo(yamlio.dump(nested(found["params"])), nl=False)
    else:
        from launcher.summary import best as best_renderable

        _console().print(best_renderable(document))
    return 0


@cli.command()
@click.argument("name", required=False)
@click.option("--open", "is_opening", is_flag=True, help="Open it in the browser.")
def report(name: str | None, is_opening: bool) -> int:
    """Write the sweep's HTML report, one file without network access, and print its path."""
    from launcher.folder import find

    folder = find(name)
    path = _write_report(folder)
    click.echo(str(path))
    if is_opening:
        click.launch(path.resolve().as_uri())
    return 0


@cli.command()
@click.argument("name", required=False)
def pause(name: str | None) -> int:
    """Start nothing new; what runs, runs. `resume` goes on."""
    from launcher.events import PauseRequested
    from launcher.inbox import new_command_id

    return _ask_of(name, PauseRequested(command_id=new_command_id()), "pauses")


@cli.command()
@click.argument("name", required=False)
def stop(name: str | None) -> int:
    """Let the running trials finish and start nothing new. `resume` goes on."""
    from launcher.events import StopRequested
    from launcher.inbox import new_command_id

    return _ask_of(name, StopRequested(new_command_id()), "stops when its running trials end")


@cli.command()
@click.argument("name", required=False)
def cancel(name: str | None) -> int:
    """End the running trials now and wait until each is gone."""
    from launcher.events import CancelRequested
    from launcher.inbox import new_command_id

    return _ask_of(name, CancelRequested(new_command_id()), "ends its trials")


@cli.command()
@click.argument("files", nargs=-1, required=True)
def validate(files: tuple[str, ...]) -> int:
    """Check sweep files; print every problem as file:line:column."""
    from launcher.config import check

    problems = [problem for file in files for problem in check(file)]
    for problem in problems:
        click.echo(str(problem), err=True)
    if problems:
        count = len(problems)
        click.echo(f"{count} problem{'s' if count > 1 else ''}", err=True)
        return UsageError.exit_code
    for file in files:
        click.echo(f"{file}: ok")
    return 0


def _run(folder: "SweepFolder", config: "SweepConfig", *, is_asking: bool) -> int:
    """Run a sweep in the foreground until it rests, then say how it went."""
    from launcher import sweep
    from launcher.state import Mode
    from launcher.table import view as view_on

    signal.signal(signal.SIGTERM, _interrupt)
    if folder.exists():
        state = sweep.read(folder)
        _refuse_another_config(folder, config, state)
        if state.mode is Mode.ENDED:
            return _conclude(folder)
    choice = "continue"
    while choice == "continue":
        try:
            with view_on(_console()) as view:
                sweep.run(folder, config, _showing(view))
            return _conclude(folder)
        except KeyboardInterrupt:
            choice = _ask_how_to_leave() if is_asking and sys.stdin.isatty() else "leave"
    if choice == "end":
        with view_on(_console()) as view:
            sweep.interrupt(folder, _showing(view))
        click.echo("The running trials were ended; they start again on resume.", err=True)
    else:
        click.echo("Running trials go on by themselves.", err=True)
    click.echo(f"  protein-sky resume {config.name}   go on", err=True)
    click.echo(f"  protein-sky status {config.name}   see where it stands", err=True)
    return EXIT_INTERRUPTED


def _showing(view: "View") -> "Watch":
    """Return a watcher that shows each new state."""
    from launcher import sweep
    from launcher.budget import Offer
    from launcher.config import from_mapping
    from launcher.status import document

    def watch(state: "State", _event: "Recorded | None") -> None:
        config, offer = from_mapping(state.config), Offer(parallel=sweep.usable_cores())
        view.update(document(config, state, offer=offer, now=time.time(), is_live=True))

    return watch


def _interrupt(_signum: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt


def _ask_how_to_leave() -> str:
    """Ask once what Ctrl-C meant; a second Ctrl-C leaves."""
    click.echo(
        "\nLeave the sweep? Running trials can go on by themselves, or end now;"
        " the same command resumes the sweep.",
        err=True,
    )
    answer: str = click.prompt(
        "[l]eave them running, [e]nd them, [c]ontinue watching",
        type=click.Choice(["l", "e", "c"]),
        default="l",
        show_choices=False,
        err=True,
    )
    return {"l": "leave", "e": "end", "c": "continue"}[answer]


def _refuse_another_config(folder: "SweepFolder", config: "SweepConfig", state: "State") -> None:
    """Refuse to go on with a sweep of this name under another config than its own."""
    from launcher.config import from_mapping

    recorded = from_mapping(state.config)
    differing = [
        key
        for key, value in config.to_mapping().items()
        if value != recorded.to_mapping().get(key) and key != "source"
    ]
    if differing:
        raise UsageError(
            f"sweep {folder.name!r} exists already, with another {', '.join(differing)}",
            hint=f"go on with it as it is: protein-sky resume {folder.name};"
            f" or start another: --name {folder.name}-2",
        )


def _conclude(folder: "SweepFolder") -> int:
    """Print the result, write the report, return the exit code of the sweep's end."""
    from launcher import sweep
    from launcher.events import EndReason
    from launcher.state import Mode
    from launcher.summary import summary

    state = sweep.read(folder)
    console = _console()
    console.print(summary(_document(folder)))
    try:
        console.print(f"\nreport: {_write_report(folder)}", soft_wrap=True)
    except ProteinSkyError as error:
        click.echo(f"no report: {error}", err=True)
    if state.end is EndReason.BUDGET:
        return EXIT_BUDGET
    if state.mode is Mode.PAUSED and state.reason:
        return EXIT_FAILURES
    return 0


def _watch(folder: "SweepFolder") -> int:
    """Show a sweep that another process runs, until it rests."""
    from launcher import sweep
    from launcher.table import view as view_on

    with view_on(_console()) as view:
        while True:
            view.update(_document(folder))
            if not sweep.is_live(folder):
                return 0
            time.sleep(1.0)


def _console() -> "Console":
    from rich.console import Console

    return Console(highlight=False)


def _sweeps_table(rows: Sequence[Mapping[str, Any]]) -> "Table":
    from rich.table import Table

    from launcher import formats

    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="dim")
    for header in ("sweep", "state", "trials", "best"):
        table.add_column(header)
    for row in rows:
        counts = row.get("trials")
        ended = f"{counts['succeeded'] + counts['failed']}/{counts['total']}" if counts else ""
        best = row.get("best")
        score = "" if best is None else f"{row['metric']} {formats.number(best)}"
        table.add_row(row["sweep"], row["state"], ended, row.get("error") or score)
    return table


def _document(folder: "SweepFolder") -> dict[str, Any]:
    from launcher import sweep
    from launcher.budget import Offer
    from launcher.config import from_mapping
    from launcher.status import document

    state = sweep.read(folder)
    return document(
        from_mapping(state.config),
        state,
        offer=Offer(parallel=sweep.usable_cores()),
        now=time.time(),
        is_live=sweep.is_live(folder),
    )


def _write_report(folder: "SweepFolder") -> Path:
    from launcher.report import write

    write(_document(folder), folder.report)
    return folder.report


def _ask_of(name: str | None, command: "Command", what: str) -> int:
    """Hand a request to the sweep's coordinator, or carry it out here when none lives."""
    from launcher import sweep
    from launcher.config import from_mapping
    from launcher.folder import find

    folder = find(name)
    if sweep.request(folder, command):
        click.echo(f"sweep {folder.name!r} {what}", err=True)
        return 0
    state = sweep.read(folder)
    if state.live_trials or state.open:
        return _run(folder, from_mapping(state.config), is_asking=False)
    click.echo(f"sweep {folder.name!r} {what}", err=True)
    return 0


def _print_log(path: Path, is_growing: Callable[[], bool]) -> None:
    """Copy a log to stdout, without what could drive the terminal, as long as it grows."""
    from launcher.trainlog import printable

    position = 0
    while True:
        more = is_growing()
        if path.is_file():
            with path.open("rb") as file:
                file.seek(position)
                for line in file:
                    position += len(line)
                    click.echo(printable(line.decode(errors="replace").rstrip("\n")))
        if not more:
            return
        time.sleep(0.5)
