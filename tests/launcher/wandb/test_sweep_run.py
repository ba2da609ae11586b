"""The sweep itself in W&B."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from launcher.errors import UsageError
from launcher.events import AttemptEnded, Origin, Recorded, TrialSuggested
from launcher.folder import SweepFolder
from launcher.wandb.sweep_page import recorded_sweep
from launcher.wandb.sweep_run import SweepRun, closing, row, shown_in_wandb
from tests.launcher.builders import PARAMS, a_config, a_state, failed, queued, running, succeeded
from tests.wandb_server.server import WandbServer, wandb_server


class FakeRun:
    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.summary: dict[str, Any] = {}
        self.is_finished = False
        self.url = "https://wandb.ai/team/metta/runs/x"

    def log(self, row: dict[str, Any]) -> None:
        self.rows.append(row)

    def finish(self) -> None:
        self.is_finished = True


SUGGESTED = Recorded(1, 1, 0.0, TrialSuggested(1, "r", {}, Origin.OPTIMIZER, {}))
ENDED = Recorded(2, 1, 0.0, AttemptEnded(1, 1, None))


def test_a_row_says_how_the_sweep_stands() -> None:
    config = a_config()
    trials = [succeeded(0.5, price_usd_per_hour=6.0), succeeded(0.7), failed(), running(), queued()]
    found = row(config, a_state(config, *trials))
    assert found["best/score"] == 0.7
    assert (found["trials/suggested"], found["trials/succeeded"]) == (5, 2)
    assert (found["trials/failed"], found["trials/running"]) == (1, 1)
    assert found["spend/usd"] == pytest.approx(0.01)


def test_without_a_success_there_is_no_best() -> None:
    config = a_config()
    state = a_state(config, failed())
    assert not {"best/score", "best/cost_seconds"} & set(row(config, state))
    assert "best/params" not in closing(config, state)


def test_the_best_is_the_lowest_when_minimising() -> None:
    config = a_config(sweep={"goal": "minimize"})
    assert row(config, a_state(config, succeeded(0.5), succeeded(0.7)))["best/score"] == 0.5


def test_the_summary_shows_the_pareto_front() -> None:
    config = a_config()
    trials = [succeeded(0.5, 1.0), succeeded(0.4, 2.0), succeeded(0.9, 3.0)]
    facts = closing(config, a_state(config, *trials))
    assert [(p["score"], p["cost_seconds"]) for p in facts["pareto/front"]] == [
        (0.5, 1.0),
        (0.9, 3.0),
    ]
    assert facts["best/params"] == PARAMS


def test_the_run_gets_a_row_for_each_change_and_ends() -> None:
    run, config, told = FakeRun(), a_config(), list[str]()
    watch = SweepRun(config, lambda: run, told.append)
    state = a_state(config, succeeded(0.5))
    for record in (None, ENDED, None, SUGGESTED):
        watch(state, record)
    watch.close(60.0)
    assert [r["best/score"] for r in run.rows] == [0.5, 0.5]
    assert run.is_finished
    assert told == [f"W&B: follow the sweep at {run.url}"]


def test_a_service_that_is_down_does_not_stop_a_sweep() -> None:
    def down() -> Any:
        raise ConnectionError("down")

    watch = SweepRun(a_config(), down, print)
    watch(a_state(a_config(), queued()), SUGGESTED)
    watch.close(60.0)
    assert watch.problem == "W&B: ConnectionError: down"


@pytest.fixture
def server() -> Iterator[WandbServer]:
    with wandb_server() as running:
        yield running
        assert running.errors == []


PROGRAM = """
import os, sys
from pathlib import Path
from launcher.folder import SweepFolder
from launcher.wandb.sweep_run import shown_in_wandb
from tests.launcher.builders import a_config, a_state, succeeded
from tests.launcher.wandb.test_sweep_run import ENDED

folder, config = SweepFolder(Path(sys.argv[1])), a_config()
with shown_in_wandb(folder, config, "abcd", print, patience_seconds=600.0) as watch:
    for scores in ([0.5], [0.5, 0.75]):
        watch(a_state(config, *map(succeeded, scores)), ENDED)
print(sorted(name for name in os.environ if name in ("WANDB_PROJECT", "WANDB_ENTITY")))
"""


def test_the_sweep_has_its_page_and_its_run_on_the_server(
    server: WandbServer, tmp_path: Path
) -> None:
    python_path = os.pathsep.join(path for path in sys.path if path)
    environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": python_path}
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path)],
        env={**environ, **server.environ},
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    run_url = f"{server.url}/team/metta/runs/demo.abcd.sweep"
    assert ran.stdout == f"W&B: follow the sweep at {run_url}\n[]\n"
    (sweep,) = server.store.sweeps.values()
    assert "trainer.learning_rate" in sweep.config
    assert recorded_sweep(SweepFolder(tmp_path)) == "sweep001"
    (run,) = server.store.runs.values()
    assert (run.name, run.group, run.job_type) == ("demo.abcd.sweep", "demo", "sweep")
    assert run.tags == ["sweep_id:abcd", "sweep_name:demo"]
    assert [json.loads(line)["best/score"] for line in run.history] == [0.5, 0.75]
    assert run.summary["pareto/size"] == 1
    assert run.state == "finished"


def test_without_a_key_nothing_is_shown_or_asked(tmp_path: Path) -> None:
    told: list[str] = []
    offline = {"HOME": str(tmp_path)}
    folder = SweepFolder(tmp_path / "demo")
    with shown_in_wandb(folder, a_config(), "abcd", told.append, offline) as watch:
        watch(a_state(a_config(), queued()), SUGGESTED)
    assert (told, folder.path.exists()) == ([], False)


def test_a_wrong_key_stops_the_launch(server: WandbServer, tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path), **server.environ, "WANDB_API_KEY": "1" * 40}
    showing = shown_in_wandb(SweepFolder(tmp_path), a_config(), "abcd", print, environ)
    with pytest.raises(UsageError, match="refuses the key"), showing:
        pass
