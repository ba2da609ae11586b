"""status, ls, logs, best and report: look at sweeps."""

import gc
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from launcher.cli.common import as_json, as_text, console, document, name_or_latest, write_report
from launcher.errors import NotFoundError, ProteinSkyError

if TYPE_CHECKING:
    from rich.table import Table

    from launcher.config import SweepConfig
    from launcher.executors.skypilot.ledger import Entry
    from launcher.folder import SweepFolder
    from launcher.state import Trial


@click.command()
@name_or_latest
@click.option("--json", "as_json", is_flag=True, help="One JSON document (see docs/status.md).")
@click.option("--watch", is_flag=True, help="Keep the view up to date until the sweep rests.")
def status(name: str | None, as_json: bool, watch: bool) -> int:
    """Show where a sweep stands; without NAME, the latest."""
    from launcher.folder import find

    folder = find(name)
    if watch and not as_json:
        _watch(folder)
        return 0
    gc.disable()  # 10,000 trials are many objects, and all of them stay until the end
    shown = document(folder)
    if as_json:
        click.echo(as_text(shown))
    else:
        from launcher.pages.table import Screen, Spoken

        console().print(Spoken(Screen(shown)))
    return 0


@click.command()
@as_json
def ls(as_json: bool) -> int:
    """List the sweeps of this train_dir, the latest last."""
    from launcher.folder import all_sweeps, lost_sweeps, train_dir
    from launcher.pages.status import SCHEMA_VERSION

    rows = [_row(folder) for folder in [*lost_sweeps(), *all_sweeps()]]
    if as_json:
        click.echo(json.dumps({"schema_version": SCHEMA_VERSION, "sweeps": rows}, indent=2))
    elif rows:
        console().print(_sweeps_table(rows))
    else:
        click.echo(f"no sweeps under {train_dir() / 'sweep'}", err=True)
        click.echo("  hint: start one: protein-sky launch demo_sweep", err=True)
    return 0


@click.command()
@click.argument("name")
@click.argument("trial", type=click.IntRange(min=1))
@click.option("-f", "--follow", is_flag=True, help="Keep printing as the log grows.")
def logs(name: str, trial: int, follow: bool) -> int:
    """Print the log of TRIAL (its number), all attempts."""
    from launcher import sweep
    from launcher.folder import find

    folder = find(name)
    found = sweep.read(folder).trials.get(trial)
    if found is None:
        raise NotFoundError(
            f"sweep {name!r} has no trial {trial}", hint=f"see: protein-sky status {name}"
        )
    path = folder.run(found.run_id) / "train.log"
    elsewhere = _on_skypilot(folder, found)
    if elsewhere is not None:
        from launcher.executors.skypilot.streaming import stream

        if path.is_file():
            _print_log(path, lambda: False)
        stream(elsewhere, click.echo, follow=follow)
        return 0
    if not path.is_file() and not follow:
        raise NotFoundError(f"trial {trial} has written no log yet: {path}")
    _print_log(path, lambda: follow and not sweep.read(folder).trials[trial].state.is_over)
    return 0


@click.command()
@click.argument("name")
@click.argument("trial", type=click.IntRange(min=1))
@click.argument("command", nargs=-1, type=click.UNPROCESSED)
def ssh(name: str, trial: int, command: tuple[str, ...]) -> int:
    """Open a shell on the machine of TRIAL (its number), or run COMMAND there.

    An option of COMMAND stands after `--`: protein-sky ssh demo 3 -- nvidia-smi -l
    """
    from launcher import sweep
    from launcher.folder import find

    folder = find(name)
    found = sweep.read(folder).trials.get(trial)
    elsewhere = None if found is None else _on_skypilot(folder, found)
    if elsewhere is None:
        raise NotFoundError(
            f"trial {trial} of sweep {name!r} runs on no other machine now",
            hint=f"see: protein-sky status {name}",
        )
    from launcher.executors.skypilot.streaming import host_of

    os.execvp("ssh", ["ssh", "--", host_of(elsewhere), *command])  # noqa: S606  ssh has the shell


def _on_skypilot(folder: "SweepFolder", trial: "Trial") -> "Entry | None":
    """Return where SkyPilot has the live attempt of a trial; None: it has not."""
    from launcher.executors.skypilot.streaming import entry_of

    attempt = trial.attempt
    if attempt is None or attempt.is_over:
        return None
    entry = entry_of(folder.path, attempt.job_name)
    return entry if entry is not None and entry.outcome is None else None


@click.command()
@name_or_latest
@click.option("--at-cost", type=click.FloatRange(min=0), help="Of trials that cost at most this.")
@click.option("--yaml", "as_yaml", is_flag=True, help="Its parameters as YAML, to train with.")
@as_json
def best(name: str | None, at_cost: float | None, as_yaml: bool, as_json: bool) -> int:
    """Show the trial that a repeat is expected to score best.

    It is the best by the optimizer's model of all trials, not the luckiest draw of the noise; its
    own score stands beside. `--at-cost 600` answers what to take if ten minutes are the limit. With
    two objectives it is the best trade-off: the trial that adds most to what their front beats.
    """
    from launcher import sweep
    from launcher.config import from_mapping
    from launcher.folder import find
    from launcher.optimizer import recommendation

    folder = find(name)
    state = sweep.read(folder)
    config = from_mapping(state.config)
    found = recommendation(config, state, at_cost=at_cost)
    if found is None:
        within = "" if at_cost is None else f" that cost at most {at_cost:g} s"
        raise NotFoundError(
            f"sweep {folder.name!r} has no scored trial{within} yet",
            hint=f"see where it stands: protein-sky status {folder.name}",
        )
    chosen = found.observation
    assert chosen.suggestion_id is not None  # the trial's number
    number = int(chosen.suggestion_id)
    facts: dict[str, Any] = {
        "number": number,
        "run_id": state.trials[number].run_id,
        "params": dict(chosen.params),
        "score": chosen.score,
        "expected_score": found.score,
        "expected_score_sd": found.score_sd,
        "cost_seconds": chosen.cost,
    }
    second = config.sweep.second_objective
    if second is not None:
        facts["second"] = state.trials[number].metrics[second.metric]
    if as_json:
        of = {"sweep": config.name, "metric": config.sweep.metric, "goal": config.sweep.goal}
        document = {"schema_version": 1, **of, "best": facts}
        click.echo(json.dumps(document, indent=2, allow_nan=False))
    elif as_yaml:
        from launcher.config import nested
        from launcher.sweepfile import yamlio

        click.echo(yamlio.dump(nested(facts["params"])), nl=False)
    else:
        _print_best(config, facts)
    return 0


@click.command()
@name_or_latest
@click.option("--open", "is_opening", is_flag=True, help="Open it in the browser.")
def report(name: str | None, is_opening: bool) -> int:
    """Write the HTML report, one self-contained file, and print its path."""
    from launcher.folder import find

    path = write_report(find(name))
    click.echo(str(path))
    if is_opening:
        click.launch(path.resolve().as_uri())
    return 0


COMMANDS = (status, ls, logs, ssh, best, report)


def _print_best(config: "SweepConfig", facts: Mapping[str, Any]) -> None:
    from launcher.pages import formats

    score, expected = formats.number(facts["score"], 6), formats.number(facts["expected_score"])
    click.echo(f"trial {facts['number']} of {config.name}: {config.sweep.metric} {score}")
    spread = formats.number(facts["expected_score_sd"], 2)
    click.echo(f"a repeat is expected to score {expected} ± {spread}")
    second = config.sweep.second_objective
    if second is not None:
        click.echo(f"{second.metric} {formats.number(facts['second'], 6)}")
    if facts["cost_seconds"] is not None:
        click.echo(f"cost {formats.duration(facts['cost_seconds'])}")
    width = max(len(name) for name in facts["params"])
    for key in facts["params"]:
        mark = "" if key in config.sweep.tuned else "  (fixed)"
        click.echo(f"  {key:<{width}}  {formats.value(facts['params'][key])}{mark}")
    click.echo(f"as YAML: protein-sky best {config.name} --yaml", err=True)


def _watch(folder: "SweepFolder") -> None:
    """Show a sweep that another process runs, until it rests."""
    from launcher import sweep
    from launcher.pages.table import view as view_on

    with view_on(console()) as view:
        while True:
            is_live = sweep.is_live(folder)
            view.update(document(folder))
            if not is_live:
                return
            time.sleep(1.0)


def _row(folder: "SweepFolder") -> dict[str, Any]:
    from launcher.folder import find

    try:
        shown = document(find(folder.name))
    except ProteinSkyError as error:
        return {"sweep": folder.name, "state": "unreadable", "error": error.message}
    best = shown["best"]
    return {
        "sweep": folder.name,
        "state": shown["state"],
        "counts": shown["counts"],
        "metric": shown["metric"],
        "best": best["score"] if best else None,
    }


def _sweeps_table(rows: Sequence[Mapping[str, Any]]) -> "Table":
    from rich.table import Table

    from launcher.pages import formats

    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="dim")
    for header in ("sweep", "state", "trials", "best"):
        table.add_column(header)
    for row in rows:
        counts, best = row.get("counts"), row.get("best")
        ended = (
            sum(counts[key] for key in ("succeeded", "stopped", "failed", "cancelled"))
            if counts
            else 0
        )
        trials = f"{ended}/{counts['total']}" if counts else ""
        score = "" if best is None else f"{row['metric']} {formats.number(best)}"
        table.add_row(row["sweep"], row["state"], trials, row.get("error") or score)
    return table


def _print_log(path: Path, is_growing: Callable[[], bool]) -> None:
    """Copy a log to stdout, without what could drive the terminal, as long as it grows."""
    from launcher.trainlog import printable

    position = 0
    while True:
        has_more = is_growing()
        if path.is_file():
            with path.open("rb") as file:
                file.seek(position)
                for line in file:
                    if has_more and not line.endswith(b"\n"):
                        break  # half a line: the rest is still to come
                    position += len(line)
                    click.echo(printable(line.decode(errors="replace").rstrip("\n")))
        if not has_more:
            return
        time.sleep(0.5)
