"""Results from W&B's service: how often it is asked, what is believed, and when it is away."""

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from launcher.executors.simulated import VirtualClock
from launcher.ports import Result, Run
from launcher.wandb.metrics import FirstOf, RemoteRun, WandbMetrics, from_api
from tests.launcher.builders import a_config
from tests.wandb_server import store
from tests.wandb_server.server import DROP, SILENT, WandbServer, wandb_server


class Service:
    """A W&B of runs that a test sets, with outages. Counts what it is asked."""

    def __init__(self) -> None:
        self.runs: dict[str, RemoteRun] = {}
        self.asked: list[Sequence[str]] = []
        self.is_away = False

    def fetch(self, run_ids: Sequence[str]) -> Mapping[str, RemoteRun]:
        self.asked.append(run_ids)
        if self.is_away:
            raise ConnectionError("service process is busy")
        return {name: self.runs[name] for name in run_ids if name in self.runs}


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def metrics(service: Service, clock: VirtualClock) -> WandbMetrics:
    return WandbMetrics(
        service.fetch,
        clock.now,
        a_config(),
        start=lambda work: work(),
        draw=lambda low, high: (low + high) / 2,
    )


def runs(count: int = 1, attempt: int = 1) -> list[Run]:
    return [Run(f"r{n}", Path("nowhere"), attempt) for n in range(count)]


def finished(reward: object, attempt: int = 1) -> RemoteRun:
    return RemoteRun("finished", {"reward": reward}, {"protein": {"attempt": attempt}})


def test_all_runs_are_asked_for_at_once(metrics: WandbMetrics, service: Service) -> None:
    service.runs = {f"r{n}": finished(n) for n in range(1000)}
    found = metrics.read(runs(1000))
    assert {name: r.metrics["reward"] for name, r in found.items()} == {
        f"r{n}": float(n) for n in range(1000)
    }
    assert len(service.asked) == 1


def test_what_is_known_is_not_asked_again(metrics: WandbMetrics, service: Service) -> None:
    service.runs = {"r0": finished(1.0)}
    for _ in range(5):
        assert metrics.read(runs())["r0"].metrics == {"reward": 1.0}
    assert len(service.asked) == 1


def test_a_late_summary_is_asked_for_again_and_not_sooner_than_agreed(
    metrics: WandbMetrics, service: Service, clock: VirtualClock
) -> None:
    service.runs = {"r0": RemoteRun("finished", {})}
    begin = clock.now()
    for second in range(300):
        if second == 120:
            service.runs = {"r0": finished(0.5)}
        if metrics.read(runs()):
            break
        clock.sleep(1.0)
    assert 120 <= clock.now() - begin <= 180
    assert len(service.asked) <= 5


def test_a_summary_that_is_late_in_parts_is_asked_for_again(
    metrics: WandbMetrics, service: Service, clock: VirtualClock
) -> None:
    service.runs = {"r0": RemoteRun("finished", {"loss": 3.0})}
    assert metrics.read(runs())["r0"].metrics == {"loss": 3.0}
    clock.sleep(60)
    service.runs = {"r0": RemoteRun("finished", {"loss": 3.0, "reward": 0.5})}
    assert metrics.read(runs())["r0"].metrics == {"loss": 3.0, "reward": 0.5}


def test_a_run_that_still_moves_is_not_believed(
    metrics: WandbMetrics, service: Service, clock: VirtualClock
) -> None:
    service.runs = {"r0": RemoteRun("running", {"reward": 0.1})}
    assert metrics.read(runs()) == {}
    clock.sleep(60)
    service.runs = {"r0": RemoteRun("running", {"reward": 0.2})}
    assert metrics.read(runs()) == {}
    clock.sleep(60)
    assert metrics.read(runs())["r0"].metrics == {"reward": 0.2}


def test_an_earlier_attempts_summary_is_not_this_attempts_result(
    metrics: WandbMetrics, service: Service, clock: VirtualClock
) -> None:
    service.runs = {"r0": finished(0.1, attempt=1)}
    assert metrics.read(runs(attempt=2)) == {}
    clock.sleep(60)
    service.runs = {"r0": finished(0.9, attempt=2)}
    assert metrics.read(runs(attempt=2))["r0"].metrics == {"reward": 0.9}


@pytest.mark.parametrize("spelled", [math.nan, "NaN", "nan"])
def test_a_nan_is_a_nan_however_it_is_spelled(
    metrics: WandbMetrics, service: Service, spelled: object
) -> None:
    service.runs = {"r0": finished(spelled)}
    assert math.isnan(metrics.read(runs())["r0"].metrics["reward"])


def test_a_day_without_the_service_costs_few_queries_and_no_result(
    metrics: WandbMetrics, service: Service, clock: VirtualClock
) -> None:
    service.is_away = True
    service.runs = {"r0": finished(0.5)}
    for _ in range(24 * 60):
        assert metrics.read(runs()) == {}
        clock.sleep(60)
    assert len(service.asked) < 24 * 5
    assert "service process is busy" in metrics.problem
    assert FirstOf([Known(), metrics], a_config()).problem == metrics.problem
    service.is_away = False
    clock.sleep(900)
    assert metrics.read(runs())["r0"].metrics == {"reward": 0.5}
    assert metrics.problem == ""


def test_reading_never_waits_for_a_query(service: Service, clock: VirtualClock) -> None:
    waiting: list[Callable[[], None]] = []
    metrics = WandbMetrics(service.fetch, clock.now, a_config(), start=waiting.append)
    service.runs = {"r0": finished(0.5)}
    for _ in range(3):
        assert metrics.read(runs()) == {}
        assert metrics.problem == "W&B has not answered yet"
        clock.sleep(1000)
    assert len(waiting) == 1
    waiting.pop()()
    assert metrics.read(runs())["r0"].metrics == {"reward": 0.5}
    assert metrics.problem == ""


class Known:
    """A Metrics that knows some results."""

    problem = ""

    def __init__(self, **results: Result) -> None:
        self.results = results
        self.asked: list[str] = []

    def read(self, runs: Sequence[Run]) -> Mapping[str, Result]:
        self.asked += [run.run_id for run in runs]
        return {r.run_id: self.results[r.run_id] for r in runs if r.run_id in self.results}


def test_a_later_source_is_asked_for_what_the_first_lacks() -> None:
    folder = Known(r0=Result({"reward": 1.0}), r1=Result({"loss": 3.0}, 12.0))
    remote = Known(r1=Result({"reward": 2.0, "loss": 4.0}), r2=Result({"reward": 5.0}))
    found = FirstOf([folder, remote], a_config()).read(runs(4))
    assert remote.asked == ["r1", "r2", "r3"]
    assert found["r0"].metrics == {"reward": 1.0}
    assert found["r1"].metrics == {"reward": 2.0, "loss": 3.0}
    assert found["r1"].cost_seconds == 12.0
    assert set(found) == {"r0", "r1", "r2"}


def test_a_run_without_the_metric_gives_what_it_has() -> None:
    found = FirstOf([Known(r0=Result({"a": 1.0})), Known(r0=Result({"b": 2.0}))], a_config())
    assert set(found.read(runs())["r0"].metrics) == {"a", "b"}


def test_a_diverged_run_needs_no_metric() -> None:
    remote = Known()
    FirstOf([Known(r0=Result({"a": 1.0}, diverged=True)), remote], a_config()).read(runs())
    assert remote.asked == []


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WandbServer]:
    with wandb_server() as running:
        for name, value in {"HOME": str(tmp_path), **running.environ}.items():
            monkeypatch.setenv(name, value)
        yield running
        assert running.errors == []


def remote(clock: VirtualClock, **sweep: Any) -> WandbMetrics:
    config = a_config(sweep=sweep)
    return WandbMetrics(from_api(config), clock.now, config, start=lambda work: work())


def remote_run(name: str, reward: float) -> store.Run:
    summary = {"reward": reward, "eval": {"bad": math.nan}, "loss": {"min": 0.25}}
    config = {"protein": {"value": {"attempt": 1}}}
    return store.Run(
        name,
        "metta",
        "2026-01-01",
        summary=summary,
        config=config,
        sweep="s1",
        state="finished",
    )


def test_the_client_asks_twice_for_a_thousand_runs(
    server: WandbServer, clock: VirtualClock
) -> None:
    server.store.runs = {f"r{n}": remote_run(f"r{n}", n) for n in range(1000)}
    metrics = remote(clock)
    found = metrics.read(runs(1000))
    assert len(found) == 1000
    assert found["r7"].metrics["reward"] == 7.0
    assert found["r7"].metrics["loss"] == 0.25
    assert math.isnan(found["r7"].metrics["eval.bad"])
    assert server.operations.count("Runs") == 2
    assert len(server.operations) <= 4  # and who we are, once


def test_the_client_sees_what_changed_since(server: WandbServer) -> None:
    fetch = from_api(a_config())
    server.store.runs = {"r0": remote_run("r0", 1.0)}
    assert fetch(["r0"])["r0"].summary["reward"] == 1.0
    server.store.runs = {"r0": remote_run("r0", 2.0)}
    assert fetch(["r0"])["r0"].summary["reward"] == 2.0


def logged(*values: object) -> store.Run:
    history = [json.dumps({"_step": n, "reward": value}) for n, value in enumerate(values)]
    config = {"protein": {"value": {"attempt": 1}}}
    summary = {"loss": 3.0, "_runtime": 40, "_wandb": {"runtime": 42}}
    run = store.Run("r0", "metta", "2026-01-01", state="finished", history=history)
    return replace(run, config=config, summary=summary)


@pytest.mark.parametrize(
    ("metric", "value"),
    [
        ("reward", 0.4),
        ("reward.max", 0.9),
        ("reward.min", 0.2),
        ("reward.mean", 0.5),
        ("reward.last", 0.4),
        ("reward.mean_last_2", 0.65),
    ],
)
def test_what_a_summary_lacks_is_taken_over_the_history(
    server: WandbServer, clock: VirtualClock, metric: str, value: float
) -> None:
    server.store.runs = {"r0": logged(0.2, 0.9, 0.4)}
    found = remote(clock, metric=metric).read(runs())["r0"]
    assert found.metrics == {"loss": 3.0, metric: pytest.approx(value)}
    assert server.operations.count("History") == 1


def test_a_history_is_not_asked_for_where_the_summary_has_the_metric(
    server: WandbServer, clock: VirtualClock
) -> None:
    server.store.runs = {"r0": logged(0.2)}
    assert remote(clock, metric="loss").read(runs())["r0"].metrics["loss"] == 3.0
    assert "History" not in server.operations


def test_a_summary_that_the_server_shows_late_is_read_then(
    server: WandbServer, clock: VirtualClock
) -> None:
    server.store.runs = {"r0": remote_run("r0", 1.0)}
    server.store.hide_summaries = True
    metrics = remote(clock)
    assert metrics.read(runs()) == {}
    server.store.hide_summaries = False
    clock.sleep(60)
    assert metrics.read(runs())["r0"].metrics["reward"] == 1.0


def test_the_run_time_is_the_longest_that_is_told(server: WandbServer, clock: VirtualClock) -> None:
    server.store.runs = {"r0": logged(0.2)}
    assert remote(clock).read(runs())["r0"].runtime_seconds == 42.0


def test_where_cost_is_wandbs_run_time_a_result_without_it_is_not_whole(
    service: Service, clock: VirtualClock
) -> None:
    config = a_config(sweep={"cost": "wandb"})
    folder = Known(r0=Result({"reward": 1.0}, 12.0))
    remote = Known(r0=Result({"reward": 2.0}, runtime_seconds=42.0))
    found = FirstOf([folder, remote], config).read(runs())["r0"]
    assert (found.metrics["reward"], found.cost_seconds, found.runtime_seconds) == (1.0, 12.0, 42.0)


def test_a_source_that_is_away_is_told_of_until_it_is_back() -> None:
    away = Known()
    sources = FirstOf([Known(), away], a_config())
    away.problem = "W&B: down"
    assert sources.problem == "W&B: down"
    away.problem = ""
    assert sources.problem == ""


def test_a_project_that_is_not_there_yet_has_no_runs(server: WandbServer) -> None:
    assert from_api(a_config(wandb={"entity": "team"}))(["r0"]) == {}


@pytest.mark.slow
def test_a_thousand_runs_whose_summaries_are_late_cost_less_than_a_request_a_second(
    server: WandbServer, clock: VirtualClock
) -> None:
    names = {f"r{n}": remote_run(f"r{n}", n) for n in range(1000)}
    server.store.runs = names
    server.store.hide_summaries = True
    config = a_config()
    fetch = from_api(config, pause=clock.sleep)
    metrics = WandbMetrics(fetch, clock.now, config, start=lambda work: work())
    begin = clock.now()
    while clock.now() < begin + 240:
        assert metrics.read(runs(1000)) == {}
        clock.sleep(1.0)
    assert server.operations.count("Runs") >= 2 * 3
    assert server.operations.count("History") >= 20 * 3
    assert len(server.operations) < clock.now() - begin


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("status", [200, 429, 500, 503, DROP, SILENT])
def test_a_storm_is_a_problem_that_passes(
    server: WandbServer, clock: VirtualClock, status: int
) -> None:
    server.store.runs = {f"r{n}": remote_run(f"r{n}", n) for n in range(2)}
    metrics = remote(clock)
    assert set(metrics.read(runs(1))) == {"r0"}
    clock.sleep(60)
    server.fault = lambda _operation: status
    server.operations.clear()
    began = time.monotonic()
    assert set(metrics.read(runs(2))) == {"r0"}
    assert metrics.problem
    asked = len(server.operations)
    assert asked < max(10, time.monotonic() - began)
    server.fault = lambda _operation: None
    clock.sleep(900)
    assert metrics.read(runs(2))["r1"].metrics["reward"] == 1.0
