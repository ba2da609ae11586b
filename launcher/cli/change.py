"""pause, stop, cancel, extend, enqueue, retry, edit and rm: ask something of a sweep."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from launcher.cli.common import confirm, name_or_latest, yes
from launcher.errors import UsageError

if TYPE_CHECKING:
    from launcher.config import SweepConfig
    from launcher.events import Command
    from launcher.folder import SweepFolder


@click.command()
@name_or_latest
def pause(name: str | None) -> int:
    """Start nothing new; what runs, runs."""
    from launcher.events import PauseRequested
    from launcher.inbox import new_command_id

    return _ask_of(name, PauseRequested(command_id=new_command_id()), "pauses")


@click.command()
@name_or_latest
def stop(name: str | None) -> int:
    """Let the running trials finish, then end."""
    from launcher.events import StopRequested
    from launcher.inbox import new_command_id

    return _ask_of(name, StopRequested(new_command_id()), "stops when its running trials end")


@click.command()
@name_or_latest
@yes
def cancel(name: str | None, yes: bool) -> int:
    """End the running trials now; wait until each is gone."""
    from launcher.events import CancelRequested
    from launcher.folder import find
    from launcher.inbox import new_command_id

    folder = find(name)
    confirm(f"End the running trials of sweep {folder.name!r}?", is_sure=yes)
    return _ask_of(folder.name, CancelRequested(new_command_id()), "ends its trials")


@click.command()
@click.argument("name")
@click.option("--trials", type=click.IntRange(min=1), help="Trials in all.")
@click.option("--budget-usd", type=click.FloatRange(min=0, min_open=True), help="Dollars in all.")
@click.option("--hours", type=click.FloatRange(min=0, min_open=True), help="Hours in all.")
def extend(name: str, trials: int | None, budget_usd: float | None, hours: float | None) -> int:
    """Give a sweep new totals, also after its end."""
    from launcher import sweep
    from launcher.config import from_mapping
    from launcher.edits import extended
    from launcher.folder import find

    if trials is None and budget_usd is None and hours is None:
        raise UsageError("nothing to extend", hint="give --trials, --budget-usd or --hours")
    folder = find(name)
    old = from_mapping(sweep.read(folder).config)
    new = extended(old, trials=trials, budget_usd=budget_usd, hours=hours)
    return _change(folder, old, new, "extend", is_sure=True)


@click.command()
@click.argument("name")
@click.argument("settings", nargs=-1, metavar="KEY=VALUE...")
@click.option("--config", type=click.Path(dir_okay=False), help="The whole sweep file, changed.")
@yes
def edit(name: str, settings: tuple[str, ...], config: str | None, yes: bool) -> int:
    """Change ranges, fixed values, parallelism or budget."""
    from launcher import sweep
    from launcher.config import from_mapping, load
    from launcher.edits import check_edit, with_defaults
    from launcher.folder import find

    if not settings and config is None:
        raise UsageError(
            "nothing to edit",
            hint="give KEY=VALUE, such as parallel=4 or sweep.parameters.x.max=2,"
            " or --config with the changed file",
        )
    folder = find(name)
    old = from_mapping(sweep.read(folder).config)
    if config is not None:
        new = load(config, overrides=[*settings, f"name={folder.name}"])
    else:
        new = _reloaded(old, settings)
    check_edit(old, new)
    new = with_defaults(old, new)
    return _change(folder, old, new, "edit", is_sure=yes)


@click.command()
@click.argument("name")
@click.argument("assignments", nargs=-1, metavar="PARAMETER=VALUE...")
@click.option("--params", type=click.Path(exists=True, dir_okay=False), help="A YAML file.")
def enqueue(name: str, assignments: tuple[str, ...], params: str | None) -> int:
    """Run your own parameters next."""
    from launcher import sweep
    from launcher.config import from_mapping
    from launcher.enqueueing import read_params
    from launcher.events import ParamsEnqueued
    from launcher.folder import find
    from launcher.inbox import new_command_id
    from launcher.state import Mode

    folder = find(name)
    state = sweep.read(folder)
    config = from_mapping(state.config)
    values, filled = read_params(config, params, assignments)
    for key in filled:
        click.echo(
            f"{key} was not given: {values[key]!r}, its default or the centre of its range",
            err=True,
        )
    total = len(state.trials) + len(state.queue) + 1
    is_live = sweep.request(folder, ParamsEnqueued(new_command_id(), values))
    is_going_on = is_live and state.mode is Mode.ACTIVE
    where = "it runs next" if is_going_on else f"it runs after: protein-sky resume {folder.name}"
    click.echo(f"queued {', '.join(f'{k}={v}' for k, v in values.items())}; {where}", err=True)
    if total > config.total_trials:
        click.echo(f"  no trial is left: protein-sky extend {name} --trials {total}", err=True)
    return 0


@click.command()
@click.argument("name")
@click.argument("trial", type=click.IntRange(min=1), required=False)
@click.option("--failed", is_flag=True, help="All trials that failed.")
def retry(name: str, trial: int | None, failed: bool) -> int:
    """Give a failed trial, or all, another attempt."""
    from launcher import sweep
    from launcher.events import TrialRetried
    from launcher.folder import find
    from launcher.inbox import new_command_id
    from launcher.state import Mode, TrialState

    if (trial is None) != failed:
        raise UsageError("say which trial, or --failed", hint=f"protein-sky retry {name} 3")
    folder = find(name)
    state = sweep.read(folder)
    numbers = (
        [t.number for t in state.ordered if t.state is TrialState.FAILED]
        if trial is None
        else [trial]
    )
    for number in numbers:
        sweep.request(folder, TrialRetried(number, new_command_id()))
    click.echo(f"{len(numbers)} trials to try again", err=True)
    if state.mode is not Mode.ACTIVE or not sweep.is_live(folder):
        click.echo(f"  go on: protein-sky resume {folder.name}", err=True)
    return 0


@click.command()
@click.argument("name")
@yes
def rm(name: str, yes: bool) -> int:
    """Delete a sweep with all its trials' files."""
    from launcher import sweep
    from launcher.folder import find

    folder = find(name)
    confirm(f"Delete {folder.path} with all its trials?", is_sure=yes)
    sweep.remove(folder)
    click.echo(f"deleted {folder.path}", err=True)
    return 0


COMMANDS = (pause, stop, cancel, extend, enqueue, retry, edit, rm)


def _ask_of(name: str | None, command: "Command", what: str) -> int:
    """Hand a request to the sweep's coordinator, or carry it out here when none lives."""
    from launcher import sweep
    from launcher.cli.run import run
    from launcher.config import from_mapping
    from launcher.folder import find

    folder = find(name)
    if sweep.request(folder, command):
        click.echo(f"sweep {folder.name!r} {what}", err=True)
        click.echo(f"  protein-sky resume {folder.name}   go on later", err=True)
        return 0
    return run(folder, from_mapping(sweep.read(folder).config), is_asking=False)


def _change(
    folder: "SweepFolder", old: "SweepConfig", new: "SweepConfig", note: str, *, is_sure: bool
) -> int:
    """Show what an edit changes and what becomes of old trials, ask, and hand it over."""
    from launcher import sweep
    from launcher.edits import differences, new_parameters, set_aside
    from launcher.events import SweepEdited
    from launcher.inbox import new_command_id
    from launcher.state import Mode

    changed = differences(old, new)
    if not changed:
        click.echo("nothing changes", err=True)
        return 0
    for key, before, after in changed:
        click.echo(f"{key}: {_shown(before)} -> {_shown(after)}")
    for name, default in new_parameters(old, new):
        click.echo(f"{name} is new: earlier trials count with {default!r}", err=True)
    state = sweep.read(folder)
    for number, reason in set_aside(new, state):
        click.echo(f"trial {number} teaches no more: {reason}")
    confirm("Change the sweep?", is_sure=is_sure)
    is_live = sweep.request(folder, SweepEdited(new.to_mapping(), note, new_command_id()))
    if is_live and state.mode is Mode.ACTIVE:
        click.echo(f"sweep {folder.name!r} goes on with it", err=True)
    else:
        click.echo(f"  go on: protein-sky resume {folder.name}", err=True)
    return 0


def _shown(value: Any) -> str:
    return "not given" if value is None else repr(value)


def _reloaded(old: "SweepConfig", settings: tuple[str, ...]) -> "SweepConfig":
    """Return a sweep's config with some values changed, checked as a file would be."""
    import tempfile

    from launcher.config import load
    from launcher.sweepfile import yamlio

    mapping = {k: v for k, v in old.to_mapping().items() if k != "source"}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{old.name}.yaml"
        path.write_text(yamlio.dump(mapping), encoding="utf-8")
        return load(path, overrides=settings)
