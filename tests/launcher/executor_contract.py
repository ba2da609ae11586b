"""What every Executor promises. Real and simulated ones pass the same tests.

To put another executor to the test, give it a `Cluster` and subclass `ExecutorContract` with a
fixture `cluster`.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest

from launcher.errors import ExecutorError
from launcher.ports import Cause, Executor, Job, Outcome, Phase

CANARY = "canary-5e1f\n$(touch /tmp/pwned)"
HOSTILE = (
    "",
    " ",
    "two words",
    "it's",
    'say "hi"',
    "$(touch pwned)",
    "`touch pwned`",
    "${HOME}",
    "a\nb",
    "a\\nb",
    "--flag=*",
    "; rm -rf x",
    "äöü-日本-🧬",
    "\ttab",
    "%s%n",
    "-n",
)


class Cluster(ABC):
    """One executor's world, for a test: programs that a job may run, and what came of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @abstractmethod
    def executor(self) -> Executor:
        """A new object over the same cluster, as another coordinator would make it."""

    @abstractmethod
    def script(self, program: str) -> str:
        """The script of "succeed", "exit N", "hang", "show", "stubborn" or "measure the canary"."""

    @abstractmethod
    def pass_time(self) -> None:
        """Let something happen."""

    @abstractmethod
    def lose(self, name: str) -> None:
        """Take away all that runs of a job, without a word."""

    @abstractmethod
    def starts(self, job: Job) -> int:
        """How often the job's program was really started."""

    @abstractmethod
    def received(self, job: Job) -> tuple[Sequence[str], Mapping[str, str]]:
        """What arguments and environment the program "show" was given."""

    def job(self, program: str, run_id: str = "run", *, attempt: int = 1) -> Job:
        """An attempt that runs one of the programs."""
        run_dir = self.folder / "runs" / run_id
        run_dir.mkdir(parents=True, exist_ok=True)
        return Job(
            name=f"{run_id}-{attempt}",
            run_id=run_id,
            attempt=attempt,
            run_dir=run_dir,
            workdir=self.folder,
            script=self.script(program),
            environment={"PROTEIN_RUN_DIR": str(run_dir)},
        )

    def outcome(self, name: str) -> Outcome:
        return self.executor().poll([name])[name]

    def until_over(self, name: str) -> Outcome:
        deadline = time.monotonic() + 60.0
        while not (outcome := self.outcome(name)).is_over:
            assert time.monotonic() < deadline, f"{name} is still {outcome}"
            self.pass_time()
        return outcome


class ExecutorContract:
    """The tests. Subclasses provide the fixture `cluster`."""

    def test_an_unknown_job_is_absent(self, cluster: Cluster) -> None:
        outcomes = cluster.executor().poll(["nobody-1", "../../etc", ""])
        assert {o.phase for o in outcomes.values()} == {Phase.ABSENT}
        assert list(outcomes) == ["nobody-1", "../../etc", ""]

    def test_polling_nothing_answers_nothing(self, cluster: Cluster) -> None:
        assert cluster.executor().poll([]) == {}

    @pytest.mark.parametrize("code", [0, 1, 75, 137])
    def test_a_program_that_ends_by_itself_leaves_its_exit_code(
        self, cluster: Cluster, code: int
    ) -> None:
        cluster.executor().submit(cluster.job(f"exit {code}"))
        outcome = cluster.until_over("run-1")
        assert (outcome.phase, outcome.exit_code) == (Phase.EXITED, code)
        assert outcome.started_at is not None
        assert outcome.ended_at is not None
        assert outcome.started_at <= outcome.ended_at

    def test_a_submitted_job_is_known_at_once(self, cluster: Cluster) -> None:
        cluster.executor().submit(cluster.job("hang"))
        assert cluster.outcome("run-1").phase in (Phase.PENDING, Phase.RUNNING)

    def test_a_second_submit_finds_the_first(self, cluster: Cluster) -> None:
        job = cluster.job("hang")
        cluster.executor().submit(job)
        cluster.executor().submit(job)
        assert cluster.starts(job) == 1

    def test_a_job_that_is_over_is_not_started_again(self, cluster: Cluster) -> None:
        job = cluster.job("exit 3")
        cluster.executor().submit(job)
        before = cluster.until_over(job.name)
        cluster.executor().submit(job)
        assert cluster.outcome(job.name) == before
        assert cluster.starts(job) == 1

    def test_a_hundred_submits_at_once_start_one_job(self, cluster: Cluster) -> None:
        job, executor, together = cluster.job("hang"), cluster.executor(), Barrier(100)

        def submit(_: int) -> None:
            together.wait()
            executor.submit(job)

        with ThreadPoolExecutor(100) as threads:
            list(threads.map(submit, range(100)))
        assert cluster.starts(job) == 1
        assert executor.names("") == [job.name]

    def test_the_next_attempt_is_a_job_of_its_own(self, cluster: Cluster) -> None:
        cluster.executor().submit(cluster.job("exit 1"))
        cluster.until_over("run-1")
        cluster.executor().submit(cluster.job("exit 2", attempt=2))
        assert cluster.until_over("run-2").exit_code == 2
        assert cluster.outcome("run-1").exit_code == 1

    def test_a_cancelled_job_is_killed(self, cluster: Cluster) -> None:
        cluster.executor().submit(cluster.job("hang"))
        cluster.executor().cancel(["run-1"])
        outcome = cluster.until_over("run-1")
        assert outcome.phase is Phase.KILLED
        assert outcome.ended_at is not None

    def test_a_program_that_ignores_the_request_is_killed_too(self, cluster: Cluster) -> None:
        job = cluster.job("stubborn")
        cluster.executor().submit(job)
        assert cluster.starts(job) == 1  # it has set its trap by now
        cluster.executor().cancel(["run-1"])
        assert cluster.until_over("run-1").phase is Phase.KILLED

    def test_cancelling_what_is_over_or_unknown_changes_nothing(self, cluster: Cluster) -> None:
        cluster.executor().submit(cluster.job("exit 0"))
        before = cluster.until_over("run-1")
        cluster.executor().cancel(["run-1", "nobody-1", "../.."])
        assert cluster.outcome("run-1") == before

    def test_cancelling_twice_is_cancelling_once(self, cluster: Cluster) -> None:
        cluster.executor().submit(cluster.job("hang"))
        cluster.executor().cancel(["run-1"])
        cluster.executor().cancel(["run-1"])
        assert cluster.until_over("run-1").phase is Phase.KILLED

    def test_a_job_that_outstays_its_timeout_is_killed(self, cluster: Cluster) -> None:
        cluster.executor().submit(replace(cluster.job("hang"), timeout_seconds=0.1))
        outcome = cluster.until_over("run-1")
        assert (outcome.phase, outcome.cause) == (Phase.KILLED, Cause.TIMEOUT)

    def test_a_job_whose_processes_vanish_is_lost(self, cluster: Cluster) -> None:
        job = cluster.job("hang")
        cluster.executor().submit(job)
        cluster.lose(job.name)
        assert cluster.until_over(job.name).phase is Phase.LOST
        cluster.executor().submit(job)  # the same attempt never starts again
        assert cluster.outcome(job.name).phase is Phase.LOST

    def test_names_are_the_living_jobs_under_a_prefix(self, cluster: Cluster) -> None:
        for run_id, program in (("aa", "hang"), ("ab", "exit 0"), ("b", "hang")):
            cluster.executor().submit(cluster.job(program, run_id))
        cluster.until_over("ab-1")
        assert cluster.executor().names("a") == ["aa-1"]
        assert cluster.executor().names("") == ["aa-1", "b-1"]

    def test_hostile_arguments_arrive_unchanged(self, cluster: Cluster) -> None:
        job = replace(cluster.job("show"), arguments=HOSTILE)
        cluster.executor().submit(job)
        assert cluster.until_over(job.name).exit_code == 0
        assert tuple(cluster.received(job)[0]) == HOSTILE

    def test_hostile_variables_arrive_unchanged(self, cluster: Cluster) -> None:
        job = cluster.job("show")
        given = {f"VALUE_{number}": value for number, value in enumerate(HOSTILE)}
        cluster.executor().submit(replace(job, environment={**job.environment, **given}))
        cluster.until_over(job.name)
        seen = cluster.received(job)[1]
        assert {name: seen.get(name) for name in given} == given

    def test_a_secret_reaches_the_program_and_no_file(self, cluster: Cluster) -> None:
        job = replace(cluster.job("measure the canary"), secrets={"CANARY": CANARY})
        cluster.executor().submit(job)
        assert cluster.until_over(job.name).exit_code == len(CANARY)
        written = [f for f in cluster.folder.rglob("*") if f.is_file()]
        assert written
        assert not [f for f in written if b"canary-5e1f" in f.read_bytes()]

    @pytest.mark.parametrize("name", ["", "../x", "a/b", "-rf", "a;b", "a\nb", "x" * 201, "🧬"])
    def test_a_name_that_is_no_file_name_is_refused(self, cluster: Cluster, name: str) -> None:
        with pytest.raises(ExecutorError, match="not started"):
            cluster.executor().submit(replace(cluster.job("exit 0"), name=name))
        assert cluster.executor().names("") == []

    @pytest.mark.parametrize(
        "change",
        [
            {"arguments": ("a\0b",)},
            {"script": "exit\0 0"},
            {"environment": {"A": "\0"}},
            {"secrets": {"A=B": "x"}},
            {"secrets": {"": "x"}},
            {"nodes": 0},
        ],
    )
    def test_what_no_program_can_be_given_is_refused(
        self, cluster: Cluster, change: dict[str, Any]
    ) -> None:
        with pytest.raises(ExecutorError, match="not started"):
            cluster.executor().submit(replace(cluster.job("exit 0"), **change))
        assert cluster.outcome("run-1").phase is Phase.ABSENT
