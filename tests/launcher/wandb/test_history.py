"""What runs logged, from W&B's service: all of it, with few questions."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from launcher.wandb.access import asking
from launcher.wandb.history import MAX_PARTS, histories
from tests.wandb_server.server import WandbServer, wandb_server
from tests.wandb_server.store import Run

PLACE = {"entity": "team", "project": "metta"}


@pytest.fixture
def server() -> Iterator[WandbServer]:
    with wandb_server() as running:
        yield running
        assert running.errors == []


def a_run(name: str, rows: list[dict[str, Any]]) -> Run:
    return Run(name, "metta", "2026-01-01", history=[json.dumps(row) for row in rows])


def look(server: WandbServer, *names: str, metric: str = "reward", rows: int = 100) -> Any:
    ask = asking({"HOME": "/nowhere", **server.environ})
    return histories(ask, PLACE, names, metric=metric, rows=rows, pause=lambda _seconds: None)


def test_values_come_in_the_order_of_steps(server: WandbServer) -> None:
    rows = [{"_step": 2, "reward": 0.5}, {"_step": 0, "reward": 1}, {"_step": 1, "loss": 3}]
    server.store.runs = {"a": a_run("a", rows)}
    assert look(server, "a") == {"a": (1.0, 0.5)}


def test_a_value_that_is_no_number_is_kept_as_one(server: WandbServer) -> None:
    server.store.runs = {"a": a_run("a", [{"_step": 0, "reward": math.nan}])}
    assert math.isnan(look(server, "a")["a"][0])


@pytest.mark.parametrize("length", [99, 100, 101, 150, 199, 250, 1000])
def test_of_a_long_history_nothing_is_left_out(server: WandbServer, length: int) -> None:
    """Steps as a trainer counts them: far apart, and the best value anywhere."""
    rows = [{"_step": 10_000 * n, "reward": n % 97, "loss": 0} for n in range(length)]
    server.store.runs = {"a": a_run("a", rows)}
    assert look(server, "a") == {"a": tuple(float(n % 97) for n in range(length))}
    assert len(server.operations) <= 8 * (1 + length // 100)


def test_a_metric_that_is_logged_now_and_then_needs_one_question(server: WandbServer) -> None:
    rows = [{"_step": n, "loss": 1} | ({"reward": n} if n % 100 == 0 else {}) for n in range(1000)]
    server.store.runs = {"a": a_run("a", rows)}
    assert len(look(server, "a")["a"]) == 10
    assert len(server.operations) == 1


def test_many_runs_are_asked_for_together(server: WandbServer) -> None:
    server.store.runs = {f"r{n}": a_run(f"r{n}", [{"_step": 0, "reward": n}]) for n in range(120)}
    found = look(server, *server.store.runs)
    assert found == {f"r{n}": (float(n),) for n in range(120)}
    assert len(server.operations) == 3


def test_a_run_without_the_metric_has_no_values(server: WandbServer) -> None:
    server.store.runs = {"a": a_run("a", [{"_step": 0, "loss": 1}])}
    assert look(server, "a", "unknown") == {"a": ()}


def test_an_endless_history_is_not_asked_for_for_ever(server: WandbServer) -> None:
    server.store.runs = {"a": a_run("a", [{"_step": n, "reward": n} for n in range(3000)])}
    assert look(server, "a", rows=2)["a"][-1] > 2900
    assert len(server.operations) == MAX_PARTS + 1


def test_a_project_that_is_not_there_yet_has_no_histories(server: WandbServer) -> None:
    assert look(server, "a") == {}


def test_asking_needs_a_key_and_an_answer(server: WandbServer, tmp_path: Path) -> None:
    with pytest.raises(Exception, match="no key"):
        asking({"HOME": str(tmp_path)})("query Viewer { viewer { id } }", {})
    ask = asking({"HOME": str(tmp_path), **server.environ})
    with pytest.raises(ValueError, match="no answer"):
        ask("query Viewer { viewer { shoe } }", {})
    server.errors.clear()
