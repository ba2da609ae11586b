"""Messages to people who are away from the desk, through Apprise (the extra `notify`).

An address (`slack://…`, `mailto://…`, `json://host/path`) holds secrets: it comes from an
environment variable, which the sweep file names, and is never written or printed.
"""

import logging
import os
from collections.abc import Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING

from launcher.budget import spent_usd
from launcher.config import SweepConfig
from launcher.errors import UsageError
from launcher.events import AttemptEnded, EndReason, PauseRequested, Recorded, SweepEnded
from launcher.pages import formats
from launcher.state import State
from launcher.sweepfile.schema import NotifySection

if TYPE_CHECKING:
    import apprise

Send = Callable[[str, str], bool]
"""Sends (title, body) and returns whether it arrived everywhere."""


def check(section: NotifySection) -> None:
    """Find out before the launch whether messages can be sent.

    Raises UsageError, naming variables and never what they hold.
    """
    missing = [name for name in section.to if not os.environ.get(name)]
    if missing:
        raise UsageError(
            f"notify.to names {', '.join(missing)}, which the environment does not have",
            hint=f"export {missing[0]}=…, an Apprise address such as slack://…",
        )
    if section.to and find_spec("apprise") is None:
        raise UsageError(
            "notify.to needs Apprise", hint="pip install 'protein-sky[notify]', or leave it out"
        )
    if section.to:
        _addressed(section)


def sender(section: NotifySection) -> Send:
    """Return what sends to every address of a section that `check` has passed."""
    if not section.to:
        return lambda _title, _body: True
    messenger = _addressed(section)
    return lambda title, body: bool(messenger.notify(title=title, body=body))


def _addressed(section: NotifySection) -> "apprise.Apprise":
    import apprise

    logging.getLogger("apprise").setLevel(logging.CRITICAL)  # it logs addresses
    messenger = apprise.Apprise()
    for name in section.to:
        if not messenger.add(os.environ[name]):
            raise UsageError(
                f"${name} holds no address that Apprise knows",
                hint="such as slack://token/channel, mailto://…, json://host/path",
            )
    return messenger


class Messenger:
    """Tells what a sweep file asks to be told, once each. It is a Watch; sending never fails it."""

    def __init__(
        self, config: SweepConfig, send: Send, notice: Callable[[str], None], state: State | None
    ) -> None:
        self._config = config
        self._send = send
        self._notice = notice
        self._best = None if state is None else _best_score(config, state)
        self._told_share = 0.0 if state is None else self._share(state, state.created_at)

    def __call__(self, state: State, record: Recorded | None) -> None:
        """Look at what has happened, and tell."""
        if record is None:
            return
        on, event = self._config.notify.on, record.event
        if isinstance(event, SweepEnded) and "ended" in on:
            self._tell(state, _ending(event), event.detail)
        if isinstance(event, PauseRequested) and event.reason and "paused" in on:
            self._tell(state, "is paused", event.reason)
        if isinstance(event, AttemptEnded):
            self._look_at_budget(state, record.at)
            self._look_at_best(state, event)

    def _look_at_budget(self, state: State, at: float) -> None:
        share = self._share(state, at)
        passed = [w for w in self._config.budget.warn if self._told_share < w <= share]
        self._told_share = max(share, self._told_share)
        if passed:
            what = f"has used {100 * max(passed):g} % of its budget"
            limit = self._config.budget.usd or 0.0
            text = f"{formats.money(spent_usd(state, at))} of {formats.money(limit)}"
            self._notice(f"the sweep {what}: {text}")
            if "budget" in self._config.notify.on:
                self._tell(state, what, text)

    def _look_at_best(self, state: State, event: AttemptEnded) -> None:
        best = _best_score(self._config, state)
        if best is None or best == self._best:
            return
        self._best = best
        if "best" in self._config.notify.on:
            metric = self._config.sweep.metric
            text = f"trial {event.trial}: {metric} {formats.number(best)}"
            self._tell(state, "has a new best", text)

    def _share(self, state: State, at: float) -> float:
        limit = self._config.budget.usd
        return 0.0 if limit is None else spent_usd(state, at) / limit

    def _tell(self, state: State, what: str, text: str) -> None:
        ended = sum(t.state.is_over for t in state.ordered)
        best = _best_score(self._config, state)
        lines = [text, f"{ended} trials ended", f"best: {formats.number(best)}"]
        body = "\n".join(line for line in lines if line)
        if not self._send(f"protein-sky: {self._config.name} {what}", body):
            self._notice("a message could not be sent: see notify.to")


def _ending(event: SweepEnded) -> str:
    match event.reason:
        case EndReason.COMPLETED:
            return "is finished"
        case EndReason.BUDGET:
            return "has used its budget up"
        case EndReason.STOPPED | EndReason.CANCELLED:
            return f"was {event.reason.value}"


def _best_score(config: SweepConfig, state: State) -> float | None:
    scores = [t.score for t in state.ordered if t.score is not None and t.failure is None]
    better = max if config.sweep.goal == "maximize" else min
    return better(scores, default=None)
