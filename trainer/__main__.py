"""The command line: `python -m trainer --config FILE [key=value …]`."""

import argparse
import os
import signal
import sys
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from trainer import parse
from trainer.errors import ConfigError, TrainerError
from trainer.signals import StopRequest


def main(arguments: Sequence[str] | None = None) -> int:
    """Parses, trains, writes; returns the exit code."""
    started = time.perf_counter()
    options = parser().parse_intermixed_args(arguments)
    try:
        file = options.check or options.config
        config = parse.load(file, options.overrides)
        if options.check:
            print(f"{file}: is valid")  # noqa: T201
            return 0
        check_installed("torch", "gymnasium")
        with StopRequest() as stop:
            from trainer.processes import count_processes, run_processes
            from trainer.run import run

            count = count_processes(config, os.environ)
            if count > 1:
                own = sys.argv[1:] if arguments is None else arguments
                return run_processes(count, own, stop=stop)
            return run(config.as_run(), started=started, stop=stop)
    except TrainerError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return error.exit_code
    except KeyboardInterrupt:
        print("error: ended by Ctrl-C, without a checkpoint", file=sys.stderr)  # noqa: T201
        return 128 + signal.SIGINT


def check_installed(*packages: str) -> None:
    """Raises ConfigError where one of them is missing: the launcher does without them."""
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"the trainer needs {' and '.join(missing)}, not installed for {sys.executable}",
            hint="pip install 'protein-sky[trainer]'",
        )


def parser() -> argparse.ArgumentParser:
    """The options; `--help` lists every key of the config with its sentence."""
    result = argparse.ArgumentParser(
        prog="python -m trainer",
        description="Train a policy with PPO and score it. Writes result.json and metrics.jsonl.",
        epilog=describe(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    result.add_argument("--config", type=Path, metavar="FILE", help="a YAML file of the keys below")
    result.add_argument("--check", type=Path, metavar="FILE", help="only check the file")
    result.add_argument("overrides", nargs="*", metavar="key=value", help="replaces the file's")
    return result


def describe() -> str:
    """Every key with its default and its sentence."""
    lines = ["keys of the config, with their defaults:"]
    for option in parse.options():
        default = "" if option.default is None else f" = {option.default}"
        lines.append(f"  {option.key}{default}\n      {option.rule.sentence}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
