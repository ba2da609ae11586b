"""Trials on other machines that hang, or that are hopeless: whole sweeps over the fake SkyPilot.

Tasks are real bash; what a trial reports on its way stands in a W&B of ours.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from launcher.budget import Offer, reserved_usd
from launcher.coordinator import Coordinator, World
from launcher.events import EndReason, Failure, Recorded, SweepCreated
from launcher.executors.simulated import SimulatedRun
from launcher.executors.skypilot.calls import CancelJobs, Launch
from launcher.executors.skypilot.executor import SkyPilotExecutor
from launcher.folder import SweepFolder
from launcher.journal import JournalWriter
from launcher.metrics import FolderCurves, RunFolderMetrics
from launcher.optimizer import ask, observation
from launcher.ports import Curve, Curves, Run
from launcher.state import State, TrialState, apply, fold
from launcher.wandb.access import asking
from launcher.wandb.curves import WandbCurves
from tests.launcher.builders import a_config
from tests.launcher.executors.skypilot.test_executor import SkyCluster
from tests.launcher.executors.skypilot.test_turns import CloudClock
from tests.launcher.test_coordinator import Lab
from tests.wandb_server import store
from tests.wandb_server.server import WandbServer, wandb_server

HOPELESS = 4
PROGRAM = f"""
if [ "$PROTEIN_TRIAL" = {HOPELESS} ]; then sleep 600; fi
for step in 1 2 3 4 5; do
  echo '{{"step": '$step', "reward": '$PROTEIN_TRIAL'}}' >>"$PROTEIN_RUN_DIR/metrics.jsonl"
done
echo "PROTEIN_RESULT {{\\"reward\\": $PROTEIN_TRIAL}}"
"""
RULE = {"method": "median", "resource": "step", "grace": 2, "min_trials": 3}
SAID = ((1.0, 0.5), (2.0, 0.25), (3.0, 0.125))
"""What the hopeless trial tells W&B."""


@pytest.fixture
def server() -> Iterator[WandbServer]:
    with wandb_server() as running:
        yield running
        assert running.errors == []


@pytest.fixture(params=["managed_jobs", "reused_clusters", "cluster_per_trial"])
def cluster(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[SkyCluster]:
    made = SkyCluster(tmp_path, request.param)
    yield made
    made.cloud.clean()


@pytest.fixture
def one(tmp_path: Path) -> Iterator[SkyCluster]:
    """Clusters that are used again."""
    made = SkyCluster(tmp_path, "reused_clusters")
    yield made
    made.cloud.clean()


class Watched:
    """A sweep of five trials, one at a time, the fourth of which comes to nothing."""

    def __init__(self, cluster: SkyCluster, server: WandbServer, **changes: Any) -> None:
        plain = {"parallel": 1, "trials": 5, "task": {"run": PROGRAM}}
        budget = {"budget": {"usd": 100.0}, "execution": {"timeout_seconds": 1e6}}
        self.config = a_config(**{**plain, **budget, **changes})
        self.cluster = cluster
        self.clock = CloudClock(cluster.cloud)
        self.folder = SweepFolder(cluster.folder / self.config.name)
        self._server = server

    def run(
        self, executor: SkyPilotExecutor | None = None, *, curves: Curves | None = None
    ) -> State:
        """Run it by a new coordinator."""
        world = World(
            executor or self.cluster.executor(),
            RunFolderMetrics(),
            self.clock,
            Offer(1e-3, parallel=1),
            ask,
            watch=self._log,
            curves=curves or self._from_wandb(),
            sees_files=False,
            poll_seconds=3.0,
        )
        with JournalWriter(self.folder.database, now=self.clock.now()) as journal:
            state = fold(journal.read())
            if state is None:
                created = SweepCreated("abcd", self.config.to_mapping(), "0")
                state = apply(None, journal.append(created, self.clock.now()))
            return Coordinator(self.folder, journal, state, world).run()

    def _from_wandb(self) -> Curves:
        return WandbCurves(
            asking({"HOME": "/nowhere", **self._server.environ}),
            {"entity": "team", "project": "metta"},
            self.clock.now,
            start=lambda work: work(),
        )

    def _log(self, state: State, _event: Recorded | None) -> None:
        trial = state.trials.get(HOPELESS)
        if trial is not None and trial.state is TrialState.RUNNING:
            rows = [json.dumps({"_step": step, "reward": value}) for step, value in SAID]
            run = store.Run(trial.run_id, "metta", "2026-01-01", history=rows)
            self._server.store.runs.setdefault(trial.run_id, run)


def check_stopped(state: State) -> None:
    """The fourth trial was ended as behind, teaches what it came to, and left nothing behind."""
    stopped = state.trials[HOPELESS]
    assert [t.state for t in state.ordered if t is not stopped] == [TrialState.SUCCEEDED] * 4
    assert (stopped.state, stopped.failure) == (TrialState.STOPPED, Failure.STOPPED_EARLY)
    assert "below the median of 3 trials at step 3" in stopped.detail
    assert (len(stopped.attempts), tuple(stopped.curve)) == (1, SAID)
    taught = observation(stopped)
    assert taught is not None
    assert (taught.is_stopped, taught.curve, taught.score) == (True, SAID, 0.125)
    assert state.end is EndReason.COMPLETED
    assert reserved_usd(state, 0.0) == 0.0
    assert stopped.attempts[0].cost_usd > 0


def test_a_hopeless_trial_is_ended_and_the_next_takes_its_place(
    cluster: SkyCluster, server: WandbServer
) -> None:
    sweep = Watched(cluster, server, sweep={"early_stopping": RULE, "method": "random"})
    check_stopped(sweep.run())
    assert all(task.ended_at is not None for task in cluster.cloud.tasks())
    assert not cluster.executor().names("demo-")


def test_a_machine_that_is_used_again_is_kept_when_a_trial_is_stopped(
    one: SkyCluster, server: WandbServer
) -> None:
    sweep = Watched(one, server, sweep={"early_stopping": RULE, "method": "random"})
    sweep.run()
    assert len([call for call in one.cloud.calls if isinstance(call, Launch)]) == 1


def test_a_folder_that_all_machines_share_tells_how_a_trial_does(
    one: SkyCluster, server: WandbServer
) -> None:
    shared = one.folder / "shared"
    one.settings = replace(one.settings, storage=str(shared))
    rows = "\n".join(json.dumps({"step": step, "reward": value}) for step, value in SAID)
    reporting = f"echo '{rows}' >>\"$PROTEIN_RUN_DIR/metrics.jsonl\"; sleep 600"
    task = {"run": PROGRAM.replace("sleep 600", reporting)}
    rule = {"early_stopping": RULE, "method": "random"}
    sweep = Watched(one, server, sweep=rule, task=task)
    check_stopped(sweep.run(curves=FolderCurves(shared)))
    assert server.operations == []


class Dying(SkyPilotExecutor):
    """Its coordinator dies when a job is to be ended: before that is asked for, or after."""

    is_asked_for = False

    def cancel(self, names: Sequence[str]) -> None:
        if self.is_asked_for:
            super().cancel(names)
        raise KeyboardInterrupt


@pytest.mark.parametrize("is_asked_for", [False, True])
def test_a_decision_outlives_the_coordinator_and_what_it_was_taken_by(
    one: SkyCluster, server: WandbServer, is_asked_for: bool
) -> None:
    sweep = Watched(one, server, sweep={"early_stopping": RULE, "method": "random"})
    executor = one.executor()
    executor.__class__ = Dying
    executor.is_asked_for = is_asked_for  # type: ignore[attr-defined]  # a Dying by now
    with pytest.raises(KeyboardInterrupt):
        sweep.run(executor)
    server.fault = lambda operation: 500 if operation == "Curves" else None
    check_stopped(sweep.run())
    ended = {
        job for call in one.cloud.calls if isinstance(call, CancelJobs) for job in call.job_ids
    }
    assert ended == {HOPELESS}


def test_a_trial_that_hangs_is_ended_where_it_runs_and_teaches(
    cluster: SkyCluster, server: WandbServer
) -> None:
    server.fault = lambda _operation: 500
    execution = {"timeout_seconds": 1e6, "stall_seconds": 5.0}
    state = Watched(cluster, server, execution=execution, trials=HOPELESS).run()
    hung = state.trials[HOPELESS]
    assert [t.failure for t in state.ordered] == [None, None, None, Failure.STALLED]
    assert len(hung.attempts) == 1
    assert hung.attempts[0].cancelling is None  # its machine did it
    taught = observation(hung)
    assert taught is not None
    assert taught.is_failure
    assert not cluster.executor().names("demo-")


class Away:
    """A source that is away at some looks, and has the same to say at the others."""

    def __init__(self, is_there: Sequence[bool], told: Curve) -> None:
        self._is_there = list(is_there)
        self._told = told
        self.problem = ""

    def read(self, runs: Sequence[Run], *, metric: str, resource: str) -> dict[str, Curve]:
        assert (metric, resource) == ("reward", "step")
        is_there = self._is_there.pop(0) if self._is_there else False
        self.problem = "" if is_there else "away"
        return {run.run_id: self._told for run in runs} if is_there else {}


@settings(deadline=None, max_examples=15)
@given(is_there=st.lists(st.booleans(), max_size=40), told=st.sampled_from([(), ((9.0, 1.0),)]))
def test_no_news_while_the_source_is_away_is_no_standstill(
    tmp_path_factory: pytest.TempPathFactory, is_there: list[bool], told: Curve
) -> None:
    """Trials that run for minutes without a word here are not ended, whoever is away and when."""
    config = a_config(
        trials=3,
        parallel=3,
        execution={"stall_seconds": 20.0},
        sweep={"early_stopping": RULE, "method": "random"},
    )
    silent = SimulatedRun(duration_seconds=100.0, metrics={"reward": 1.0})
    sweep = Lab(tmp_path_factory.mktemp("away"), config, lambda _job: silent)
    told_of: list[str] = []
    state = sweep.run(curves=Away(is_there, told), sees_files=False, notice=told_of.append)
    assert [t.state for t in state.ordered] == [TrialState.SUCCEEDED] * 3
    begins = [text for text in told_of if text.endswith("now: away")]
    ends = [text for text in told_of if text.endswith("read again")]
    assert 0 <= len(begins) - len(ends) <= 1
