"""Whole sweeps in virtual time: real coordinator, journal and optimizer, simulated cluster."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from launcher import inbox
from launcher.budget import Offer
from launcher.config import SweepConfig
from launcher.coordinator import Coordinator, World
from launcher.edits import extended
from launcher.errors import ExecutorError
from launcher.events import (
    CancelRequested,
    EndReason,
    Failure,
    Origin,
    ParamsEnqueued,
    PauseRequested,
    ResumeRequested,
    StopRequested,
    SweepCreated,
    SweepEdited,
    TrialRetried,
)
from launcher.executors.simulated import (
    Report,
    SimulatedExecutor,
    SimulatedRun,
    VirtualClock,
    started_twice,
)
from launcher.folder import SweepFolder
from launcher.journal import Journal, JournalWriter
from launcher.metrics import RunFolderMetrics
from launcher.objectives import front
from launcher.optimizer import ask, observation
from launcher.ports import Job, Outcome, Result, Run
from launcher.state import Mode, State, TrialState, apply, fold
from tests.launcher.builders import PARAMS, a_config

Script = Callable[[Job], SimulatedRun]


def score_by_params(job: Job) -> SimulatedRun:
    """A minute of work whose score depends on the parameters."""
    params = json.loads((job.run_dir / "params.json").read_text())
    return SimulatedRun(duration_seconds=60.0, metrics={"reward": float(params["trainer.gamma"])})


class Lab:
    """A sweep's folder, a cluster and a clock; each `run` is a new coordinator."""

    def __init__(self, path: Path, config: SweepConfig, script: Script = score_by_params) -> None:
        self.folder = SweepFolder(path / config.name)
        self.config = config
        self.clock = VirtualClock()
        self.executor = SimulatedExecutor(self.clock, script)
        self.offer = Offer(parallel=4)

    @property
    def world(self) -> World:
        return World(self.executor, RunFolderMetrics(), self.clock, self.offer, ask)

    def run(self, **changes: Any) -> State:
        with JournalWriter(self.folder.database, now=self.clock.now()) as journal:
            state = fold(journal.read())
            if state is None:
                created = SweepCreated("abcd", self.config.to_mapping(), "0")
                state = apply(None, journal.append(created, self.clock.now()))
            return Coordinator(self.folder, journal, state, replace(self.world, **changes)).run()

    def ask_for(self, *commands: inbox.Command) -> "Lab":
        for command in commands:
            inbox.post(self.folder.inbox, command)
        return self


@pytest.fixture
def lab(tmp_path: Path) -> Callable[..., Lab]:
    def make(script: Script = score_by_params, **changes: Any) -> Lab:
        return Lab(tmp_path, a_config(**changes), script)

    return make


def test_a_sweep_runs_all_its_trials_and_ends(lab: Callable[..., Lab]) -> None:
    state = lab(trials=6, parallel=2).run()
    assert (state.mode, state.end) == (Mode.ENDED, EndReason.COMPLETED)
    assert [t.state for t in state.ordered] == [TrialState.SUCCEEDED] * 6
    assert all(t.score == t.params["trainer.gamma"] for t in state.ordered)


def test_the_journal_alone_gives_the_state(lab: Callable[..., Lab]) -> None:
    sweep = lab(trials=4)
    state = sweep.run()
    with Journal(sweep.folder.database) as journal:
        assert fold(journal.read()) == state


def test_two_sweeps_with_one_seed_try_the_same_parameters(tmp_path: Path) -> None:
    first = Lab(tmp_path / "a", a_config(trials=6)).run()
    second = Lab(tmp_path / "b", a_config(trials=6)).run()
    assert [t.params for t in first.ordered] == [t.params for t in second.ordered]


def test_never_more_trials_run_than_allowed(lab: Callable[..., Lab]) -> None:
    sweep = lab(trials=6, parallel=2)
    most = 0

    def watch(state: State, _event: object) -> None:
        nonlocal most
        most = max(most, len(state.live_trials))

    sweep.run(watch=watch)
    assert most == 2


def test_a_lost_machine_costs_an_attempt_and_no_trial(lab: Callable[..., Lab]) -> None:
    def flaky(job: Job) -> SimulatedRun:
        run = score_by_params(job)
        return replace_run(run, lost_after=20.0) if job.attempt == 1 else run

    sweep = lab(flaky, trials=3)
    state = sweep.run()
    assert [len(t.attempts) for t in state.ordered] == [2, 2, 2]
    assert {t.state for t in state.ordered} == {TrialState.SUCCEEDED}
    assert {t.attempts[0].failure for t in state.ordered} == {Failure.NODE_LOST}
    assert not started_twice(sweep.executor.jobs())


def replace_run(run: SimulatedRun, **changes: Any) -> SimulatedRun:
    import msgspec

    return msgspec.structs.replace(run, **changes)


def test_a_refused_start_is_tried_again_later(lab: Callable[..., Lab]) -> None:
    refusals = iter(["quota exceeded", "quota exceeded"])

    def refusing(job: Job) -> SimulatedRun:
        return replace_run(score_by_params(job), launch_error=next(refusals, ""))

    state = lab(refusing, trials=1).run()
    assert state.end is EndReason.COMPLETED
    assert len(state.trials[1].attempts) == 3
    assert "quota exceeded" in state.trials[1].attempts[0].detail


def test_a_crashing_program_pauses_the_sweep_with_the_reason(lab: Callable[..., Lab]) -> None:
    state = lab(
        lambda _job: SimulatedRun(duration_seconds=1.0, exit_code=1), trials=10, parallel=1
    ).run()
    assert state.mode is Mode.PAUSED
    assert "3 trials in a row" in state.reason
    assert len(state.trials) == 3


def test_the_optimizer_learns_from_failures(lab: Callable[..., Lab]) -> None:
    sweep = lab(
        lambda _job: SimulatedRun(duration_seconds=1.0, exit_code=137), trials=4, parallel=1
    )
    seen = []

    def asking(config: SweepConfig, state: State) -> Any:
        seen.append(sum(t.failure is Failure.OUT_OF_MEMORY for t in state.ordered))
        return ask(config, state)

    sweep.run(ask=asking)
    assert seen == [0, 1, 2, 3]


def test_an_executor_that_fails_to_answer_is_asked_again(lab: Callable[..., Lab]) -> None:
    sweep = lab(trials=3)
    sweep.executor = SimulatedExecutor(
        sweep.clock,
        score_by_params,
        fault=lambda method, number: "down" if method != "submit" and number % 3 else "",
    )
    assert sweep.run().end is EndReason.COMPLETED


def test_a_time_limit_ends_a_trial_though_the_executor_fails_at_first(tmp_path: Path) -> None:
    sweep = Lab(
        tmp_path,
        a_config(trials=1, execution={"timeout_seconds": 30}),
        lambda _job: SimulatedRun(duration_seconds=1e6, metrics={"reward": 1.0}),
    )
    sweep.executor = SimulatedExecutor(
        sweep.clock,
        lambda _job: SimulatedRun(duration_seconds=1e6),
        fault=lambda method, number: "down" if method == "cancel" and number < 5 else "",
    )
    state = sweep.run()
    assert state.trials[1].failure is Failure.TIMEOUT
    assert 30 <= state.trials[1].attempts[0].machine_seconds < 45


def test_a_trial_that_writes_nothing_more_is_ended_and_one_that_writes_is_not(
    lab: Callable[..., Lab],
) -> None:
    writes = tuple(Report(60.0 * step, step, {"reward": 0.1}) for step in range(1, 11))
    scripts = {
        "1": SimulatedRun(duration_seconds=600.0, reports=writes, metrics={"reward": 0.5}),
        "2": SimulatedRun(duration_seconds=None, reports=writes[:5]),
    }
    sweep = lab(
        lambda job: scripts[job.name.split("-")[2]],
        trials=2,
        execution={"stall_seconds": 100.0},
    )
    state = sweep.run()
    assert [t.failure for t in state.ordered] == [None, Failure.STALLED]
    stood = state.trials[2].attempts[0]
    assert stood.ended_at is not None
    assert stood.started_at is not None
    assert 400.0 <= stood.ended_at - stood.started_at <= 410.0
    assert len(state.trials[2].attempts) == 1  # the parameters' fault: it teaches


def test_a_live_edit_is_shown_in_the_sweeps_file_and_each_version_is_kept(
    lab: Callable[..., Lab],
) -> None:
    sweep = lab(trials=2)
    sweep.ask_for(SweepEdited(extended(sweep.config, trials=3).to_mapping(), "longer", "edit-1"))
    assert len(sweep.run().trials) == 3
    assert yaml.safe_load((sweep.folder.path / "config.yaml").read_text())["trials"] == 3
    with Journal(sweep.folder.database) as journal:
        events = [record.event for record in journal.read()]
    versions = [e.config["trials"] for e in events if isinstance(e, SweepCreated | SweepEdited)]
    assert versions == [2, 3]


def test_a_paused_sweep_drains_and_goes_on_when_resumed(lab: Callable[..., Lab]) -> None:
    sweep = lab(trials=4, parallel=1).ask_for(PauseRequested("", "p1"))
    paused = sweep.run()
    assert (paused.mode, len(paused.trials)) == (Mode.PAUSED, 0)
    sweep.ask_for(ResumeRequested("r1"))
    assert sweep.run().end is EndReason.COMPLETED


def test_a_request_is_carried_out_once_however_often_it_is_posted(lab: Callable[..., Lab]) -> None:
    params = {"trainer.learning_rate": 0.001, "trainer.gamma": 0.95}
    params |= {"trainer.batch_size": 32, "model.activation": "relu"}
    request = ParamsEnqueued("e1", params)
    sweep = lab(trials=2, parallel=1).ask_for(request)
    sweep.run(watch=lambda _state, _event: inbox.post(sweep.folder.inbox, request))
    state = fold_of(sweep)
    assert [t.origin for t in state.ordered] == [Origin.USER, Origin.OPTIMIZER]
    assert state.trials[1].params["trainer.gamma"] == 0.95


def fold_of(sweep: Lab) -> State:
    with Journal(sweep.folder.database) as journal:
        state = fold(journal.read())
    assert state is not None
    return state


def test_stopping_drains(lab: Callable[..., Lab]) -> None:
    sweep = lab(trials=9, parallel=2)

    def stop_at_the_third(state: State, _event: object) -> None:
        if len(state.trials) == 3:
            inbox.post(sweep.folder.inbox, StopRequested("s1"))

    state = sweep.run(watch=stop_at_the_third)
    assert state.end is EndReason.STOPPED
    assert not state.live_trials
    assert len(state.trials) < 9
    assert all(t.state is TrialState.SUCCEEDED for t in state.ordered if t.attempts)


def test_cancelling_leaves_nothing_running(lab: Callable[..., Lab]) -> None:
    sweep = lab(lambda _job: SimulatedRun(duration_seconds=1e6), trials=9, parallel=3)

    def cancel_when_running(state: State, _event: object) -> None:
        if len(state.live_trials) == 3:
            inbox.post(sweep.folder.inbox, CancelRequested("c1"))

    state = sweep.run(watch=cancel_when_running)
    assert state.end is EndReason.CANCELLED
    assert sweep.executor.names("") == []
    assert {t.state for t in state.ordered} == {TrialState.CANCELLED}


def test_a_retried_trial_gets_another_attempt(lab: Callable[..., Lab]) -> None:
    sweep = lab(lambda job: replace_run(score_by_params(job), exit_code=int(job.attempt == 1)))
    sweep.config = a_config(trials=1)
    assert sweep.run().trials[1].failure is Failure.CRASHED
    with JournalWriter(sweep.folder.database, now=sweep.clock.now()) as journal:
        journal.append(TrialRetried(1, "t1"), sweep.clock.now())
        journal.append(ResumeRequested("r1"), sweep.clock.now())
    state = sweep.run()
    assert state.trials[1].state is TrialState.SUCCEEDED
    assert len(state.trials[1].attempts) == 2


def test_interrupted_trials_are_ended_and_go_on_later(lab: Callable[..., Lab]) -> None:
    sweep = lab(trials=2, parallel=2)

    class Leave(Exception):  # noqa: N818 - it is no error
        pass

    def leave(state: State, _event: object) -> None:
        if all(t.state is TrialState.RUNNING for t in state.ordered) and len(state.trials) == 2:
            raise Leave

    with pytest.raises(Leave):
        sweep.run(watch=leave)
    with JournalWriter(sweep.folder.database, now=sweep.clock.now()) as journal:
        state = fold(journal.read())
        assert state is not None
        Coordinator(sweep.folder, journal, state, sweep.world).interrupt()
    assert sweep.executor.names("") == []
    state = sweep.run()
    assert state.end is EndReason.COMPLETED
    assert [len(t.attempts) for t in state.ordered] == [2, 2]


def test_a_trial_finds_the_files_of_the_reference_system(lab: Callable[..., Lab]) -> None:
    sweep = lab(trials=1, hardware={"device": "cpu"})
    state = sweep.run()
    run = sweep.folder.run(state.trials[1].run_id)
    overrides = yaml.safe_load((run / "train_config_overrides.yaml").read_text())
    suggestion = yaml.safe_load((run / "protein_suggestion.yaml").read_text())
    protein_state = yaml.safe_load((run / "protein_state.yaml").read_text())
    assert overrides["device"] == "cpu"
    assert overrides["trainer"]["gamma"] == state.trials[1].params["trainer.gamma"]
    assert suggestion["params"] == state.trials[1].params
    assert protein_state["num_suggestions"] == 1
    assert (sweep.folder.path / "config.yaml").is_file()
    assert [path.name for path in run.glob("dist_*.yaml")] == ["dist_demo-abcd-1-1.yaml"]


def rising(job: Job) -> SimulatedRun:
    """Ten minutes of work that reports gamma × minute each minute."""
    gamma = float(json.loads((job.run_dir / "params.json").read_text())["trainer.gamma"])
    reports = tuple(
        Report(after_seconds=60.0 * m, step=m, metrics={"reward": (gamma - 0.9) * m})
        for m in range(1, 10)
    )
    metrics = {"reward": (gamma - 0.9) * 10}
    return SimulatedRun(duration_seconds=600.0, reports=reports, metrics=metrics)


def test_trials_that_fall_behind_are_stopped_and_still_teach(lab: Callable[..., Lab]) -> None:
    rule = {"method": "median", "resource": "step", "grace": 2, "min_trials": 3}
    sweep = lab(rising, trials=12, parallel=2, sweep={"early_stopping": rule, "method": "random"})
    state = sweep.run()
    stopped = [t for t in state.ordered if t.state is TrialState.STOPPED]
    assert state.end is EndReason.COMPLETED
    assert stopped
    assert max(state.ordered, key=lambda t: t.score or 0.0) not in stopped
    for trial in stopped:
        assert trial.failure is Failure.STOPPED_EARLY
        assert "below the median" in trial.detail
        assert trial.score is not None
        assert trial.attempts[0].machine_seconds < 600
        taught = observation(trial)
        assert taught is not None
        assert (taught.score, taught.is_failure) == (trial.score, False)


def test_each_suggestion_is_run_with_as_many_seeds_as_asked_for(lab: Callable[..., Lab]) -> None:
    state = lab(trials=7, parallel=2, sweep={"seeds": 3}).run()
    trials = list(state.ordered)
    assert [t.params["seed"] for t in trials] == [0, 1, 2, 0, 1, 2, 0]
    without_seed = [{k: v for k, v in t.params.items() if k != "seed"} for t in trials]
    assert without_seed[0] == without_seed[1] == without_seed[2] != without_seed[3]
    assert [t.info["of"] for t in trials] == [1, 1, 1, 4, 4, 4, 7]


def test_suggestions_obey_the_sweeps_constraints(lab: Callable[..., Lab]) -> None:
    rule = "trainer.gamma * 100 <= trainer.batch_size or trainer.batch_size < 50"
    sweep = lab(trials=12, sweep={"constraints": [rule]})
    for trial in sweep.run().ordered:
        gamma, batch = trial.params["trainer.gamma"], trial.params["trainer.batch_size"]
        assert gamma * 100 <= batch or batch < 50


def test_two_objectives_are_searched_along_their_front(lab: Callable[..., Lab]) -> None:
    def trade(job: Job) -> SimulatedRun:
        params = json.loads((job.run_dir / "params.json").read_text())
        reward, latency = params["trainer.gamma"], params["trainer.batch_size"]
        return SimulatedRun(duration_seconds=60.0, metrics={"reward": reward, "latency": latency})

    second = {"metric": "latency", "goal": "minimize"}
    state = lab(trade, trials=14, sweep={"second_objective": second}).run()
    kept = front(a_config(sweep={"second_objective": second}).sweep, list(state.ordered))
    assert state.end is EndReason.COMPLETED
    assert max(t.metrics["reward"] for t in kept) > 0.99
    assert min(t.metrics["latency"] for t in kept) == 16


def test_a_trial_without_the_second_metric_has_no_result(lab: Callable[..., Lab]) -> None:
    second = {"metric": "latency", "goal": "minimize"}
    trial = lab(trials=1, sweep={"second_objective": second}).run().trials[1]
    assert trial.failure is Failure.NO_RESULT
    assert "'latency'" in trial.detail


class AwayForADay:
    """W&B as the only source of results, away for 24 hours of virtual time."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self._back_at = clock.now() + 86_400
        self.asked = 0

    @property
    def problem(self) -> str:
        return "W&B is away" if self._clock.now() < self._back_at else ""

    def read(self, runs: Sequence[Run]) -> dict[str, Result]:
        self.asked += 1
        if self.problem:
            return {}
        return {run.run_id: Result({"reward": 0.5}, source="wandb") for run in runs}


def test_results_that_only_w_and_b_has_wait_until_it_is_back(lab: Callable[..., Lab]) -> None:
    sweep = lab(lambda _job: SimulatedRun(duration_seconds=60.0), trials=2, parallel=2)
    away = AwayForADay(sweep.clock)
    state = sweep.run(metrics=away, poll_seconds=60.0, result_grace_seconds=300.0)
    assert [t.score for t in state.ordered] == [0.5, 0.5]
    assert state.trials[1].attempts[0].machine_seconds == 60.0


def test_a_job_that_the_ledger_does_not_keep_is_ended(lab: Callable[..., Lab]) -> None:
    """As after a job that was taken for lost comes back."""
    sweep = lab(lambda job: SimulatedRun(duration_seconds=1e9 if job.attempt > 7 else 60.0))
    said: list[str] = []
    orphan = Job("demo-abcd-1-9", "demo.abcd.r.1", 9, sweep.folder.path / "x", Path(), "true")
    other = Job("demo-other-1-9", "demo.other.r.1", 9, sweep.folder.path / "y", Path(), "true")
    for job in (orphan, other):
        sweep.executor.submit(job)
    sweep.run(notice=said.append)
    assert sweep.executor.names("") == ["demo-other-1-9"]
    assert said == ["job demo-abcd-1-9 runs and is no trial's any more: it is ended"]


def test_trouble_with_the_executor_is_told_when_it_begins_and_when_it_is_over(
    lab: Callable[..., Lab],
) -> None:
    sweep, said = lab(), list[str]()
    answers = iter([False, True, True, False])

    class Away(SimulatedExecutor):
        def poll(self, names: Sequence[str]) -> Mapping[str, Outcome]:
            if next(answers, False):
                raise ExecutorError("SkyPilot does not answer")
            return super().poll(names)

    sweep.executor = Away(sweep.clock, score_by_params)
    sweep.run(notice=said.append)
    assert said == [
        "jobs cannot be looked at now: SkyPilot does not answer",
        "jobs can be looked at again",
    ]


def test_parameters_enqueued_beyond_the_total_do_not_keep_a_sweep_from_its_end(
    lab: Callable[..., Lab],
) -> None:
    sweep = lab(trials=2)
    asked = [ParamsEnqueued(str(number), dict(PARAMS)) for number in range(3)]
    state = sweep.ask_for(*asked).run()
    assert (state.end, len(state.trials)) == (EndReason.COMPLETED, 2)
    assert [item.command_id for item in state.queue] == ["2"]
    longer = extended(sweep.config, trials=3).to_mapping()
    state = sweep.ask_for(SweepEdited(longer, "", "more"), ResumeRequested("on")).run()
    assert (len(state.trials), state.queue) == (3, ())
