"""Protein inside a W&B sweep: what it publishes, learns and wins, without and with the client."""

import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from protein import Protein, Space, WandbProtein
from protein.wandb_protein import SweepRun
from tests.wandb_server.server import WandbServer, wandb_server
from tests.wandb_server.store import Sweep

SPACE = {
    "trainer.lr": {"distribution": "log_normal", "min": 1e-5, "max": 1e-2},
    "width": {"distribution": "int_uniform", "min": 1, "max": 64},
    "kind": "fixed",
}


class FakeRun:
    """A run with the client's own config, and an agent's values locked in it."""

    def __init__(self, run_id: str = "me", **locked: Any) -> None:
        from wandb.sdk.wandb_config import Config

        self.id = run_id
        self.config = Config()
        self.config.update_locked(locked, user="sweep")
        self.summary: dict[str, Any] = {}


class KeepsItsOwn(dict[str, Any]):
    """The config of a client that changed its mind about `update_locked`."""

    def update_locked(self, *_arguments: Any, **_options: Any) -> None:
        pass


def a_protein(**changes: Any) -> Protein:
    return Protein(Space.from_dict(SPACE), **changes)


def told(run_id: str, lr: float, score: float | None, cost: float | None = 2.0) -> SweepRun:
    state = "success" if score is not None else "failure"
    summary = {
        "protein.state": state,
        "protein.suggestion": {"trainer.lr": lr, "width": 8, "kind": "fixed"},
        "protein.objective": score,
        "protein.cost": cost,
    }
    return SweepRun(run_id, "2026-01-01", "finished", summary)


def of(run: FakeRun, *others: SweepRun, **changes: Any) -> WandbProtein:
    return WandbProtein(a_protein(**changes), run, runs=lambda: others)


def test_the_suggestion_is_in_the_config_though_an_agent_locked_other_values() -> None:
    run = FakeRun(**{"trainer.lr": 0.5, "width": 999})
    params, _ = of(run).suggest()
    assert dict(run.config) == params
    assert params["width"] != 999
    assert run.summary["protein.state"] == "running"
    assert run.summary["protein.suggestion"] == params


def test_asking_again_gives_the_same() -> None:
    protein = of(FakeRun())
    assert protein.suggest() == protein.suggest()


def test_a_value_that_does_not_get_there_is_an_error() -> None:
    run = FakeRun()
    run.config = KeepsItsOwn({"trainer.lr": 0.5})
    with pytest.raises(RuntimeError, match=r"trainer\.lr"):
        of(run).suggest()


def test_earlier_runs_are_learnt_from() -> None:
    nan = told("c", 1e-4, math.nan)
    protein = of(FakeRun(), told("a", 1e-3, 0.5), told("b", 1e-2, None), nan)
    assert [(o.score, o.is_failure) for o in protein.observations] == [(0.5, False), (None, True)]
    assert protein.observations[0].params["trainer.lr"] == 1e-3
    assert protein.observations[0].cost == 2.0


def test_a_summary_that_came_back_nested_is_read_too() -> None:
    nested = {
        "protein": {
            "state": "success",
            "objective": 0.5,
            "suggestion": {"trainer": {"lr": 1e-3}, "width": 8},
        }
    }
    protein = of(FakeRun(), SweepRun("a", "2026-01-01", "finished", nested))
    assert protein.observations[0].params == {"trainer.lr": 1e-3, "width": 8}


def test_a_crashed_run_that_recorded_nothing_teaches_nothing() -> None:
    summary = {"protein.state": "running", "protein.suggestion": {"trainer.lr": 1e-3, "width": 8}}
    protein = of(FakeRun(), SweepRun("a", "2026-01-01", "crashed", summary))
    assert (protein.observations, protein.pending) == ((), ())


@pytest.mark.parametrize("space", [SPACE, {"kind": {"values": list(range(8))}}])
def test_agents_that_start_in_the_same_second_do_not_try_the_same(space: dict[str, Any]) -> None:
    names = [f"run{n}" for n in range(8)]
    seen = [SweepRun(name, "2026-01-01T00:00:00", "running") for name in names]
    protein = Protein(Space.from_dict(space))
    suggested = [
        json.dumps(WandbProtein(protein, FakeRun(name), runs=lambda: seen).suggest()[0])
        for name in names
    ]
    assert len(set(suggested)) == len(names)


def test_agents_that_start_one_after_the_other_do_not_try_the_same() -> None:
    seen: list[SweepRun] = []
    suggested = []
    for n in range(8):
        run = FakeRun(f"run{n}")
        seen.append(SweepRun(run.id, f"2026-01-01T00:00:0{n}", "running"))
        suggested.append(json.dumps(of(run, *seen).suggest()[0]))
        if n % 2:
            seen[-1] = SweepRun(run.id, seen[-1].created_at, "running", dict(run.summary))
    assert len(set(suggested)) == len(suggested)


def test_what_a_run_gets_does_not_hang_on_whose_suggestions_are_shown_yet() -> None:
    """Five runs of one second; which of the others have published is chance."""
    names = [f"run{n}" for n in range(5)]
    space = {"kind": {"values": list(range(5))}}

    def got(name: str, shown: Mapping[str, Any]) -> Any:
        seen = [SweepRun(n, "2026-01-01", "running", shown.get(n, {})) for n in names]
        protein = Protein(Space.from_dict(space))
        return WandbProtein(protein, FakeRun(name), runs=lambda: seen).suggest()[0]

    all_shown: dict[str, Any] = {n: {"protein.suggestion": got(n, {})} for n in names}
    assert sorted(one["protein.suggestion"]["kind"] for one in all_shown.values()) == [*range(5)]
    for name in names:
        for mask in range(2 ** len(names)):
            shown = {n: all_shown[n] for k, n in enumerate(names) if mask >> k & 1 and n != name}
            assert got(name, shown) == all_shown[name]["protein.suggestion"]


def test_the_same_run_asks_the_same_again() -> None:
    """After a preemption the program starts anew and goes on with its own parameters."""
    first, _ = of(FakeRun(), told("a", 1e-3, 0.5)).suggest()
    again, _ = of(FakeRun(), told("a", 1e-3, 0.5)).suggest()
    assert first == again


def test_an_observation_is_recorded_once() -> None:
    run = FakeRun()
    protein = of(run)
    protein.suggest()
    protein.record_observation(0.5, cost=12.0)
    assert run.summary["protein.state"] == "success"
    assert (run.summary["protein.objective"], run.summary["protein.cost"]) == (0.5, 12.0)
    with pytest.raises(ValueError, match="recorded already"):
        protein.record_observation(0.7)
    protein.record_observation(0.7, allow_update=True)
    assert run.summary["protein.objective"] == 0.7


def test_a_nan_is_a_failure() -> None:
    run = FakeRun()
    of(run).record_observation(math.nan)
    assert run.summary["protein.state"] == "failure"


def test_observing_names_the_suggestion() -> None:
    run = FakeRun()
    protein = of(run)
    _, metadata = protein.suggest()
    with pytest.raises(KeyError):
        protein.observe("another", 0.5)
    protein.observe(metadata["suggestion_uuid"], 0.5, {"cost": 3.0})
    assert (run.summary["protein.objective"], run.summary["protein.cost"]) == (0.5, 3.0)
    protein.observe(metadata["suggestion_uuid"], 0.0, {"is_failure": True, "error": "no"})
    assert (run.summary["protein.state"], run.summary["protein.error"]) == ("failure", "no")


class Mine(WandbProtein):
    def suggest(self) -> tuple[dict[str, Any], dict[str, Any]]:
        params, info = super().suggest()
        return {**params, "width": 64}, {**info, "by": "me"}

    def _transform_suggestion(self, suggestion: dict[str, Any]) -> dict[str, Any]:
        return {**suggestion, "doubled": 2 * suggestion["width"]}


def test_a_subclass_has_the_last_word() -> None:
    run = FakeRun(width=1)
    params, metadata = Mine(a_protein(), run, runs=list).suggest()
    assert (params["width"], params["doubled"], metadata["by"]) == (64, 128, "me")
    assert run.config["width"] == 64
    assert run.summary["protein.suggestion"]["width"] == 64
    assert "doubled" not in run.summary["protein.suggestion"]


@pytest.fixture
def server() -> Iterator[WandbServer]:
    with wandb_server() as running:
        yield running
        assert running.errors == []


AGENT = """
import json, sys, wandb
from protein import MettaProtein

cfg = json.loads(sys.argv[1])
sweep_id = sys.argv[2]

def init_run():
    run = wandb.init()
    protein = MettaProtein(cfg, run)
    suggestion, metadata = protein.suggest()
    run.config.update({"width": -1}, allow_val_change=True)  # what the reference did: no effect
    run.log({"reward": suggestion["width"]})
    protein.observe(metadata["suggestion_uuid"], float(suggestion["width"]), {"cost": 1.5})
    print(json.dumps({"given": suggestion, "seen": len(protein.observations)}))

wandb.agent(sweep_id, function=init_run, count=1, project="metta", entity="team")
"""
SWEEP = {"sweep": {"metric": "reward", "goal": "maximize", "parameters": SPACE}}


def start_agent(server: WandbServer, folder: Path, program: str, cfg: object) -> Any:
    python_path = os.pathsep.join(path for path in sys.path if path)
    environ = {"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONPATH": python_path}
    return subprocess.Popen(
        [sys.executable, "-c", program, json.dumps(cfg), "s1"],
        env={**environ, **server.environ, "WANDB_DIR": str(folder)},
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def said(agent: Any) -> dict[str, Any]:
    stdout, stderr = agent.communicate()
    lines = [line for line in stdout.splitlines() if line.startswith("{")]
    assert lines, stderr
    found: dict[str, Any] = json.loads(lines[-1])
    return found


@pytest.mark.timeout(240)
def test_protein_wins_over_the_agents_parameters_on_the_server(
    server: WandbServer, tmp_path: Path
) -> None:
    proposals = [{"trainer.lr": 0.5, "width": 999}] * 2
    server.store.sweeps["s1"] = Sweep("s1", "metta", "method: random", proposals=proposals)
    told = [said(start_agent(server, tmp_path, AGENT, SWEEP)) for _ in range(2)]
    first, second = server.store.runs.values()
    for run, answer in zip((first, second), told, strict=True):
        assert run.sweep == "s1"
        assert run.values == answer["given"]
        assert run.values["width"] != 999
        assert run.summary["protein.state"] == "success"
        assert run.summary["protein.objective"] == run.values["width"]
    assert [answer["seen"] for answer in told] == [0, 1]
    assert first.values != second.values


TOGETHER = """
import json, sys, time, wandb
from pathlib import Path
from protein import MettaProtein

class Doubled(MettaProtein):
    def _transform_suggestion(self, suggestion):
        return {**suggestion, "doubled": 2 * suggestion["kind"]}

def init_run():
    run = wandb.init()
    protein = Doubled(json.loads(sys.argv[1]), run)
    suggestion, _ = protein.suggest()
    Path(f"{run.id}.ready").touch()
    deadline = time.monotonic() + 150
    while len(list(Path().glob("*.ready"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.05)
    protein.record_failure("not this one")
    print(json.dumps(suggestion))

wandb.agent(sys.argv[2], function=init_run, count=1, project="metta", entity="team")
"""


@pytest.mark.timeout(240)
def test_agents_at_once_try_each_value_once_on_the_server(
    server: WandbServer, tmp_path: Path
) -> None:
    server.store.sweeps["s1"] = Sweep("s1", "metta", "method: random", proposals=[{"kind": 9}] * 3)
    cfg = {"metric": "reward", "parameters": {"kind": {"values": [1, 2, 3]}}}
    agents = [start_agent(server, tmp_path, TOGETHER, cfg) for _ in range(3)]
    told = [said(agent) for agent in agents]
    runs = sorted((run.values for run in server.store.runs.values()), key=lambda v: v["kind"])
    assert runs == [{"kind": n, "doubled": 2 * n} for n in (1, 2, 3)]
    assert sorted(told, key=lambda v: v["kind"]) == runs
    summaries = [run.summary for run in server.store.runs.values()]
    assert {(s["protein.state"], s["protein.error"]) for s in summaries} == {
        ("failure", "not this one")
    }
