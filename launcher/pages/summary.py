"""What a sweep found, for the terminal: the best, the Pareto front, a picture, what to do next."""

import shlex
from collections import Counter
from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from launcher.pages import formats
from launcher.pages.picture import Picture
from launcher.pages.status import Document
from launcher.pages.table import Spoken
from launcher.pages.wording import done, involves_money, money_parts, needs_resume, state_words

MAX_FRONT_ROWS = 8


def summary(document: Document) -> RenderableType:
    """Return the end of a `launch`, fit for any width."""
    parts: list[RenderableType] = [Text(), *_headline(document)]
    if document["best"] is None:
        parts += [Text(), *_why_nothing(document)]
    else:
        parts += [Text(), *_best(document), Text(), *_front(document)]
        if document["second_objective"] is not None:
            parts += [Text(), *_trade_offs(document)]
        parts += [Text(), Picture(document)]
    steps = next_steps(document)
    if steps:
        parts += [Text(), _steps(steps)]
    return Spoken(Group(*parts))


def _headline(document: Document) -> Iterator[Text]:
    counts = document["counts"]
    line = Text(formats.printable(document["sweep"]), style="bold")
    line.append(f" {state_words(document)}: ", style="not bold")
    facts = [formats.plural(done(document), "trial")]
    facts += [
        f"{counts[key]:,} {key}"
        for key in ("stopped", "failed", "cancelled", "running")
        if counts[key]
    ]
    facts.append(formats.duration(document["elapsed_seconds"]))
    line.append(", ".join(facts), style="not bold")
    yield line
    if involves_money(document):
        yield Text(", ".join(money_parts(document)))


def _best(document: Document) -> Iterator[RenderableType]:
    best = document["best"]
    line = Text("★ best ", style="bold green")
    line.append(f"{formats.printable(document['metric'])} {formats.number(best['score'], 6)}")
    cost = formats.duration(best["cost_seconds"])
    line.append(f"  trial {best['number']}, cost {cost}", style="not bold default")
    yield line
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2))
    for name in document["parameters"]:
        if name in best["params"]:
            value = formats.value(best["params"][name])
            table.add_row(Text(formats.printable(name)), Text(value, style="bold"))
    yield table


def _trade_offs(document: Document) -> Iterator[RenderableType]:
    second = document["second_objective"]
    metric, other = formats.printable(document["metric"]), formats.printable(second["metric"])
    yield Text(f"Trade-offs: no trial is better in {metric} without losing {other}", style="bold")
    short = formats.short_names(document["parameters"])
    table = Table(box=None, pad_edge=False, padding=(0, 2), header_style="dim", expand=True)
    for header in ("trial", metric, other):
        table.add_column(header, justify="right", no_wrap=True)
    table.add_column("parameters", no_wrap=True, overflow="ellipsis", ratio=1)
    for point in second["front"][:MAX_FRONT_ROWS]:
        table.add_row(
            str(point["number"]),
            formats.number(point["score"]),
            formats.number(point["second"]),
            Text(formats.params(point["params"], short), style="dim"),
        )
    yield table


def _front(document: Document) -> Iterator[RenderableType]:
    front = document["pareto_front"]
    yield Text("Pareto front: no trial is better at the same or a lower cost", style="bold")
    short = formats.short_names(document["parameters"])
    metric = formats.printable(document["metric"])
    table = Table(box=None, pad_edge=False, padding=(0, 2), header_style="dim", expand=True)
    for header in ("trial", metric, "cost"):
        table.add_column(header, justify="right", no_wrap=True)
    table.add_column("parameters", no_wrap=True, overflow="ellipsis", ratio=1)
    for point in front[-MAX_FRONT_ROWS:]:
        table.add_row(
            str(point["number"]),
            formats.number(point["score"]),
            formats.duration(point["cost_seconds"]),
            Text(formats.params(point["params"], short), style="dim"),
        )
    yield table
    if len(front) > MAX_FRONT_ROWS:
        yield Text(f"  … and {len(front) - MAX_FRONT_ROWS} cheaper ones", style="dim")


def _why_nothing(document: Document) -> Iterator[Text]:
    yield Text("No trial has a score.", style="bold")
    errors = [trial["error"] for trial in document["trials"] if trial["error"] is not None]
    reasons = Counter((formats.failure(e), formats.cause(e["message"])) for e in errors)
    for (failure, message), count in reasons.most_common(3):
        detail = f": {message}" if message else ""
        yield Text(f"  {formats.plural(count, 'trial')} {failure}{detail}")


def next_steps(document: Document) -> list[tuple[str, str]]:
    """Return commands that make sense now, and what each is for."""
    name = shlex.quote(document["sweep"])
    steps = []
    if needs_resume(document):
        steps.append((f"protein-sky resume {name}", "go on"))
    if document["state"] == "budget":
        left = formats.plural(document["counts"]["total"] - done(document), "trial")
        steps.append((_larger_budget(document), f"{left} left, with a larger budget"))
    if document["best"] is not None:
        steps.append((f"protein-sky best {name} --yaml", "the best parameters, to use elsewhere"))
        steps.append((f"protein-sky report {name}", "all trials and plots as one HTML file"))
    failed = next((t for t in document["trials"] if t["state"] == "failed"), None)
    if failed is not None:
        steps.append((f"protein-sky logs {name} {failed['number']}", "why a trial failed"))
        steps.append((f"protein-sky retry {name} --failed", "try the failed ones again"))
    return steps


def _larger_budget(document: Document) -> str:
    """Return the command that raises the limit on which a sweep ended."""
    name, limit = shlex.quote(document["sweep"]), document["reason"].split(" ")[0]
    options = {"budget.usd": "--budget-usd X", "budget.hours": "--hours H"}
    if limit in options:
        return f"protein-sky extend {name} {options[limit]}"
    return f"protein-sky edit {name} {limit}=H"


def _steps(steps: list[tuple[str, str]]) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 3, 0, 0))
    for command, purpose in steps:
        table.add_row(Text(command, style="cyan"), Text(purpose, style="dim"))
    return table
