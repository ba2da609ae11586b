"""The command line: parse, call, print.

Data goes to stdout, everything else to stderr. What is heavy is imported where it is used, so that
`--help` answers at once.
"""

import gc
import os
import sys
from typing import NoReturn

import click

from launcher import __version__
from launcher.cli import care, change, plan, run, show
from launcher.cli.common import EXIT_INTERRUPTED
from launcher.errors import ProteinSkyError, UsageError

EXIT_CODES = """\b
Exit codes: 0 ok, 1 run-time failure, 2 usage or config, 3 no such sweep or trial,
4 another coordinator owns the sweep, 5 stopped by budget, 6 too many failures,
130 interrupted."""


class _Group(click.Group):
    """Shows commands in the order in which a sweep needs them, and names the nearest one."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands as they were added."""
        del ctx
        return list(self.commands)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command.

        Raises UsageError with the nearest spelling.
        """
        import difflib

        if args and args[0] not in self.commands and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], self.commands, 1)
            hint = f"did you mean {near[0]!r}?" if near else "see `protein-sky --help`"
            raise UsageError(f"no such command: {args[0]!r}", hint=hint)
        return super().resolve_command(ctx, args)


@click.group(cls=_Group, epilog=EXIT_CODES, context_settings={"max_content_width": 100})
@click.version_option(__version__, prog_name="protein-sky")
def cli() -> None:
    """Hyperparameter sweeps on rented GPUs, or on this machine.

    Start with `protein-sky launch demo_sweep`.
    """


for module in (run, plan, show, change, care):
    for command in module.COMMANDS:
        cli.add_command(command)


def main() -> NoReturn:
    """Run the command line; a ProteinSkyError becomes its message and its exit code."""
    gc.set_threshold(100_000, 50, 100)  # 10,000 trials are many objects, and all of them stay
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
