"""What trials elsewhere report on their way: with few questions, only what is new, nothing lost."""

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.executors.simulated import VirtualClock
from launcher.metrics import FolderCurves
from launcher.ports import Curve, Run
from launcher.wandb.access import asking
from launcher.wandb.curves import FirstCurves, WandbCurves, sources_elsewhere
from tests.launcher.builders import a_config
from tests.wandb_server.server import KEY, WandbServer, wandb_server
from tests.wandb_server.store import Run as Remote

PLACE = {"entity": "team", "project": "metta"}


@pytest.fixture
def server() -> Iterator[WandbServer]:
    with wandb_server() as running:
        yield running
        assert running.errors == []


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


def asking_now(server: WandbServer, clock: VirtualClock) -> WandbCurves:
    ask = asking({"HOME": "/nowhere", **server.environ})
    return WandbCurves(
        ask,
        PLACE,
        clock.now,
        start=lambda work: work(),
        draw=lambda low, _high: low,
        pause=lambda _seconds: None,
    )


@pytest.fixture
def curves(server: WandbServer, clock: VirtualClock) -> WandbCurves:
    return asking_now(server, clock)


def log(server: WandbServer, name: str, *rows: Mapping[str, Any]) -> None:
    run = server.store.runs.setdefault(name, Remote(name, "metta", "2026-01-01"))
    run.history += [json.dumps(row) for row in rows]


def runs(*names: str) -> list[Run]:
    return [Run(name, Path("/nowhere"), 1) for name in names]


def read(
    curves: WandbCurves, *names: str, metric: str = "reward", resource: str = "step"
) -> Mapping[str, Curve]:
    return curves.read(runs(*names), metric=metric, resource=resource)


def test_a_hundred_trials_cost_one_question(curves: WandbCurves, server: WandbServer) -> None:
    names = [f"r{n}" for n in range(100)]
    for n, name in enumerate(names):
        log(server, name, {"_step": 10, "reward": n})
    assert read(curves, *names) == {f"r{n}": ((10.0, float(n)),) for n in range(100)}
    assert len(server.operations) == 1


def test_more_trials_are_asked_for_in_hundreds(curves: WandbCurves, server: WandbServer) -> None:
    names = [f"r{n}" for n in range(101)]
    for name in names:
        log(server, name, {"_step": 1, "reward": 1})
    assert all(read(curves, *names).values())
    assert len(server.operations) == 2


def test_only_new_rows_are_asked_for_of_each_run(
    curves: WandbCurves, server: WandbServer, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    log(server, "a", {"_step": 5, "reward": 1}, {"_step": 9, "reward": math.nan})
    log(server, "b", {"_step": 70, "reward": 2})
    assert read(curves, "a", "b") == {"a": ((5.0, 1.0),), "b": ((70.0, 2.0),)}
    answer = server.answer

    def heard(body: dict[str, Any]) -> dict[str, Any]:
        values = body["variables"]
        asked.extend(json.loads(values[name][0])["minStep"] for name in ("s0", "s1"))
        return answer(body)

    monkeypatch.setattr(server, "answer", heard)
    log(server, "a", {"_step": 12, "reward": 3})
    clock.sleep(30)
    assert read(curves, "a", "b") == {"a": ((5.0, 1.0), (12.0, 3.0)), "b": ((70.0, 2.0),)}
    assert asked == [10, 71]


def test_w_and_b_is_not_asked_more_often_than_agreed(
    curves: WandbCurves, server: WandbServer, clock: VirtualClock
) -> None:
    for _ in range(100):
        read(curves, "a")
        clock.sleep(3.0)
    assert len(server.operations) == 10


def test_seconds_are_the_trials_own_or_those_of_its_run(
    curves: WandbCurves, server: WandbServer
) -> None:
    log(server, "own", {"_step": 1, "_runtime": 30.0, "cost_seconds": 7.0, "reward": 1})
    log(server, "runs", {"_step": 1, "_runtime": 30.0, "reward": 1})
    found = read(curves, "own", "runs", resource="cost_seconds")
    assert found == {"own": ((7.0, 1.0),), "runs": ((30.0, 1.0),)}


def test_a_metric_over_the_history_is_watched_as_it_is_logged(
    curves: WandbCurves, server: WandbServer
) -> None:
    log(server, "a", {"_step": 1, "episode": {"return": 2}} | {"episode.return": 2})
    assert read(curves, "a", metric="episode.return.max") == {"a": ((1.0, 2.0),)}


def test_a_run_or_a_project_that_is_not_there_yet_has_no_curve(
    curves: WandbCurves, server: WandbServer
) -> None:
    log(server, "a", {"_step": 1, "reward": 1})
    assert read(curves, "a", "later") == {"a": ((1.0, 1.0),), "later": ()}
    assert curves.problem == ""


def test_another_metric_begins_anew(
    curves: WandbCurves, server: WandbServer, clock: VirtualClock
) -> None:
    log(server, "a", {"_step": 1, "reward": 1, "loss": 5})
    read(curves, "a")
    clock.sleep(30)
    assert read(curves, "a", metric="loss") == {"a": ((1.0, 5.0),)}


def test_reading_never_waits_and_an_answer_about_another_metric_is_dropped(
    server: WandbServer, clock: VirtualClock
) -> None:
    log(server, "a", {"_step": 1, "reward": 1, "loss": 5})
    waiting: list[Callable[[], None]] = []
    ask = asking({"HOME": "/nowhere", **server.environ})
    curves = WandbCurves(ask, PLACE, clock.now, start=waiting.append)
    assert read(curves, "a") == {"a": ()}
    waiting.pop()()
    assert read(curves, "a", metric="loss") == {"a": ()}


@given(
    answers=st.lists(st.booleans(), min_size=1, max_size=30),
    logged=st.lists(st.integers(0, 3), min_size=30, max_size=30),
)
def test_whenever_w_and_b_was_away_nothing_of_a_curve_is_missing_or_doubled(
    answers: Sequence[bool], logged: Sequence[int]
) -> None:
    history: list[dict[str, Any]] = []
    is_there = True

    def ask(_question: str, values: Mapping[str, Any]) -> Mapping[str, Any]:
        if not is_there:
            raise ConnectionError("away")
        spec = json.loads(values["s0"][0])
        rows = [row for row in history if row["_step"] >= spec["minStep"]]
        return {"model": {"r0": {"sampledHistory": [rows]}}}

    clock = VirtualClock()
    curves = WandbCurves(ask, PLACE, clock.now, start=lambda work: work(), draw=lambda low, _: low)
    known: Curve = ()
    for is_there, count in zip([*answers, True], logged, strict=False):
        history += [{"_step": len(history) + n, "reward": n} for n in range(count)]
        before, known = known, read(curves, "a")["a"]
        assert tuple(known)[: len(before)] == tuple(before)
        assert bool(curves.problem) is not is_there
        clock.sleep(900)
    assert known == tuple((float(row["_step"]), float(row["reward"])) for row in history)


def test_what_a_shared_folder_knows_w_and_b_is_not_asked(
    curves: WandbCurves, server: WandbServer, tmp_path: Path
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "metrics.jsonl").write_text('{"step": 3, "reward": 0.5}\n')
    log(server, "a", {"_step": 1, "reward": 1})
    first = FirstCurves([FolderCurves(tmp_path), curves])
    assert first.read(runs("a"), metric="reward", resource="step") == {"a": [(3.0, 0.5)]}
    assert server.operations == []
    log(server, "b", {"_step": 1, "reward": 1})
    found = first.read(runs("a", "b"), metric="reward", resource="step")
    assert found == {"a": [(3.0, 0.5)], "b": ((1.0, 1.0),)}


def test_a_sweep_whose_source_went_away_says_what_it_lacks() -> None:
    nobody = FirstCurves([])
    assert nobody.read(runs("a"), metric="reward", resource="step") == {}
    assert "no key for W&B" in nobody.problem


@pytest.mark.parametrize(
    ("mode", "key", "storage", "kinds"),
    [
        ("online", KEY, None, [WandbCurves]),
        ("online", None, None, []),
        ("offline", KEY, None, []),
        ("offline", None, "here", [FolderCurves]),
        ("offline", None, "/not/here", []),
        ("offline", None, "s3://mine/runs", []),
        ("online", KEY, "here", [FolderCurves, WandbCurves]),
    ],
)
def test_who_tells_how_trials_elsewhere_do(
    tmp_path: Path, mode: str, key: str | None, storage: str | None, kinds: list[type]
) -> None:
    where = str(tmp_path) if storage == "here" else storage
    config = a_config(execution={"cloud": "aws", "storage": where}, wandb={"mode": mode})
    environ = {"HOME": str(tmp_path), **({"WANDB_API_KEY": key} if key else {})}
    assert [type(one) for one in sources_elsewhere(config, lambda: 0.0, environ)] == kinds
