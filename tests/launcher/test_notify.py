"""Messages, also through the real Apprise to a server on loopback."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from launcher import notify
from launcher.budget import Offer
from launcher.errors import UsageError
from launcher.events import EndReason, Failure, PauseRequested, Recorded, SweepEnded
from launcher.notify import Messenger, Send
from launcher.sweepfile.schema import NotifySection
from tests.launcher.builders import a_config
from tests.launcher.story import Story

# Apprise imports a module that Python 3.13 removes
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")

EVERYTHING = {"to": ["MY_APPRISE"], "on": ["ended", "paused", "budget", "best"]}


class Heard:
    """A sender that remembers; and a story whose events the messenger watches."""

    def __init__(self, send: Send | None = None, **changes: Any) -> None:
        self.titles: list[str] = []
        self.bodies: list[str] = []
        self.notices: list[str] = []
        self.arrives = True
        config = a_config(notify=EVERYTHING, **changes)
        self.story = Story(config, Offer(price_usd_per_hour=3600.0))
        self.messenger = Messenger(
            config, send or self._send, self.notices.append, self.story.state
        )
        record = self.story.record

        def watched(event: Any) -> Story:
            record(event)
            seen = Recorded(self.story.state.seq, 1, self.story.now, event)
            self.messenger(self.story.state, seen)
            return self.story

        self.story.record = watched  # type: ignore[method-assign]

    def _send(self, title: str, body: str) -> bool:
        self.titles.append(title)
        self.bodies.append(body)
        return self.arrives


def test_the_end_of_a_sweep_is_told() -> None:
    heard = Heard()
    heard.story.succeed(0.5).record(SweepEnded(EndReason.COMPLETED))
    assert heard.titles[-1] == "protein-sky: demo is finished"
    assert "best: 0.5" in heard.bodies[-1]


def test_a_pause_by_failures_is_told_with_its_reason_and_the_users_own_is_not() -> None:
    heard = Heard()
    heard.story.record(PauseRequested("", "by-user"))
    assert heard.titles == []
    heard.story.record(PauseRequested("3 trials in a row broke"))
    assert "3 trials in a row broke" in heard.bodies[0]


def test_each_new_best_is_told_once() -> None:
    heard = Heard()
    heard.story.succeed(0.5).succeed(0.4).succeed(0.7).fail(Failure.CRASHED)
    assert [body.splitlines()[0] for body in heard.bodies] == [
        "trial 1: reward 0.5",
        "trial 3: reward 0.7",
    ]


def test_shares_of_the_budget_are_told_once_each() -> None:
    heard = Heard(budget={"usd": 100, "warn": [0.5, 0.8]}, sweep={"goal": "minimize"})
    for number in range(1, 7):
        heard.story.start()
        heard.story.end_attempt(number, failure=Failure.DIVERGED, cost_usd=16.0)
    told = [title for title in heard.titles if "budget" in title]
    assert [title.split("used ")[1] for title in told] == [
        "50 % of its budget",
        "80 % of its budget",
    ]


def test_a_message_that_does_not_arrive_is_noticed_and_ends_nothing() -> None:
    heard = Heard()
    heard.arrives = False
    heard.story.record(SweepEnded(EndReason.BUDGET, "too dear"))
    assert heard.notices == ["a message could not be sent: see notify.to"]


@pytest.fixture
def inbox() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    received: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            received.append(json.loads(self.rfile.read(length)))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"json://127.0.0.1:{server.server_port}/secret-token", received
        server.shutdown()


def test_a_message_arrives_through_apprise(
    inbox: tuple[str, list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    address, received = inbox
    monkeypatch.setenv("MY_APPRISE", address)
    section = NotifySection(to=("MY_APPRISE",))
    notify.check(section)
    assert notify.sender(section)("title", "body")
    assert (received[0]["title"], received[0]["message"]) == ("title", "body")


def test_the_end_a_pause_the_budget_and_a_new_best_arrive_through_apprise(
    inbox: tuple[str, list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    address, received = inbox
    monkeypatch.setenv("MY_APPRISE", address)
    send = notify.sender(NotifySection(to=("MY_APPRISE",)))
    story = Heard(send, budget={"usd": 20.0}).story
    story.start().end_attempt(1, score=0.5, cost_usd=17.0)
    story.record(PauseRequested("3 trials in a row broke"))
    story.record(SweepEnded(EndReason.COMPLETED))
    assert [message["title"].removeprefix("protein-sky: demo ") for message in received] == [
        "has used 80 % of its budget",
        "has a new best",
        "is paused",
        "is finished",
    ]


@pytest.mark.parametrize(("value", "message"), [("", "does not have"), ("nonsense", "no address")])
def test_a_wrong_address_is_told_before_the_launch_and_not_shown(
    value: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_APPRISE", value)
    section = NotifySection(to=("MY_APPRISE",))
    with pytest.raises(UsageError, match=message) as caught:
        notify.check(section)
    assert "nonsense" not in str(caught.value)
