"""The executor on SkyPilot, in all three ways to place a job, over a SkyPilot of our own."""

import contextlib
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from launcher.errors import ExecutorError
from launcher.executors.skypilot.calls import (
    Answer,
    ApplyPool,
    Call,
    Down,
    Exec,
    Launch,
    LaunchManaged,
    ListClusters,
    ListJobs,
    ListManaged,
    Placed,
    Problem,
    SkyJob,
    Status,
    Where,
)
from launcher.executors.skypilot.executor import SkyPilotExecutor
from launcher.executors.skypilot.placing import Placing, Settings
from launcher.ports import Cause, Job, Outcome, Phase
from tests.launcher.executor_contract import Cluster, ExecutorContract
from tests.launcher.executors.skypilot.fake_sky import Cloud, FakeSky
from tests.launcher.executors.test_local import PROGRAMS
from tests.launcher.waiting import eventually

COUNT = 'echo start >> "$PROTEIN_RUN_DIR/starts"\n'


class SkyCluster(Cluster):
    """Tasks on the fake cloud are real processes."""

    def __init__(self, folder: Path, placing: Placing) -> None:
        super().__init__(folder)
        self.cloud = Cloud(folder / "cloud")
        self.settings = Settings(placing, "", {}, workers=200, look_seconds=0.0)

    def executor(self) -> SkyPilotExecutor:
        return SkyPilotExecutor(self.folder, FakeSky(self.cloud), self.settings, now=self.cloud.now)

    def script(self, program: str) -> str:
        return PROGRAMS.get(program, f"{COUNT} {program}")

    def pass_time(self) -> None:
        time.sleep(0.01)

    def lose(self, name: str) -> None:
        eventually(lambda: self.executor().poll([name])[name].phase is Phase.RUNNING)
        self.cloud.lose(f"ps-{name}")

    def starts(self, job: Job) -> int:
        def counted() -> int:
            self.executor().poll([job.name])
            return len(list(self.started(job)))

        return eventually(counted)

    def started(self, job: Job) -> Iterator[str]:
        """A line for each start of the job's program, on any machine."""
        for file in self.folder.glob(f"cloud/machines/*/.protein-sky/runs/{job.run_id}/starts"):
            yield from file.read_text().splitlines()

    def received(self, job: Job) -> tuple[Sequence[str], Mapping[str, str]]:
        arguments = (job.run_dir / "arguments").read_bytes().split(b"\0")[:-1]
        variables = (job.run_dir / "env").read_bytes().split(b"\0")[:-1]
        pairs = [v.decode().partition("=") for v in variables]
        return [a.decode() for a in arguments], {name: value for name, _, value in pairs}


@pytest.fixture(params=["managed_jobs", "reused_clusters", "cluster_per_trial"])
def cluster(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[SkyCluster]:
    made = SkyCluster(tmp_path, request.param)
    yield made
    made.cloud.clean()


class TestContract(ExecutorContract):
    pass


def test_a_job_that_writes_nothing_more_is_ended_where_it_runs(cluster: SkyCluster) -> None:
    job = replace(cluster.job("sleep 600"), stall_seconds=0.4)
    cluster.executor().submit(job)
    outcome = cluster.until_over(job.name)
    assert (outcome.phase, outcome.cause) == (Phase.KILLED, Cause.STALLED)
    assert not cluster.executor().names("")


# --- dying between two steps ---------------------------------------------------------------------


@pytest.fixture
def warm(tmp_path: Path) -> Iterator[SkyCluster]:
    """Two clusters that are used again."""
    made = SkyCluster(tmp_path, "reused_clusters")
    made.settings = replace(made.settings, workers=2)
    yield made
    made.cloud.clean()


def until_over(executor: SkyPilotExecutor, name: str) -> Outcome:
    """What became of a job, by one coordinator."""

    def outcome() -> Outcome | None:
        known = executor.poll([name])[name]
        return known if known.is_over else None

    return eventually(outcome)


def started(cluster: SkyCluster, kind: type) -> list[object]:
    return [call for call in cluster.cloud.calls if isinstance(call, kind)]


def test_a_request_whose_answer_was_lost_is_found_and_not_sent_again(cluster: SkyCluster) -> None:
    executor, job = cluster.executor(), cluster.job("exit 4")
    executor._sky.faults = ["lost answer"]  # type: ignore[attr-defined]
    executor.submit(job)
    cluster.executor().submit(job)
    assert cluster.until_over(job.name).exit_code == 4
    assert cluster.starts(job) == 1


def test_an_intent_that_never_became_a_request_is_sent_by_the_next_coordinator(
    cluster: SkyCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, executor = cluster.job("exit 0"), cluster.executor()
    with monkeypatch.context() as patched:
        patched.setattr(
            executor._starting, "_start", lambda *_: None
        )  # killed between intent and request
        executor.submit(job)
    assert not started(cluster, Launch)
    cluster.executor().submit(job)
    assert cluster.until_over(job.name).exit_code == 0
    assert cluster.starts(job) == 1


def test_what_skypilot_refuses_to_take_is_not_there_afterwards(cluster: SkyCluster) -> None:
    executor, job = cluster.executor(), cluster.job("exit 0")
    executor._sky.faults = ["refused"]  # type: ignore[attr-defined]
    with pytest.raises(ExecutorError, match="refused"):
        executor.submit(job)
    assert cluster.outcome(job.name).phase is Phase.ABSENT
    executor.submit(job)
    assert cluster.until_over(job.name).exit_code == 0


def test_an_intent_that_skypilot_never_heard_of_is_lost_after_a_while(cluster: SkyCluster) -> None:
    job, executor = cluster.job("exit 0"), cluster.executor()
    executor._starting._start = lambda *_: None  # type: ignore[method-assign]
    executor.submit(job)
    other = cluster.executor()
    assert other.poll([job.name])[job.name].phase is Phase.PENDING
    cluster.cloud.clock += 121
    assert other.poll([job.name])[job.name].phase is Phase.LOST


def test_a_server_that_starts_anew_has_the_job_all_the_same(cluster: SkyCluster) -> None:
    executor, job = cluster.executor(), cluster.job("exit 4")
    executor.submit(job)
    cluster.cloud.work_off()  # it was started, and nobody was told
    FakeSky(cluster.cloud).restart()
    assert until_over(executor, job.name).exit_code == 4
    assert cluster.starts(job) == 1


def test_a_request_that_a_server_lost_undone_is_sent_again(cluster: SkyCluster) -> None:
    executor, job = cluster.executor(), cluster.job("exit 4")
    executor.submit(job)
    FakeSky(cluster.cloud).restart()
    while not (outcome := executor.poll([job.name])[job.name]).is_over:
        cluster.cloud.clock += 10
    assert outcome.exit_code == 4
    assert cluster.starts(job) == 1


def test_of_two_starts_on_one_cluster_the_first_counts(warm: SkyCluster) -> None:
    executor, job = warm.executor(), warm.job("sleep 0.2; exit 4")
    executor.submit(job)
    warm.cloud.work_off()
    warm.starts(job)
    warm.cloud.do(next(iter(warm.cloud.requests.values())))
    entry = executor._ledger.get(job.name)
    assert entry is not None
    executor._ledger.change(entry, request_id="of the second", job_id=2)
    assert until_over(executor, job.name).exit_code == 4
    assert warm.starts(job) == 1


@given(
    faults=st.lists(
        st.sampled_from(["", "", "", "refused", "lost answer", "restart", "deaf"]), max_size=12
    ),
    placing=st.sampled_from(["managed_jobs", "reused_clusters", "cluster_per_trial"]),
)
@settings(max_examples=25)
def test_whatever_fails_on_the_way_each_job_runs_once(faults: list[str], placing: Placing) -> None:
    with tempfile.TemporaryDirectory() as folder:
        cluster = SkyCluster(Path(folder), placing)
        cluster.settings = replace(cluster.settings, workers=2, launches=2)
        jobs = [cluster.job(f"exit {code}", f"r{code}") for code in (0, 3, 4)]
        trouble = Trouble(cluster, jobs, list(faults))
        try:
            eventually(trouble.step, seconds=60)
            for job, code in zip(jobs, (0, 3, 4), strict=True):
                outcome, starts = trouble.outcomes[job.name], len(list(cluster.started(job)))
                was_refused = outcome.cause is Cause.LAUNCH_ERROR
                assert (outcome.exit_code, starts) == ((None, 0) if was_refused else (code, 1))
        finally:
            cluster.cloud.clean()


class Trouble:
    """A coordinator of three jobs, and what goes wrong around it step by step."""

    def __init__(self, cluster: SkyCluster, jobs: list[Job], faults: list[str]) -> None:
        self.cluster, self.jobs, self.faults = cluster, jobs, faults
        self.sky = FakeSky(cluster.cloud)
        self.executor = SkyPilotExecutor(
            cluster.folder, self.sky, cluster.settings, now=cluster.cloud.now
        )
        self.submitted: set[str] = set()
        self.outcomes: dict[str, Outcome] = {}

    def step(self) -> bool:
        """One turn of the coordinator; whether all is over."""
        fault = self.faults.pop(0) if self.faults else ""
        if fault == "restart":
            self.sky.restart()
        elif fault in ("refused", "lost answer"):
            self.sky.faults.append(fault)
        self.sky.is_deaf = fault == "deaf"
        for job in self.jobs:
            with contextlib.suppress(ExecutorError):
                if job.name not in self.submitted:
                    self.executor.submit(job)
                    self.submitted.add(job.name)
        with contextlib.suppress(ExecutorError):
            self.outcomes |= self.executor.poll([job.name for job in self.jobs])
        self.sky.is_deaf = False
        self.cluster.cloud.clock += 5
        ends = [o for o in self.outcomes.values() if o.is_over and o.phase is not Phase.ABSENT]
        return len(ends) == len(self.jobs)


# --- what SkyPilot answers to a launch -----------------------------------------------------------


@pytest.mark.parametrize(
    ("problem", "cause"),
    [
        (Problem.NO_CAPACITY, Cause.NO_CAPACITY),
        (Problem.REFUSED, Cause.LAUNCH_ERROR),
        (Problem.TROUBLE, Cause.UNKNOWN),
    ],
)
def test_a_launch_that_fails_says_why(warm: SkyCluster, problem: Problem, cause: Cause) -> None:
    warm.cloud.refusals = [Answer(problem=problem, detail="in SkyPilot's words")]
    executor = warm.executor()
    executor.submit(warm.job("exit 0"))
    outcome = warm.until_over("run-1")
    assert (outcome.phase, outcome.cause) == (Phase.LOST, cause)
    assert outcome.detail == "in SkyPilot's words"


def test_half_a_cluster_is_taken_down(warm: SkyCluster) -> None:
    warm.cloud.refusals = [Answer(problem=Problem.NO_CAPACITY)]
    warm.executor().submit(warm.job("exit 0"))
    warm.until_over("run-1")
    assert started(warm, Down) == [Down("ps-w0")]


# --- clusters that are used again ----------------------------------------------------------------


def test_the_next_job_goes_to_a_warm_cluster(warm: SkyCluster) -> None:
    executor = warm.executor()
    for run_id in ("a", "b", "c"):
        executor.submit(warm.job("exit 0", run_id))
        until_over(executor, f"{run_id}-1")
    assert [type(call) for call in warm.cloud.calls if isinstance(call, Launch | Exec)] == [
        Launch,
        Exec,
        Exec,
    ]


def test_jobs_are_spread_over_the_clusters(warm: SkyCluster) -> None:
    executor = warm.executor()
    for run_id in ("a", "b"):
        executor.submit(warm.job("hang", run_id))
    assert [call.cluster for call in started(warm, Launch)] == ["ps-w0", "ps-w1"]  # type: ignore[attr-defined]


def test_a_warm_cluster_that_is_gone_is_launched_again_for_the_same_job(warm: SkyCluster) -> None:
    executor = warm.executor()
    executor.submit(warm.job("exit 0", "a"))
    until_over(executor, "a-1")
    warm.cloud.do(Down("ps-w0"))  # it had been idle
    executor.submit(warm.job("exit 5", "b"))
    outcome = until_over(executor, "b-1")
    assert (outcome.phase, outcome.exit_code) == (Phase.EXITED, 5)


def test_a_warm_cluster_is_paid_since_its_last_job(warm: SkyCluster) -> None:
    executor = warm.executor()
    executor.submit(warm.job("exit 0", "a"))
    first = until_over(executor, "a-1")
    warm.cloud.clock += 1000
    executor.submit(warm.job("exit 0", "b"))
    second = until_over(executor, "b-1")
    assert second.held_since == first.ended_at
    assert first.held_since is not None
    assert first.started_at is not None
    assert first.held_since <= first.started_at


def test_a_managed_job_costs_what_its_machines_did_while_they_were_there(tmp_path: Path) -> None:
    cluster = SkyCluster(tmp_path, "managed_jobs")
    executor = cluster.executor()
    executor.submit(cluster.job("hang", "a"))
    eventually(lambda: executor.poll(["a-1"])["a-1"].phase is Phase.RUNNING)
    cluster.cloud.clean()
    assert until_over(executor, "a-1").price_usd_per_hour == 1.0


def test_a_trial_under_the_jobs_controller_gets_no_key_to_the_server(tmp_path: Path) -> None:
    cluster = SkyCluster(tmp_path, "managed_jobs")
    cluster.executor().submit(cluster.job("exit 0"))
    (launch,) = (c for c in cluster.cloud.calls if isinstance(c, LaunchManaged))
    assert launch.task["api_server_access"] is False


def test_a_cluster_that_was_gone_in_between_is_paid_from_its_launch_on(warm: SkyCluster) -> None:
    executor = warm.executor()
    executor.submit(warm.job("exit 0", "a"))
    until_over(executor, "a-1")
    warm.cloud.do(Down("ps-w0"))
    warm.cloud.clock += 100_000  # a night
    executor.submit(warm.job("exit 0", "b"))
    outcome = until_over(executor, "b-1")
    assert outcome.held_since is not None
    assert outcome.started_at is not None
    assert outcome.started_at - outcome.held_since < 1000


def test_no_machine_is_left_after_release(warm: SkyCluster) -> None:
    executor = warm.executor()
    for run_id in ("a", "b"):
        executor.submit(warm.job("exit 0", run_id))
    for run_id in ("a", "b"):
        until_over(executor, f"{run_id}-1")
    assert len(warm.cloud.machines) == 2
    assert warm.executor().release() == []
    assert warm.cloud.machines == {}


def test_a_cluster_with_a_job_is_not_released(warm: SkyCluster) -> None:
    executor = warm.executor()
    executor.submit(warm.job("hang"))
    eventually(lambda: executor.poll(["run-1"])["run-1"].phase is Phase.RUNNING)
    executor.release()
    assert list(warm.cloud.machines) == ["ps-w0"]


def test_launches_wait_while_skypilot_is_busy(warm: SkyCluster) -> None:
    warm.settings = replace(warm.settings, launches=1)
    executor = warm.executor()
    for run_id in ("a", "b"):
        executor.submit(warm.job("exit 0", run_id))
    assert len(started(warm, Launch)) == 1
    until_over(executor, "a-1")
    until_over(executor, "b-1")
    assert len(started(warm, Launch)) == 2


def test_a_job_that_waits_for_its_launch_can_be_cancelled(warm: SkyCluster) -> None:
    warm.settings = replace(warm.settings, launches=1)
    executor = warm.executor()
    for run_id in ("a", "b"):
        executor.submit(warm.job("hang", run_id))
    executor.cancel(["b-1"])
    assert executor.poll(["b-1"])["b-1"].phase is Phase.KILLED
    assert len(started(warm, Launch)) == 1


# --- pools ---------------------------------------------------------------------------------------


@pytest.fixture
def pooled(tmp_path: Path) -> Iterator[SkyCluster]:
    """Managed jobs on workers of the sweep's own."""
    made = SkyCluster(tmp_path, "managed_jobs")
    task = {"setup": "pip install it", "resources": {"cpus": 2}}
    made.settings = replace(made.settings, task=task, pool="ps-pool", is_pool_ours=True, workers=3)
    yield made
    made.cloud.clean()


def test_a_pool_of_the_sweeps_own_is_made_once_used_and_given_back(pooled: SkyCluster) -> None:
    executor = pooled.executor()
    for run_id in ("a", "b"):
        executor.submit(pooled.job("exit 0", run_id))
    assert [until_over(executor, name).exit_code for name in ("a-1", "b-1")] == [0, 0]
    pool = {"setup": "pip install it", "resources": {"cpus": 2}}
    assert started(pooled, ApplyPool) == [ApplyPool("ps-pool", pool, {}, 3)]
    launches = started(pooled, LaunchManaged)
    assert ["setup" in launch.task for launch in launches] == [False, False]  # type: ignore[attr-defined]
    assert executor.release() == []
    assert pooled.cloud.pools == set()


def test_the_next_coordinator_finds_the_pool_as_it_is(pooled: SkyCluster) -> None:
    first = pooled.executor()
    first.submit(pooled.job("exit 0", "a"))
    until_over(first, "a-1")
    second = pooled.executor()
    second.submit(pooled.job("exit 0", "b"))
    assert until_over(second, "b-1").exit_code == 0
    assert len(started(pooled, ApplyPool)) == 1


def test_jobs_say_why_their_pool_cannot_be(pooled: SkyCluster) -> None:
    pooled.cloud.refusals = [Answer(problem=Problem.REFUSED, detail="no such accelerator")]
    executor = pooled.executor()
    executor.submit(pooled.job("exit 0"))
    outcome = until_over(executor, "run-1")
    assert (outcome.cause, outcome.detail) == (Cause.LAUNCH_ERROR, "no such accelerator")


# --- the cost of looking -------------------------------------------------------------------------


class Idle:
    """A SkyPilot whose jobs all run for ever; it counts what it is asked."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.calls: dict[str, Call] = {}
        self.looks = 0

    def ask(self, call: Call) -> str:
        if isinstance(call, LaunchManaged):
            self.names.append(call.name)
        self.calls[request_id := f"r{len(self.calls)}"] = call
        return request_id

    def answers(self, request_ids: Sequence[str]) -> Mapping[str, Answer]:
        self.looks += 1
        return {request_id: self.answer(self.calls[request_id]) for request_id in request_ids}

    def answer(self, call: Call) -> Answer:
        if isinstance(call, LaunchManaged):
            return Answer(Placed(self.names.index(call.name)))
        ids = range(len(self.names))
        return Answer(tuple(SkyJob(i, self.names[i], Status.RUNNING, 0.0, 1.0) for i in ids))

    def find(self, name: str) -> str | None:
        raise AssertionError("a search for each job would cost a call for each")

    def log(self, where: Where) -> str:
        raise AssertionError("so would a look at what each prints")


def calls_to_poll(folder: Path, jobs: int) -> tuple[list[Call], int]:
    """What SkyPilot is asked, and how often for answers, in three polls of running jobs."""
    sky, made = Idle(), SkyCluster(folder, "managed_jobs")
    made.settings = replace(made.settings, launches=jobs, look_seconds=30.0)
    executor = SkyPilotExecutor(folder, sky, made.settings, now=made.cloud.now)
    names = [f"r{number}-1" for number in range(jobs)]
    for number in range(jobs):
        executor.submit(made.job("exit 0", f"r{number}"))
    eventually(lambda: {o.phase for o in executor.poll(names).values()} == {Phase.RUNNING})
    asked, looked = len(sky.calls), sky.looks
    for _ in range(3):
        made.cloud.clock += 60
        executor.poll(names)  # asks
        executor.poll(names)  # and is told
    return list(sky.calls.values())[asked:], sky.looks - looked


def test_a_hundred_trials_cost_no_more_calls_than_one(tmp_path: Path) -> None:
    assert calls_to_poll(tmp_path / "100", 100) == calls_to_poll(tmp_path / "1", 1)
    assert calls_to_poll(tmp_path / "7", 7) == ([ListManaged("ps-")] * 3, 3)


def test_a_cluster_that_does_not_answer_is_lost_only_if_the_cloud_says_so(
    warm: SkyCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    executor = warm.executor()
    executor.submit(warm.job("hang"))
    eventually(lambda: executor.poll(["run-1"])["run-1"].phase is Phase.RUNNING)
    really = warm.cloud.do

    def deaf(call: Call) -> Answer:
        return Answer(problem=Problem.GONE) if isinstance(call, ListJobs) else really(call)

    monkeypatch.setattr(warm.cloud, "do", deaf)
    for _ in range(10):
        assert not executor.poll(["run-1"])["run-1"].is_over
    assert ListClusters("ps-", is_fresh=True) in warm.cloud.calls


# --- strays --------------------------------------------------------------------------------------


def test_what_runs_under_our_name_and_no_entry_knows_is_listed_and_ended(tmp_path: Path) -> None:
    for placing in ("managed_jobs", "cluster_per_trial"):
        cluster = SkyCluster(tmp_path / placing, placing)
        cluster.executor().submit(cluster.job("hang"))
        cluster.starts(cluster.job("hang"))
        for file in (cluster.folder / "sky").iterdir():
            file.unlink()
        assert cluster.executor().names("") == ["run-1"]
        cluster.executor().cancel(["run-1"])
        cluster.cloud.work_off()
        assert cluster.executor().names("") == []
        cluster.cloud.clean()


# --- many nodes ----------------------------------------------------------------------------------


def test_every_node_knows_its_place_and_all_agree_on_the_port(cluster: SkyCluster) -> None:
    place = 'echo "$NODE_INDEX of $NUM_NODES at $MASTER_ADDR:$MASTER_PORT" > "$PROTEIN_RUN_DIR/'
    job = replace(cluster.job(place + 'node$NODE_INDEX"; sleep 0.2'), nodes=2)
    cluster.executor().submit(job)
    assert cluster.until_over(job.name).exit_code == 0
    there = next(cluster.folder.glob("cloud/machines/*/.protein-sky/runs/run"))
    said = [(there / f"node{node}").read_text().split(" at ") for node in (0, 1)]
    assert [place for place, _ in said] == ["0 of 2", "1 of 2"]
    assert said[0][1] == said[1][1]


# --- preemption ----------------------------------------------------------------------------------

TRAINING = """
step=$(cat "$PROTEIN_CHECKPOINT_DIR/step" 2>/dev/null || echo 0)
trap 'echo 7 > "$PROTEIN_CHECKPOINT_DIR/step"; exit 75' TERM
echo start >> "$PROTEIN_RUN_DIR/starts"
[ "$step" = 7 ] && exit 0
while :; do sleep 0.05; done
"""


def test_a_machine_that_is_told_to_go_leaves_a_checkpoint_for_the_next_attempt(
    cluster: SkyCluster,
) -> None:
    cluster.settings = replace(cluster.settings, storage=str(cluster.folder / "shared"))
    executor = cluster.executor()

    def attempt(number: int) -> Job:
        job = cluster.job(TRAINING, attempt=number)
        checkpoints = {"PROTEIN_CHECKPOINT_DIR": str(job.run_dir / "checkpoints")}
        return replace(job, script=TRAINING, environment={**job.environment, **checkpoints})

    executor.submit(attempt(1))
    starts = cluster.folder / "shared" / "run" / "starts"
    eventually(lambda: executor.poll(["run-1"]) and starts.exists())
    cluster.cloud.tell_to_go("ps-run-1")
    assert until_over(executor, "run-1").exit_code == 75
    executor.submit(attempt(2))
    assert until_over(executor, "run-2").exit_code == 0
