"""A sweep in the terminal: a live table, plain lines where nobody watches, a summary at the end.

Everything is made of the status document (`launcher.pages.status`). Every colour is also a word or
a symbol; rich keeps colours to itself under NO_COLOR and on dumb terminals.
"""

import shlex
import textwrap
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Literal, Self

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.live import Live
from rich.segment import Segment
from rich.table import Column, Table
from rich.text import Text

from launcher.pages import formats
from launcher.pages.status import Document
from launcher.pages.wording import (
    aim,
    changes,
    counts_words,
    involves_money,
    money_parts,
    needs_resume,
    state_word,
    state_words,
    time_words,
)

SYMBOLS = {
    "queued": ("○", "dim"),
    "starting": ("◌", "cyan"),
    "running": ("●", "cyan"),
    "succeeded": ("✓", "green"),
    "stopped": ("◁", "yellow"),
    "failed": ("✗", "red"),
    "cancelled": ("–", "dim"),
}
"""A trial's state as a symbol, and its colour."""

STATE_STYLES = {"running": "not bold cyan", "completed": "not bold green"}
EVENTS_SHOWN = 4
MAX_ROWS_ON_PAPER = 40
"""Trials shown where no terminal's height says how many."""


class LiveView:
    """The sweep's table, drawn anew by each `update`. Use as a context manager."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False, vertical_overflow="crop")
        self._before: Document | None = None
        self._events: deque[str] = deque(maxlen=EVENTS_SHOWN)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._live.stop()

    def update(self, document: Document) -> None:
        """Show how the sweep stands now."""
        if self._before is not None:
            self._events.extend(changes(self._before, document))
        self._before = document
        self._live.update(Spoken(Screen(document, tuple(self._events))), refresh=True)


class PlainView:
    """One line per thing that happened. Use as a context manager."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._before: Document | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        pass

    def update(self, document: Document) -> None:
        """Print what is new since the last update."""
        for line in changes(self._before, document):
            self._console.print(Spoken(Text(line)), soft_wrap=True)
        self._before = document


def view(console: Console) -> LiveView | PlainView:
    """Return the view that fits the console: live on a terminal, else plain lines."""
    is_live = console.is_terminal and not console.is_dumb_terminal
    return LiveView(console) if is_live else PlainView(console)


class Screen:
    """The table with its header and last events, for whatever width and height there is.

    `rows` fixes the number of trials shown; None: as many as the console is high.
    """

    def __init__(
        self, document: Document, events: tuple[str, ...] = (), *, rows: int | None = None
    ) -> None:
        self.document = document
        self.events = events
        self.rows = rows

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Lay it out."""
        document = self.document
        width = options.max_width
        header = list(_header(document, width))
        below = self.events or tuple(_last_words(document))
        shown = interesting(document, self._room(console, len(header) + len(below)))
        table, left_out = _table(document, shown, width)
        yield from header
        yield Text()
        if shown:
            yield table
        yield _line(_not_shown(document, len(shown), left_out), style="dim")
        for line in below:
            yield _line(line, style="dim")

    def _room(self, console: Console, taken: int) -> int:
        if self.rows is not None:
            return self.rows
        if not console.is_terminal:
            return MAX_ROWS_ON_PAPER
        around = taken + 1 + TABLE_HEAD_LINES + 1 + 1
        return max(1, console.size.height - around)


TABLE_HEAD_LINES = 2
LOG_LINES = 3


def _last_words(document: Document) -> Iterator[str]:
    """Yield the end of the log of the trial that failed last."""
    failed = [t for t in document["trials"] if t["state"] == "failed" and t["ended_at"] is not None]
    if not failed:
        return
    trial = max(failed, key=lambda trial: float(trial["ended_at"]))
    first, *log = trial["error"]["message"].splitlines() or [""]
    if log:
        yield f"trial {trial['number']}, {formats.printable(first)}:"
        yield from (f"    {formats.printable(line)}" for line in log[-LOG_LINES:])


@dataclass(frozen=True, slots=True)
class Spoken:
    """A renderable in characters that the terminal has: in ASCII where it knows nothing else."""

    inside: RenderableType

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Render, and translate what cannot be shown."""
        segments = console.render(self.inside, options)
        if not options.ascii_only:
            yield from segments
            return
        for text, style, control in segments:
            yield Segment(formats.ascii_only(text), style, control)


def interesting(document: Document, rows: int) -> list[dict[str, Any]]:
    """Return at most `rows` trials by number: live ones, the best, the latest to end, the next."""
    trials = document["trials"]
    if len(trials) <= rows:
        return list(trials)
    best = None if document["best"] is None else document["best"]["number"]

    def rank(trial: dict[str, Any]) -> tuple[int, float, int]:
        number = trial["number"]
        if trial["state"] in ("starting", "running"):
            return 0, 0, number
        if number == best:
            return 1, 0, number
        if trial["ended_at"] is not None:
            return 2, -trial["ended_at"], -number
        return 3, 0, number

    return sorted(sorted(trials, key=rank)[:rows], key=lambda trial: int(trial["number"]))


def _header(document: Document, width: int) -> Iterator[Text]:
    state = document["state"]
    name = Text(formats.printable(document["sweep"]), style="bold")
    style, words, why = STATE_STYLES.get(state, "not bold yellow"), state_words(document), ""
    if name.cell_len + 2 + len(words) > width:
        words, why = state_word(document), formats.printable(document["reason"])
    name.append(f"  {words}", style=style)
    yield from _packed([name, *map(Text, [counts_words(document), time_words(document)])], width)
    yield from (_line(line, style=style) for line in textwrap.wrap(why, width))
    best = document["best"]
    if best is None:
        yield _line(f"{aim(document)}: no score yet", style="dim")
    else:
        line = _line(f"{aim(document)}: best ")
        line.append(f"{formats.number(best['score'])} ★", style="bold green")
        line.append(f" at {formats.duration(best['cost_seconds'])} (trial {best['number']})")
        yield line
    if involves_money(document):
        yield from _packed([Text(part) for part in money_parts(document)], width)
    if needs_resume(document):
        name_ = shlex.quote(document["sweep"])
        yield _line(f"go on with: protein-sky resume {name_}", style="yellow")


def _line(text: str = "", *, style: str = "") -> Text:
    return Text(text, style=style, no_wrap=True, overflow="ellipsis")


def _packed(parts: list[Text], width: int) -> Iterator[Text]:
    """Join parts to lines no wider than the terminal."""
    line = _line()
    for part in parts:
        if line.cell_len and line.cell_len + 2 + part.cell_len > width:
            yield line
            line = _line()
        line.append("  " if line.cell_len else "").append_text(part)
    yield line


def _table(document: Document, trials: list[dict[str, Any]], width: int) -> tuple[Table, int]:
    """Return the table, and how many tuned parameters found no room in it."""
    front = {point["number"] for point in document["pareto_front"]}
    left = [
        _column("#", [str(trial["number"]) for trial in trials], justify="right"),
        _column("state", [_state_cell(trial) for trial in trials]),
    ]
    right = [
        _column(document["metric"], [_score_cell(t, document) for t in trials], justify="right"),
        _column("cost", [_cost_cell(t, document["time"]) for t in trials], justify="right"),
    ]
    notes = _column("", [_note_cell(trial, document, front) for trial in trials])
    notes.head.ratio = 1
    room = width - sum(c.width + GAP for c in [*left, *right]) - min(notes.width, MIN_NOTE)
    params = _that_fit(document, trials, room)
    usd = _column("spent", [formats.money(t["cost_usd"]) for t in trials], justify="right")
    used = sum(column.width + GAP for column in params)
    if involves_money(document) and used + usd.width + GAP <= room:
        right.append(usd)
    columns = [*left, *params, *right, notes]
    table = Table(
        *[column.head for column in columns],
        box=None,
        pad_edge=False,
        padding=(0, GAP, 0, 0),
        header_style="dim",
        expand=True,
    )
    for row in zip(*[column.cells for column in columns], strict=True):
        table.add_row(*row)
    return table, len(document["parameters"]) - len(params)


GAP = 2
MIN_NOTE = 8  # ◆ front
MAX_CELL = 16
NARROW_CELL = 9


@dataclass(frozen=True, slots=True)
class _Column:
    head: Column
    cells: list[Text]
    width: int


def _column(
    header: str, cells: Sequence[str | Text], *, justify: Literal["left", "right"] = "left"
) -> _Column:
    texts = [cell if isinstance(cell, Text) else Text(cell) for cell in cells]
    label = Text(formats.printable(header))
    width = min(max(text.cell_len for text in [label, *texts]), MAX_CELL)
    head = Column(header=label, justify=justify, no_wrap=True, overflow="ellipsis")
    return _Column(head, texts, width)


def _that_fit(document: Document, trials: list[dict[str, Any]], room: int) -> list[_Column]:
    """Return a column for each parameter, from the first on, as long as there is room.

    Where not all have room, long headers are cut so that more have.
    """
    columns = [
        _column(label, [formats.value(t["params"].get(name)) for t in trials], justify="right")
        for name, label in formats.short_names(document["parameters"]).items()
    ]
    if sum(column.width + GAP for column in columns) > room:
        columns = [_narrowed(column) for column in columns]
    fitting = []
    for column in columns:
        room -= column.width + GAP
        if room < 0:
            break
        column.head.max_width = column.width
        fitting.append(column)
    return fitting


def _narrowed(column: _Column) -> _Column:
    widest = max((cell.cell_len for cell in column.cells), default=0)
    return replace(column, width=min(column.width, max(widest, NARROW_CELL)))


def _state_cell(trial: dict[str, Any]) -> Text:
    state = trial["state"]
    symbol, style = SYMBOLS[state]
    words = formats.failure(trial["error"]) if state == "failed" and trial["error"] else state
    if state == "queued" and trial["retry_at"] is not None:
        words = "waiting"
    return Text(f"{symbol} {words}", style=style)


def _score_cell(trial: dict[str, Any], document: Document) -> Text:
    best = document["best"]
    is_best = best is not None and best["number"] == trial["number"]
    return Text(formats.number(trial["score"]), style="bold green" if is_best else "")


def _cost_cell(trial: dict[str, Any], now: float) -> str:
    """Return the cost; for a running trial the time until now."""
    if trial["ended_at"] is None and trial["attempts"]:
        started = trial["attempts"][-1]["started_at"]
        if trial["state"] == "running" and started is not None:
            return f"{formats.duration(max(0.0, now - started))}…"
    return formats.duration(trial["cost_seconds"])


def _note_cell(trial: dict[str, Any], document: Document, front: set[int]) -> Text:
    best = document["best"]
    if best is not None and best["number"] == trial["number"]:
        return Text("★ best", style="bold green")
    notes = []
    if trial["number"] in front:
        notes.append("◆ front")
    if trial["origin"] == "user":
        notes.append("yours")
    if len(trial["attempts"]) > 1:
        notes.append(f"attempt {len(trial['attempts'])}")
    if trial["eta_seconds"] is not None:
        notes.append(formats.remaining(trial["eta_seconds"]))
    if trial["retry_at"] is not None and trial["error"] is not None:
        wait = formats.duration(max(0.0, trial["retry_at"] - document["time"]))
        notes.append(f"{formats.failure(trial['error'])}, again in {wait}")
    if trial["state"] == "failed" and trial["error"] is not None:
        notes.append(formats.cause(trial["error"]["message"]))
    return Text(", ".join(filter(None, notes)), style="dim")


def _not_shown(document: Document, shown: int, left_out: int) -> str:
    trials = len(document["trials"]) - shown
    parts = []
    if trials:
        parts.append(formats.plural(trials, "more trial"))
    if left_out:
        parts.append(formats.plural(left_out, "more parameter"))
    return f"… {' and '.join(parts)} not shown" if parts else ""
