"""What changes a sweep file on the command line: the same options for `launch` and for `plan`."""

import json
import os
from collections.abc import Callable
from typing import Any

import click

from launcher.executors.place import by_hand

Decorator = Callable[[Any], Any]
_GIVEN = "launcher.given"


def _sets(key: str, *, is_text: bool = False) -> Callable[..., None]:
    """Return a callback that turns a flag's value into an override of the sweep file."""

    def callback(ctx: click.Context, _param: click.Parameter, value: Any) -> None:
        if value is None or value == ():
            return
        if isinstance(value, tuple):
            text = f"[{', '.join(value)}]"
        else:
            text = json.dumps(value) if is_text or isinstance(value, bool) else str(value)
        ctx.meta.setdefault(_GIVEN, []).append(f"{key}={text}")

    return callback


def _flag(*names: str, sets: str, is_text: bool = False, **settings: Any) -> Decorator:
    callback = _sets(sets, is_text=is_text)
    return click.option(*names, callback=callback, expose_value=False, **settings)


_COUNT = click.IntRange(min=1)
_OPTIONS: tuple[Decorator, ...] = (
    click.argument("config"),
    click.argument("overrides", nargs=-1),
    _flag("--name", sets="name", help="Name of the sweep; default: the file's `name`, or its own."),
    _flag("--cloud", sets="execution.cloud", help="Where trials run: local, simulated, a cloud."),
    _flag("--region", sets="execution.region", is_text=True, help="Where in the cloud."),
    _flag(
        "--infra",
        sets="execution.infra",
        is_text=True,
        help="Cloud and place: aws/us-east-1, k8s/ctx.",
    ),
    _flag("--gpus", sets="execution.gpus", is_text=True, help="Of one machine, such as A10G:1."),
    _flag("--nodes", sets="task.num_nodes", type=_COUNT, help="Machines of one trial."),
    _flag(
        "--spot/--on-demand",
        sets="execution.use_spot",
        default=None,
        help="Machines that may be taken away for less; default: as the resources say.",
    ),
    _flag("--trials", sets="trials", type=_COUNT, help="Trials in all."),
    _flag("--parallel", sets="parallel", type=_COUNT, help="Trials at a time."),
    _flag(
        "--warm-start",
        sets="sweep.warm_start",
        multiple=True,
        metavar="NAME",
        help="Learn from an earlier sweep.",
    ),
    click.option(
        "--set", "settings", multiple=True, metavar="KEY=VALUE", help="Override any value."
    ),
)


def sweep_options(command: Any) -> Any:
    """Give a command its CONFIG, overrides in both spellings, and the flags that mean some."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def given(overrides: tuple[str, ...], settings: tuple[str, ...]) -> list[str]:
    """Return all that the command line changes; a flag counts over `--set`, NUM_NODES over all.

    Raises UsageError if NODE_INDEX and NUM_NODES make no sense.
    """
    flags: list[str] = click.get_current_context().meta.get(_GIVEN, [])
    place = by_hand(os.environ)
    nodes = [] if place is None else [f"task.num_nodes={place.count}"]
    return [*overrides, *settings, *flags, *nodes]
