"""When a job's log is fetched, and when again."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import pytest

from launcher.errors import ExecutorError
from launcher.executors.skypilot.calls import Answer, Call, Where
from launcher.executors.skypilot.ledger import Entry
from launcher.executors.skypilot.returns import TRIES, Returns
from launcher.executors.skypilot.wrapping import Printed
from tests.launcher.executors.skypilot.test_words import an_entry
from tests.launcher.waiting import eventually

END = 'said\nPROTEIN_SKY_END {"job":"a-1","code":3}'


class Logs:
    """A SkyPilot of which only logs are asked, each time the next one; None: it fails."""

    def __init__(self, *logs: str | None) -> None:
        self.logs = list(logs)

    def log(self, where: Where) -> str:
        assert where == Where("ps-w0", 7)
        text = self.logs.pop(0)
        if text is None:
            raise ExecutorError("SkyPilot cannot be asked for a log")
        return text

    def ask(self, call: Call) -> str:
        raise NotImplementedError

    def answers(self, request_ids: Sequence[str]) -> Mapping[str, Answer]:
        raise NotImplementedError

    def find(self, name: str) -> str | None:
        raise NotImplementedError


@pytest.fixture
def entry(tmp_path: Path) -> Entry:
    return msgspec.structs.replace(an_entry("a"), run_dir=str(tmp_path))


def brought(returns: Returns, entry: Entry) -> Printed:
    said = eventually(lambda: returns.bring(entry))
    assert said is not None
    return said


def test_what_was_fetched_early_is_not_fetched_again(entry: Entry) -> None:
    sky = Logs(END)
    returns = Returns(sky)
    returns.begin(entry)
    returns.begin(entry)
    assert not returns  # nobody needs to wait for it
    assert brought(returns, entry).exit_code == 3
    assert not sky.logs


def test_what_was_cut_because_it_was_early_is_fetched_again(entry: Entry, tmp_path: Path) -> None:
    sky = Logs("sa", END)
    returns = Returns(sky)
    returns.begin(entry)
    eventually(lambda: len(sky.logs) == 1)
    assert brought(returns, entry).exit_code == 3
    assert "said" in (tmp_path / "train.log").read_text().splitlines()


def test_a_job_that_is_over_has_said_what_there_is(entry: Entry) -> None:
    assert brought(Returns(Logs("sa")), entry).lines == ["sa"]


def test_a_log_that_cannot_be_had_is_an_empty_one(entry: Entry) -> None:
    sky = Logs(*[None] * TRIES)
    assert brought(Returns(sky), entry) == Printed([])
    assert not sky.logs
