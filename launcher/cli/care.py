"""validate, doctor, reap and sync: find out what is wrong, and clean up."""

import json

import click

from launcher.cli.common import as_json, confirm, name_or_latest, yes
from launcher.errors import UsageError


@click.command()
@click.argument("files", nargs=-1, required=True)
def validate(files: tuple[str, ...]) -> int:
    """Check sweep files; every problem as file:line:column."""
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


@click.command()
@name_or_latest
@click.option("--restore", is_flag=True, help="Rebuild a damaged database.")
@as_json
def doctor(name: str | None, restore: bool, as_json: bool) -> int:
    """Compare a sweep's ledger with what really runs."""
    from launcher import health, sweep
    from launcher.folder import SweepFolder

    if restore:
        if name is None:
            raise UsageError("say which sweep to restore")
        restored = sweep.restore(SweepFolder.of(name))
        click.echo(
            f"restored {restored.from_backup} events from the backup,"
            f" {restored.from_damaged} from the damaged file,"
            f" {restored.trials_from_folders} trials from run folders",
            err=True,
        )
        if restored.damaged is not None:
            click.echo(f"  the damaged file is {restored.damaged}", err=True)
        click.echo(f"  go on: protein-sky resume {name}", err=True)
        return 0
    findings = health.environment()
    if name is not None or health.has_sweeps():
        findings += health.of_named(name)
    if as_json:
        document = {"schema_version": 1, "findings": [f.to_mapping() for f in findings]}
        click.echo(json.dumps(document, indent=2))
    else:
        for finding in findings:
            click.echo(str(finding))
    return 1 if any(finding.level == "error" for finding in findings) else 0


@click.command()
@click.argument("name")
@yes
def reap(name: str, yes: bool) -> int:
    """End jobs that the sweep's ledger does not keep."""
    from launcher import health
    from launcher.folder import find

    folder = find(name)
    orphans = health.orphans(folder)
    if not orphans:
        click.echo("nothing to reap: what runs is the sweep's own", err=True)
        return 0
    for job in orphans:
        click.echo(job)
    confirm(f"End {len(orphans)} jobs?", is_sure=yes)
    health.reap(folder, orphans)
    click.echo(f"ended {len(orphans)} jobs", err=True)
    return 0


@click.command()
@name_or_latest
def sync(name: str | None) -> int:
    """Upload to W&B what trials logged offline, once."""
    from launcher import sweep
    from launcher.config import from_mapping
    from launcher.folder import find
    from launcher.wandb import sync as wandb_sync

    folder = find(name)
    state = sweep.read(folder)
    running = [trial.run_id for trial in state.live_trials]
    config = from_mapping(state.config)
    done = wandb_sync.sync(folder, config, state.sweep_id, running=running, progress=_progress)
    click.echo(f"{len(done.uploaded)} uploaded, {len(done.already)} had been before", err=True)
    for words, logs in (
        ("have nothing in them", done.empty),
        ("still grow: sync again when their trials have ended", done.running),
        ("could not be uploaded: sync again", done.failed),
    ):
        if logs:
            click.echo(f"{len(logs)} {words}", err=True)
    if done.message:
        click.echo(done.message, err=True)
    return 1 if done.failed else 0


def _progress(done: int, all_: int) -> None:
    click.echo(f"uploading to W&B: {done} of {all_} logs", err=True)


COMMANDS = (validate, doctor, reap, sync)
