"""What the storm suite shows at length, shown shortly; and laws under any order of events."""

import math
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from launcher import sweep
from launcher.budget import Offer, reserved_usd, spent_usd
from launcher.errors import DamageError, DiskError, ExecutorError, JournalError
from launcher.events import AttemptEnded, Event, Failure, PauseRequested, Recorded, SweepCreated
from launcher.executors.simulated import SimulatedExecutor, SimulatedRun
from launcher.journal import Journal, JournalWriter
from launcher.metrics import RunFolderMetrics
from launcher.ports import Cause, Job, Outcome, Phase, Result, Run
from launcher.state import Mode, State, TrialState, fold
from tests.launcher.builders import a_config
from tests.launcher.test_coordinator import Lab, score_by_params
from tests.storm.lab import Lab as StormLab
from tests.storm.lab import (
    Points,
    check_nothing_lost,
    fast_folder,
    finish,
    kill_at,
    params_of,
    random_ask,
)


def test_a_sweep_killed_at_some_steps_ends_as_if_it_had_not_been() -> None:
    with fast_folder() as folder:
        whole, points = StormLab(folder / "whole", a_config(trials=4), ask=random_ask), Points()
        whole.coordinate(points)
        submitted = [step for step, what in enumerate(points.seen, 1) if what == "after submit"]
        for step in {*submitted, *random.Random(1).sample(range(1, len(points.seen)), 6)}:
            lab = StormLab(folder / str(step), a_config(trials=4), ask=random_ask)
            assert kill_at(lab, step)
            finish(lab)
            assert params_of(check_nothing_lost(lab, trials=4)) == params_of(whole.state())


def test_a_changed_row_is_noticed_though_sqlite_finds_nothing_wrong(tmp_path: Path) -> None:
    import sqlite3

    path = tmp_path / "sweep.db"
    with JournalWriter(path, now=0.0, first=SweepCreated("abcd", {}, "0")) as journal:
        journal.append(PauseRequested("one"), 1.0)
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("UPDATE events SET body = replace(body, 'one', 'two')")
    db.close()
    with Journal(path) as journal, pytest.raises(DamageError, match="event 2 is damaged"):
        list(journal.read())


def test_a_missing_wal_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "sweep.db"
    writer = JournalWriter(path, now=0.0, first=SweepCreated("abcd", {}, "0"))
    writer.append(PauseRequested("one"), 1.0)
    copy = tmp_path / "copy.db"
    copy.write_bytes(path.read_bytes())
    Path(f"{copy}-tip").write_bytes(Path(f"{path}-tip").read_bytes())
    writer.close()
    with Journal(copy) as journal, pytest.raises(DamageError, match="-wal file is gone"):
        list(journal.read())


def test_an_event_that_could_not_be_read_back_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "sweep.db"
    with JournalWriter(path, now=0.0, first=SweepCreated("abcd", {}, "0")) as journal:
        with pytest.raises(JournalError, match="cannot be recorded"):
            journal.append(AttemptEnded(1, 1, None, cost_usd=math.nan), 1.0)
        assert len(list(journal.read())) == 1


def test_a_sweep_exists_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from launcher.folder import SweepFolder

    folder = SweepFolder(tmp_path / "demo")
    monkeypatch.setattr("launcher.journal.encode", lambda _event: b"{}")
    with pytest.raises(JournalError):
        sweep.create(folder, a_config())
    assert not folder.exists()
    monkeypatch.undo()
    sweep.create(folder, a_config())
    assert not sweep.read(folder).trials


@pytest.mark.parametrize("is_written", [False, True])
def test_a_full_disk_is_waited_out_and_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_written: bool
) -> None:
    lab, notices, calls = Lab(tmp_path, a_config(trials=3)), list[str](), 0
    append = JournalWriter.append

    def full(self: JournalWriter, event: Event, at: float) -> Recorded:
        nonlocal calls
        calls += 1
        if 6 <= calls < 10:
            if is_written and calls == 6:  # a late failure: the event is on the disk all the same
                append(self, event, at)
            raise DiskError("sweep.db: database or disk is full")
        return append(self, event, at)

    monkeypatch.setattr(JournalWriter, "append", full)
    state = lab.run(notice=notices.append)
    assert [t.state for t in state.ordered] == [TrialState.SUCCEEDED] * 3
    with Journal(lab.folder.database) as journal:
        recorded = [repr(record.event) for record in journal.read()]
    assert len(recorded) == len(set(recorded))
    assert notices == [
        "waiting for the disk: sweep.db: database or disk is full",
        "the disk is back",
    ]


class Gone(RunFolderMetrics):
    """A metric source that cannot be asked for its first calls."""

    calls = 0

    def read(self, runs: Sequence[Run]) -> Mapping[str, Result]:
        self.calls += 1
        if self.calls < 5:
            raise ExecutorError("W&B is down")
        return super().read(runs)


def test_results_wait_for_a_metric_source_that_is_down(tmp_path: Path) -> None:
    state = Lab(tmp_path, a_config(trials=2)).run(metrics=Gone())
    assert [t.state for t in state.ordered] == [TrialState.SUCCEEDED] * 2


def test_a_trial_that_was_done_when_its_machine_vanished_is_not_run_again(tmp_path: Path) -> None:
    class Forgetful(SimulatedExecutor):
        def poll(self, names: Sequence[str]) -> Mapping[str, Outcome]:
            real = super().poll(names)
            return {n: Outcome(Phase.ABSENT) if o.is_over else o for n, o in real.items()}

    lab = Lab(tmp_path, a_config(trials=2))
    lab.executor = Forgetful(lab.clock, score_by_params)
    assert [len(t.attempts) for t in lab.run().ordered] == [1, 1]


class Stepping:
    """A cluster whose clock, and whose files', is set by an hour after some calls."""

    def __init__(self, inner: SimulatedExecutor, step: float) -> None:
        self.inner, self.step, self.calls = inner, step, 0

    def submit(self, job: Job) -> None:
        self.inner.submit(job)

    def cancel(self, names: Sequence[str]) -> None:
        self.inner.cancel(names)

    def names(self, prefix: str) -> Sequence[str]:
        return self.inner.names(prefix)

    def poll(self, names: Sequence[str]) -> Mapping[str, Outcome]:
        self.calls += 1
        return {name: self._stepped(outcome) for name, outcome in self.inner.poll(names).items()}

    def _stepped(self, outcome: Outcome) -> Outcome:
        import msgspec

        def moved(at: float | None) -> float | None:
            return None if at is None else at + self.step

        ended = moved(outcome.ended_at)
        began = moved(outcome.started_at) if self.calls > 20 else outcome.started_at
        return msgspec.structs.replace(outcome, started_at=began, ended_at=ended)


@pytest.mark.parametrize("step", [-3600.0, 3600.0])
def test_a_clock_that_is_set_by_an_hour_ends_no_trial_and_costs_nothing(
    tmp_path: Path, step: float
) -> None:
    config = a_config(trials=6, execution={"timeout_seconds": 600, "stall_seconds": 600})
    lab = Lab(tmp_path, config)
    lab.offer = Offer(price_usd_per_hour=6.0, parallel=2)
    executor = SimulatedExecutor(lab.clock, score_by_params, price_usd_per_hour=6.0)
    lab.executor = Stepping(executor, step)  # type: ignore[assignment]  # it is an Executor
    state = lab.run()
    assert [t.state for t in state.ordered] == [TrialState.SUCCEEDED] * 6
    assert 0.5 <= state.settled_usd <= 0.7  # six minutes at 0.1 a minute


def test_the_systems_clock_has_no_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = sweep.SystemClock()
    before = clock.now()
    monkeypatch.setattr("time.time", lambda: before - 3600)
    assert before <= clock.now() < before + 60


def test_a_coordinator_that_slept_for_minutes_finds_what_happened(tmp_path: Path) -> None:
    config = a_config(trials=6, execution={"timeout_seconds": 300})
    lab = Lab(tmp_path, config)

    def oversleep(state: State, record: Recorded | None) -> None:
        if record is not None and record.seq % 7 == 0:
            lab.clock.sleep(240.0)

    state = lab.run(watch=oversleep)
    assert [t.state for t in state.ordered] == [TrialState.SUCCEEDED] * 6


# --- laws -------------------------------------------------------------------------------------

times = st.none() | st.floats() | st.floats(-1e4, 1e4).map(lambda s: 1_700_000_000.0 + s)
outcomes = st.builds(
    Outcome,
    phase=st.sampled_from(Phase),
    exit_code=st.none() | st.integers(-1, 256),
    started_at=times,
    ended_at=times,
    price_usd_per_hour=st.floats(),
    detail=st.text(max_size=8),
    cause=st.sampled_from(Cause),
)
results = st.none() | st.builds(
    Result,
    metrics=st.dictionaries(st.sampled_from(["reward", "x"]), st.floats()),
    cost_seconds=st.none() | st.floats(0, 1e9),
    source=st.sampled_from(["result.json", "log"]),
    diverged=st.booleans(),
)


class Hostile:
    """Executor and metric source that answer late, twice, in any order, absurdly or not at all."""

    def __init__(self, data: st.DataObject, clock: Any) -> None:
        self._data, self._clock = data, clock
        self.submitted: list[str] = []
        self._patience = 30  # after so many lies, the truth: all is over

    def _lies(self) -> bool:
        self._patience -= 1
        return self._patience > 0

    def submit(self, job: Job) -> None:
        if self._lies() and self._data.draw(st.integers(0, 4)) == 0:
            raise ExecutorError("no")
        self.submitted.append(job.name)

    def poll(self, names: Sequence[str]) -> Mapping[str, Outcome]:
        if not self._lies():
            now = self._clock.now()
            return {n: Outcome(Phase.EXITED, 0, now - 1, now) for n in names}
        if self._data.draw(st.integers(0, 4)) == 0:
            raise ExecutorError("no answer")
        known = self._data.draw(st.lists(st.sampled_from([*names, "another"]), unique=True))
        return {name: self._data.draw(outcomes) for name in known}

    def cancel(self, names: Sequence[str]) -> None:
        if self._lies() and self._data.draw(st.booleans()):
            raise ExecutorError("no")

    def names(self, prefix: str) -> Sequence[str]:
        return []

    @property
    def problem(self) -> str:
        return self._data.draw(st.sampled_from(["", "away"])) if self._lies() else ""

    def read(self, runs: Sequence[Run]) -> Mapping[str, Result]:
        if not self._lies():
            return {run.run_id: Result({"reward": 1.0}, source="result.json") for run in runs}
        found = {run.run_id: self._data.draw(results) for run in runs}
        return {run_id: result for run_id, result in found.items() if result is not None}


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_no_answer_however_absurd_breaks_a_sweep(data: st.DataObject) -> None:
    with fast_folder() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr("launcher.coordinator.TICK_SECONDS", 30.0)
        lied_to(data, folder)


def lied_to(data: st.DataObject, folder: Path) -> None:
    limits = {"timeout_seconds": 1800, "max_consecutive_failures": None}
    config = a_config(trials=3, execution=limits, budget={"usd": 1e6})
    lab = Lab(folder, config)
    lab.offer = Offer(price_usd_per_hour=1.0, parallel=2)
    world = Hostile(data, lab.clock)
    lab.executor = world  # type: ignore[assignment]  # it is an Executor
    state = lab.run(metrics=world, poll_seconds=30.0, ask=random_ask)
    with Journal(lab.folder.database) as journal:
        assert fold(journal.read()) == state
    assert state.mode is Mode.ENDED
    assert not state.live_trials
    assert len(set(world.submitted)) == len(world.submitted)
    assert math.isfinite(state.settled_usd)
    assert state.settled_usd >= 0
    ended = [a for trial in state.ordered for a in trial.attempts]
    lasted = lab.clock.now() - 1_700_000_000.0
    assert all(a.is_over and 0 <= a.machine_seconds <= lasted + 60 for a in ended)


scripts = st.builds(
    SimulatedRun,
    duration_seconds=st.none() | st.floats(0, 900),
    exit_code=st.sampled_from([0, 1, 75, 137]),
    metrics=st.none() | st.fixed_dictionaries({"reward": st.floats(-1, 1)}),
    pending_seconds=st.sampled_from([0.0, 10.0, 1000.0]),
    lost_after=st.none() | st.floats(0, 900),
    cause=st.sampled_from(Cause),
    launch_error=st.sampled_from(["", "", "", "quota"]),
)


@settings(max_examples=25, deadline=None)
@given(
    cap=st.floats(0.1, 10),
    price=st.floats(0.5, 20),
    asked=st.lists(scripts, min_size=1, max_size=12),
    silent=st.sets(st.integers(1, 200), max_size=60),
    dies=st.sets(st.integers(1, 120), max_size=6),
)
def test_spend_and_reservations_never_exceed_the_cap(
    cap: float,
    price: float,
    asked: list[SimulatedRun],
    silent: set[int],
    dies: set[int],
) -> None:
    with fast_folder() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr("launcher.coordinator.TICK_SECONDS", 30.0)
        capped(folder, cap, price, asked, silent, dies)


def capped(
    folder: Path,
    cap: float,
    price: float,
    asked: list[SimulatedRun],
    silent: set[int],
    dies: set[int],
) -> None:
    limits = {"timeout_seconds": 600, "max_consecutive_failures": None}
    config = a_config(trials=8, parallel=4, execution=limits, budget={"usd": cap})
    lab = Lab(folder, config)
    lab.offer = Offer(price_usd_per_hour=price, parallel=4)
    lab.executor = SimulatedExecutor(
        lab.clock,
        lambda job: asked[int(job.name.split("-")[2]) % len(asked)],
        price_usd_per_hour=price,
        fault=lambda _method, number: "silent" if number in silent else "",
    )
    ticks = 0

    class Death(Exception):  # noqa: N818 - it is no error
        pass

    def watch(state: State, _record: Recorded | None) -> None:
        nonlocal ticks
        ticks += 1
        now = lab.clock.now()
        assert spent_usd(state, now) + reserved_usd(state, now) <= cap * (1 + 1e-9)
        if ticks in dies:
            raise Death

    while True:
        try:
            state = lab.run(watch=watch, poll_seconds=30.0, ask=random_ask)
            break
        except Death:
            lab.clock.sleep(700.0 if ticks % 2 else 0.0)
    truly = sum(max(0.0, j.ends_at - j.program_at) for j in lab.executor.jobs()) / 3600 * price
    assert truly <= cap * (1 + 1e-9)
    assert state.settled_usd == pytest.approx(truly, rel=1e-6, abs=1e-6)


def test_a_machine_dearer_than_offered_is_given_back_before_the_cap(tmp_path: Path) -> None:
    config = a_config(trials=2, execution={"timeout_seconds": 3600}, budget={"usd": 5})
    lab = Lab(tmp_path, config, lambda _job: SimulatedRun(duration_seconds=3500.0))
    lab.offer = Offer(price_usd_per_hour=2.0, parallel=2)
    lab.executor = SimulatedExecutor(
        lab.clock, lambda _job: SimulatedRun(duration_seconds=3500.0), price_usd_per_hour=20.0
    )
    state = lab.run()
    assert 4 < state.settled_usd <= 5
    assert state.trials[1].failure is Failure.CANCELLED
