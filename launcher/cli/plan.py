"""plan: what a sweep would take, starting nothing."""

import json
import time
from typing import TYPE_CHECKING, Any

import click

from launcher.cli.common import as_json
from launcher.cli.options import given, sweep_options

if TYPE_CHECKING:
    from launcher.config import SweepConfig

hours_per_trial = click.option(
    "--hours-per-trial",
    type=click.FloatRange(min=0, min_open=True),
    help="How long a trial takes; default: as the sweep's trials took, else its timeout.",
)


@click.command()
@sweep_options
@hours_per_trial
@as_json
def plan(
    config: str,
    overrides: tuple[str, ...],
    settings: tuple[str, ...],
    hours_per_trial: float | None,
    as_json: bool,
) -> int:
    """Show machines, prices and what they come to; start nothing."""
    from launcher.config import load

    loaded = load(config, overrides=given(overrides, settings))
    print_plan(plan_of(loaded, hours_per_trial), as_json=as_json)
    return 0


COMMANDS = (plan,)


def plan_of(config: "SweepConfig", hours_per_trial: float | None = None) -> dict[str, Any]:
    """Return the plan of a sweep, as if it were launched now.

    Raises UsageError for what would keep it from starting on its cloud.
    """
    from launcher import clouds, sweep
    from launcher.folder import SweepFolder
    from launcher.pages.plan import document

    folder = SweepFolder.of(config.name)
    state = sweep.read(folder) if folder.exists() else None
    facts: dict[str, Any] = {}
    if sweep.is_elsewhere(config):
        facts["sent_bytes"] = sweep.check_elsewhere(config)
        facts["price"] = clouds.price_of(folder.path, config)
        facts["mode"] = clouds.placing_of(config)
    offer = sweep.offer_of(folder, config)
    now = time.time()
    return document(config, offer, state=state, hours_per_trial=hours_per_trial, now=now, **facts)


def print_plan(plan: dict[str, Any], *, as_json: bool) -> None:
    """Print a plan to stdout."""
    from launcher.pages.plan import lines

    if as_json:
        click.echo(json.dumps(plan, indent=2, allow_nan=False))
    else:
        click.echo("\n".join(lines(plan)))
