"""A sweep under any order of events: Hypothesis plays cluster, user, clock and death.

Each rule is one thing that can happen; a coordinator takes single steps in between, and dies and
comes back at will. What holds after every step are the laws of `Sweep` and its two heirs.
"""

import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
import pytest
from hypothesis import Phase as Phase_
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from launcher import inbox
from launcher.budget import TEARDOWN_SECONDS, Offer, reserved_usd, spent_usd
from launcher.coordinator import Coordinator, World
from launcher.errors import ExecutorError
from launcher.events import (
    Command,
    EndReason,
    ParamsEnqueued,
    PauseRequested,
    Recorded,
    ResumeRequested,
    SweepCreated,
    TrialRetried,
)
from launcher.executors.simulated import VirtualClock
from launcher.folder import SweepFolder
from launcher.journal import Journal, JournalWriter
from launcher.ports import Cause, Job, Outcome, Phase, Result, Run
from launcher.state import Mode, State, Trial, TrialState, fold
from tests.launcher.builders import PARAMS, a_config
from tests.storm.lab import fast_folder, random_ask

TIMEOUT = 600.0
TRIALS = 5


PENDING = Outcome(Phase.PENDING)


@dataclass
class Running:
    """A job as it truly is."""

    job: Job
    began: float | None = None
    ended: float | None = None
    cancelled_at: float | None = None
    outcome: Outcome = PENDING
    result: Result | None = None

    def truth(self) -> Outcome:
        """What an honest executor says."""
        return msgspec.structs.replace(self.outcome, started_at=self.began, ended_at=self.ended)


@dataclass
class Cluster:
    """Executor and metric source in one. Its answers may be refused, partial, odd or late."""

    clock: VirtualClock
    jobs: dict[str, Running] = field(default_factory=dict)
    starts: list[str] = field(default_factory=list)
    is_silent: bool = False
    refuses: bool = False
    hidden: frozenset[str] = frozenset()
    is_late: bool = False
    lies: dict[str, float | None] = field(default_factory=dict)
    problem: str = ""

    def submit(self, job: Job) -> None:
        if job.name in self.jobs:
            return
        if self.refuses:
            raise ExecutorError("no capacity")
        self.starts.append(job.name)
        self.jobs[job.name] = Running(job)

    def poll(self, names: Sequence[str]) -> Mapping[str, Outcome]:
        if self.is_silent:
            raise ExecutorError("no answer")
        told = {}
        for name in reversed([*names, *names]):  # in another order, and everything twice
            if name in self.hidden:
                continue
            known = self.jobs.get(name)
            told[name] = Outcome(Phase.ABSENT) if known is None else self._told(known)
        return {"a stranger's": Outcome(Phase.EXITED, 0), **told}

    def _told(self, known: Running) -> Outcome:
        return msgspec.structs.replace(known.truth(), **self.lies)

    def cancel(self, names: Sequence[str]) -> None:
        if self.is_silent:
            raise ExecutorError("no answer")
        for name in names:
            known = self.jobs.get(name)
            if known is not None and known.cancelled_at is None:
                known.cancelled_at = self.clock.now()

    def names(self, prefix: str) -> Sequence[str]:
        return [name for name, job in self.jobs.items() if job.ended is None]

    def read(self, runs: Sequence[Run]) -> Mapping[str, Result]:
        if self.is_late:
            return {}
        by_run = {job.job.run_id: job.result for job in self.jobs.values() if job.result}
        return {**by_run, "a stranger's": Result({"reward": 1e9})}


class OneStep(VirtualClock):
    """A clock by which a coordinator that would wait is stopped instead."""

    def sleep(self, seconds: float) -> None:
        raise Waiting

    def pass_by(self, seconds: float) -> None:
        super().sleep(seconds)


class Waiting(Exception):  # noqa: N818 - it is no error
    """The coordinator has done what it could."""


class Sweep(RuleBasedStateMachine):
    """One sweep; `budget` and `price` are an heir's."""

    budget: Mapping[str, Any] = {}
    price = 1.0

    @initialize()
    def create(self) -> None:
        self.left = ExitStack()
        path = self.left.enter_context(fast_folder())
        limits = {
            "timeout_seconds": TIMEOUT,
            "max_consecutive_failures": None,
            "retry_delay_seconds": 10,
        }
        config = a_config(trials=TRIALS, parallel=3, execution=limits, budget=dict(self.budget))
        self.folder = SweepFolder(path / config.name)
        self.clock = OneStep()
        self.cluster = Cluster(self.clock)
        self.over: dict[int, Trial] = {}
        self.retried: set[int] = set()
        first = SweepCreated("abcd", config.to_mapping(), "0")
        self.journal = JournalWriter(self.folder.database, now=self.clock.now(), first=first)
        self.coordinator = self.new_coordinator()
        self.step()

    def new_coordinator(self) -> Coordinator:
        state = fold(self.journal.read())
        assert state is not None
        edges = World(
            self.cluster,
            self.cluster,
            self.clock,
            Offer(price_usd_per_hour=self.price, parallel=3),
            random_ask,
            watch=self.watch,
            poll_seconds=30.0,
            result_grace_seconds=1e6,
        )
        return Coordinator(self.folder, self.journal, state, edges)

    def watch(self, state: State, record: Recorded | None) -> None:
        """Called after each event."""

    @property
    def state(self) -> State:
        return self.coordinator.state

    # --- what the coordinator, the user and the clock do ---

    @rule(seconds=st.sampled_from([0.0, 1.0, 30.0, 200.0, 700.0]))
    def step(self, seconds: float = 0.0) -> None:
        self.pass_by(seconds)
        try:
            self.coordinator.run()
        except Waiting:
            return
        self.coordinator = self.new_coordinator()  # it left: paused, or at the end

    @rule()
    def die(self) -> None:
        self.journal.close()
        self.journal = JournalWriter(self.folder.database, now=self.clock.now())
        self.coordinator = self.new_coordinator()

    @rule(kind=st.sampled_from([PauseRequested, ResumeRequested]), twice=st.booleans())
    def ask(self, kind: type[Command], twice: bool) -> None:
        command = kind(command_id=inbox.new_command_id())  # type: ignore[call-arg]  # both have it
        inbox.post(self.folder.inbox, command)
        if twice:
            self.step()
            inbox.post(self.folder.inbox, command)

    @rule()
    def enqueue(self) -> None:
        inbox.post(self.folder.inbox, ParamsEnqueued(inbox.new_command_id(), dict(PARAMS)))

    @precondition(lambda self: self.over)
    @rule(data=st.data())
    def retry(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.over)))
        self.retried.add(number)
        inbox.post(self.folder.inbox, TrialRetried(number, inbox.new_command_id()))

    # --- what the cluster does ---

    def pass_by(self, seconds: float) -> None:
        """Let time pass; an executor ends a job at its time limit, and soon after a cancel."""
        until = self.clock.now() + seconds
        for running in self.alive():
            ends = math.inf if running.began is None else running.began + TIMEOUT
            cause = Cause.TIMEOUT
            if running.cancelled_at is not None and running.cancelled_at + 30 < ends:
                ends, cause = running.cancelled_at + 30, Cause.UNKNOWN
            if ends <= until:
                outcome = Outcome(Phase.KILLED, cause=cause)
                self.end(running, outcome, at=max(ends, self.clock.now()))
        self.clock.pass_by(seconds)

    def alive(self) -> list[Running]:
        return [job for job in self.cluster.jobs.values() if job.ended is None]

    def end(self, running: Running, outcome: Outcome, at: float | None = None) -> None:
        running.outcome, running.ended = outcome, self.clock.now() if at is None else at

    @precondition(lambda self: any(job.began is None for job in self.alive()))
    @rule(data=st.data())
    def begin(self, data: st.DataObject) -> None:
        job = data.draw(st.sampled_from([j for j in self.alive() if j.began is None]))
        job.began, job.outcome = self.clock.now(), Outcome(Phase.RUNNING)

    @precondition(lambda self: any(job.began is not None for job in self.alive()))
    @rule(data=st.data(), score=st.floats(-1, 1), how=st.sampled_from(["done", "broken", "lost"]))
    def finish(self, data: st.DataObject, score: float, how: str) -> None:
        job = data.draw(st.sampled_from([j for j in self.alive() if j.began is not None]))
        match how:
            case "done":
                job.result = Result({"reward": score}, source="result.json")
                self.end(job, Outcome(Phase.EXITED, 0))
            case "broken":
                self.end(job, Outcome(Phase.EXITED, 1))
            case _:
                self.end(job, Outcome(Phase.LOST, cause=Cause.NODE_LOST))

    @rule(silent=st.booleans(), refuses=st.booleans())
    def trouble(self, silent: bool, refuses: bool) -> None:
        self.cluster.is_silent, self.cluster.refuses = silent, refuses

    @precondition(lambda self: self.cluster.jobs)
    @rule(data=st.data())
    def hide(self, data: st.DataObject) -> None:
        names = st.sampled_from(sorted(self.cluster.jobs))
        self.cluster.hidden = frozenset(data.draw(st.lists(names, max_size=3)))

    # --- what always holds ---

    @invariant()
    def the_journal_gives_the_state(self) -> None:
        with Journal(self.folder.database) as journal:
            assert fold(journal.read()) == self.state

    @invariant()
    def nothing_starts_twice_and_nothing_runs_unknown(self) -> None:
        assert len(self.cluster.starts) == len(set(self.cluster.starts))
        kept = {t.attempt.job_name for t in self.state.live_trials if t.attempt is not None}
        assert {job.job.name for job in self.alive()} <= kept

    @invariant()
    def what_ended_stays_as_it_ended(self) -> None:
        for number, trial in self.over.items():
            if number not in self.retried or trial.state is TrialState.SUCCEEDED:
                assert self.state.trials[number] == trial
        self.over = {t.number: t for t in self.state.ordered if t.state.is_over}

    @invariant()
    def what_was_held_and_paid_is_finite(self) -> None:
        for trial in self.state.ordered:
            for attempt in trial.attempts:
                assert 0 <= attempt.machine_seconds <= TIMEOUT + TEARDOWN_SECONDS
                assert attempt.cost_usd <= attempt.machine_seconds / 3600 * self.price * (1 + 1e-9)
        assert self.state.settled_usd >= 0

    def teardown(self) -> None:
        if not hasattr(self, "left"):
            return
        with self.left:
            self.cluster = healthy(self.cluster)
            self.die()
            inbox.post(self.folder.inbox, ResumeRequested(inbox.new_command_id()))
            for _ in range(60):
                if self.state.mode is Mode.ENDED:
                    break
                for job in self.alive():
                    job.began = self.clock.now() if job.began is None else job.began
                    job.result = Result({"reward": 0.5}, source="result.json")
                    self.end(job, Outcome(Phase.EXITED, 0), at=self.clock.now() + 1)
                self.step(700.0 if not self.alive() else 20.0)
            self.check_at_the_end()
            self.journal.close()

    def check_at_the_end(self) -> None:
        """Nothing runs, no trial is left unless the money was, and who was done counts as done."""
        assert self.state.mode is Mode.ENDED
        assert not self.alive()
        assert not self.state.live
        assert not self.state.waiting or self.state.end is EndReason.BUDGET
        for job in self.cluster.jobs.values():
            score = None if job.result is None else job.result.metrics["reward"]
            if job.outcome.exit_code == 0 and score is not None and math.isfinite(score):
                trial = next(t for t in self.state.ordered if t.run_id == job.job.run_id)
                assert trial.state is TrialState.SUCCEEDED
                assert trial.score == score


def healthy(cluster: Cluster) -> Cluster:
    """The same cluster without its troubles."""
    return replace(
        cluster, is_silent=False, refuses=False, hidden=frozenset(), is_late=False, lies={}
    )


class UnreliableAnswers(Sweep):
    """Answers are late, twice, in another order, missing or absurd."""

    @rule(is_late=st.booleans())
    def results_are_late(self, is_late: bool) -> None:
        self.cluster.is_late = is_late

    @rule(
        lies=st.dictionaries(
            st.sampled_from(["started_at", "ended_at"]), st.none() | st.floats(), max_size=2
        )
    )
    def times_are_absurd(self, lies: dict[str, float | None]) -> None:
        self.cluster.lies = lies

    @precondition(lambda self: any(job.began is not None for job in self.alive()))
    @rule(
        data=st.data(),
        score=st.sampled_from([math.nan, -math.inf, 1e308]),
        code=st.sampled_from([0, -1, 75, 137, 300]),
    )
    def finish_absurdly(self, data: st.DataObject, score: float, code: int) -> None:
        job = data.draw(st.sampled_from([j for j in self.alive() if j.began is not None]))
        job.result = Result({"reward": score, "other": score}, cost_seconds=1e308, source="log")
        self.end(job, Outcome(Phase.EXITED, code))


class CappedBudget(Sweep):
    """Spend plus reservations never exceeds the cap, nor does what is truly spent."""

    budget: Mapping[str, Any] = {"usd": 0.9}
    price = 2.0

    def watch(self, state: State, record: Recorded | None) -> None:
        now = self.clock.now()
        assert spent_usd(state, now) + reserved_usd(state, now) <= self.cap

    @property
    def cap(self) -> float:
        return float(self.budget["usd"]) * (1 + 1e-9)

    @invariant()
    def the_cap_holds(self) -> None:
        self.watch(self.state, None)
        assert self.truly_spent() <= self.cap

    def truly_spent(self) -> float:
        now = self.clock.now()
        held = [
            (now if job.ended is None else job.ended) - job.began
            for job in self.cluster.jobs.values()
            if job.began is not None
        ]
        return sum(held) / 3600 * self.price

    def check_at_the_end(self) -> None:
        super().check_at_the_end()
        assert self.state.settled_usd == pytest.approx(self.truly_spent(), abs=1e-6)


SHORT = settings(
    max_examples=8, stateful_step_count=20, deadline=None, phases=[Phase_.explicit, Phase_.generate]
)
TestUnreliableAnswers = UnreliableAnswers.TestCase
TestUnreliableAnswers.settings = SHORT
TestCappedBudget = CappedBudget.TestCase
TestCappedBudget.settings = SHORT
