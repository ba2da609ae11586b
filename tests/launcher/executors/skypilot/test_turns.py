"""Jobs that are sent to a machine where another one still runs: they wait for their turn."""

import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from launcher.budget import Offer
from launcher.coordinator import Coordinator, World
from launcher.events import SweepCreated
from launcher.executors.skypilot.calls import Exec, Launch, ListJobs
from launcher.executors.skypilot.executor import SkyPilotExecutor
from launcher.executors.skypilot.queues import PATIENCE_SECONDS
from launcher.executors.skypilot.wrapping import over_file
from launcher.folder import SweepFolder
from launcher.journal import JournalWriter
from launcher.metrics import RunFolderMetrics
from launcher.optimizer import ask
from launcher.ports import Cause, Job, Outcome, Phase
from launcher.state import State, apply
from tests.launcher.builders import a_config
from tests.launcher.executors.skypilot.fake_sky import Cloud
from tests.launcher.executors.skypilot.test_executor import SkyCluster, until_over
from tests.launcher.waiting import eventually


class Gated(SkyCluster):
    """Clusters whose jobs end when they are told to."""

    def __init__(self, folder: Path, workers: int) -> None:
        super().__init__(folder, "reused_clusters")
        self.settings = replace(self.settings, workers=workers)

    def gated(self, run_id: str) -> Job:
        go = self.folder / f"go-{run_id}"
        return self.job(f"while [ ! -e {go} ]; do sleep 0.02; done; exit 4", run_id)

    def let_go(self, run_id: str) -> None:
        (self.folder / f"go-{run_id}").touch()

    def has_begun(self, job: Job) -> bool:
        return bool(list(self.started(job)))


@pytest.fixture
def one(tmp_path: Path) -> Iterator[Gated]:
    """A single cluster."""
    made = Gated(tmp_path, 1)
    yield made
    made.cloud.clean()


def a_busy_one(one: Gated, executor: SkyPilotExecutor) -> tuple[Job, Job]:
    """A job that runs, and one that SkyPilot has started beside it."""
    first, second = one.gated("a"), one.gated("b")
    executor.submit(first)
    eventually(lambda: executor.poll(["a-1"])["a-1"].phase is Phase.RUNNING)
    executor.submit(second)
    eventually(lambda: executor.poll(["b-1"])["b-1"].detail.startswith("queued"))
    eventually(lambda: len(one.cloud.tasks()) == 2)
    eventually(lambda: one.has_begun(first))
    return first, second


def test_a_job_waits_for_its_turn_and_its_machine_is_paid_once(one: Gated) -> None:
    executor = one.executor()
    _, second = a_busy_one(one, executor)
    assert executor.poll(["b-1"])["b-1"].phase is Phase.PENDING
    assert not one.has_begun(second)
    one.let_go("a")
    ran = until_over(executor, "a-1")
    running = eventually(lambda: _running(executor.poll(["b-1"])["b-1"]))
    assert running.held_since == running.started_at == ran.ended_at
    one.let_go("b")
    assert until_over(executor, "b-1").held_since == ran.ended_at
    assert [type(c) for c in one.cloud.calls if isinstance(c, Launch | Exec)] == [Launch, Exec]


def _running(outcome: Outcome) -> Outcome | None:
    return outcome if outcome.phase is Phase.RUNNING else None


def test_on_a_folder_that_we_see_too_a_job_says_when_to_look(one: Gated) -> None:
    shared = one.folder / "shared"
    one.settings = replace(one.settings, storage=str(shared), look_seconds=PATIENCE_SECONDS)
    executor = one.executor()
    executor.submit(one.gated("a"))
    eventually(lambda: executor.poll(["a-1"])["a-1"].phase is Phase.RUNNING)
    before, asked_at = len(one.cloud.calls), one.cloud.clock
    one.let_go("a")
    eventually((shared / "a" / over_file(1)).exists)
    assert until_over(executor, "a-1").exit_code == 4
    assert one.cloud.clock - asked_at < PATIENCE_SECONDS
    assert all(isinstance(call, ListJobs) for call in one.cloud.calls[before:])
    assert not executor._returns


def test_a_job_is_sent_ahead_only_once_the_one_before_has_begun(one: Gated) -> None:
    executor = one.executor()
    executor.submit(one.gated("a"))
    executor.submit(one.gated("b"))
    eventually(lambda: executor.poll([]) or any(isinstance(c, Exec) for c in one.cloud.calls))
    kinds = [type(call) for call in one.cloud.calls]
    assert kinds.index(ListJobs) < kinds.index(Exec)


def test_a_job_that_is_cancelled_before_its_turn_costs_nothing(one: Gated) -> None:
    executor = one.executor()
    _, second = a_busy_one(one, executor)
    executor.cancel(["b-1"])
    outcome = until_over(executor, "b-1")
    assert (outcome.phase, outcome.started_at, outcome.held_since) == (Phase.KILLED, None, None)
    assert executor.poll(["a-1"])["a-1"].phase is Phase.RUNNING
    assert not one.has_begun(second)


def test_a_job_whose_cluster_goes_before_its_turn_is_sent_again(one: Gated) -> None:
    executor = one.executor()
    _, second = a_busy_one(one, executor)
    one.cloud.lose("ps-a-1")
    assert until_over(executor, "a-1").cause is Cause.NODE_LOST
    one.let_go("b")
    assert until_over(executor, "b-1").exit_code == 4
    assert len(list(one.started(second))) == 1


def test_after_a_restart_the_place_on_a_lost_cluster_is_not_taken_for_the_new_one(
    one: Gated, monkeypatch: pytest.MonkeyPatch
) -> None:
    executor = one.executor()
    a_busy_one(one, executor)
    monkeypatch.setattr(
        executor._starting, "_start", lambda *_: None
    )  # killed before the second request
    one.cloud.lose("ps-a-1")
    until_over(executor, "a-1")
    following = one.executor()
    for run_id in ("c", "d"):  # of these the second has the number that the lost one had
        following.submit(one.job("exit 0", run_id))
    assert [until_over(following, name).exit_code for name in ("c-1", "d-1")] == [0, 0]
    one.cloud.clock += 1000
    assert until_over(following, "b-1").phase is Phase.LOST


def test_a_second_job_for_a_cluster_that_is_being_launched_waits_for_that(one: Gated) -> None:
    executor = one.executor()
    for run_id in ("a", "b"):
        executor.submit(one.gated(run_id))
        one.let_go(run_id)
    assert [type(c) for c in one.cloud.calls] == [Launch]
    assert [until_over(executor, name).exit_code for name in ("a-1", "b-1")] == [4, 4]


STEPS = st.lists(
    st.tuples(st.sampled_from(["", "end", "cancel", "lose"]), st.integers(0, 5)),
    min_size=6,
    max_size=6,
)


@example([("cancel", 0), ("", 0), ("", 0), ("", 0), ("lose", 2), ("", 0)])  # before any list
@given(steps=STEPS)
@settings(max_examples=15)
def test_no_machine_time_is_charged_twice(steps: list[tuple[str, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        cluster = Gated(Path(folder), 2)
        executor, names = cluster.executor(), [f"r{number}-1" for number in range(6)]
        try:
            for submitted, (step, number) in enumerate(steps):
                executor.submit(cluster.gated(f"r{submitted}"))
                executor.poll(names)
                _carry_out(cluster, executor, step, number)
                executor.poll(names)
            for number in range(6):
                cluster.let_go(f"r{number}")
            outcomes = {name: until_over(executor, name) for name in names}
            for worker in ("ps-w0", "ps-w1"):
                there = {entry.name for entry in executor._ledger.of_cluster(worker)}
                _assert_apart([outcome for name, outcome in outcomes.items() if name in there])
        finally:
            cluster.cloud.clean()


def _carry_out(cluster: Gated, executor: SkyPilotExecutor, step: str, number: int) -> None:
    match step:
        case "end":
            cluster.let_go(f"r{number}")
        case "cancel":
            executor.cancel([f"r{number}-1"])
        case "lose":
            cluster.cloud.lose(f"ps-r{number}-1")


def _assert_apart(outcomes: list[Outcome]) -> None:
    paid = sorted((o.held_since, o.ended_at) for o in outcomes if o.held_since and o.ended_at)
    assert all(until <= since for (_, until), (since, _) in pairwise(paid))


class CloudClock:
    """The fake cloud's own clock, as a coordinator's: its programs get time to run."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    def now(self) -> float:
        return self._cloud.now()

    def sleep(self, seconds: float) -> None:
        self._cloud.clock += seconds
        time.sleep(0.01)


def test_a_sweep_of_short_trials_keeps_its_machine_busy_and_pays_it_once(one: Gated) -> None:
    config = a_config(parallel=1, trials=6, task={"run": "echo 'PROTEIN_RESULT {\"reward\": 1}'"})
    clock, offer = CloudClock(one.cloud), Offer(1.0, parallel=1, start_seconds=1e6)
    world = World(one.executor(), RunFolderMetrics(), clock, offer, ask)
    folder = SweepFolder(one.folder / config.name)
    with JournalWriter(folder.database, now=clock.now()) as journal:
        created = SweepCreated("abcd", config.to_mapping(), "0")
        state = apply(None, journal.append(created, clock.now()))
        ended = Coordinator(folder, journal, state, world).run()
    attempts = [attempt for trial in ended.ordered for attempt in trial.attempts]
    assert [attempt.failure for attempt in attempts] == [None] * 6
    assert max(_waiting_at_once(ended)) == 1
    paid = [a for a in attempts if a.ended_at is not None and a.machine_seconds]
    spans = sorted((a.ended_at - a.machine_seconds, a.ended_at) for a in paid if a.ended_at)
    assert all(until <= since + 1e-6 for (_, until), (since, _) in pairwise(spans))


def _waiting_at_once(state: State) -> Iterator[int]:
    """How many other trials had been submitted and had not begun when each began."""
    attempts = [trial.attempts[0] for trial in state.ordered]
    for begun in attempts:
        at = begun.started_at or 0.0
        yield sum(a.submitting_at < at < (a.started_at or 0.0) for a in attempts)
