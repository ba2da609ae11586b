"""The executor on SkyPilot: find-or-start by name, one look for all, nothing left running.

Every step is written into the ledger before or after SkyPilot is asked, so that a coordinator
that dies anywhere leaves what the next one needs:

    entry without a request   we meant to ask: the request is looked for by the job's name
    entry with a request      SkyPilot provisions: its answer says where the job is, or why not
    entry with a job id       the job is in a queue, which is listed for all its jobs at once
    entry with an outcome     over; what it printed and left has been brought here

No call waits for SkyPilot but short ones of its API server: long answers are collected by a later
`poll`. Three ways to place a job (`placing`): under the jobs controller, on one of a few clusters
that are used again, or on a cluster of its own.
"""

import contextlib
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Any, Literal

import msgspec

from launcher import trainlog
from launcher.errors import ExecutorError
from launcher.executors.skypilot import wrapping
from launcher.executors.skypilot.calls import (
    JOB_VARIABLE,
    Answer,
    Call,
    CancelJobs,
    CancelManaged,
    CancelRequest,
    Down,
    Exec,
    Launch,
    LaunchManaged,
    ListClusters,
    ListJobs,
    ListManaged,
    Placed,
    Problem,
    Sky,
    SkyJob,
    Status,
    Where,
)
from launcher.executors.skypilot.ledger import Entry, Ledger
from launcher.executors.validity import check, is_name
from launcher.ports import Cause, Job, Outcome, Phase

PREFIX = "ps-"
"""What all our names in SkyPilot begin with, so that people see whose they are."""

Placing = Literal["managed_jobs", "reused_clusters", "cluster_per_trial"]

LOOK_SECONDS = 10.0
"""Between two listings of one queue: each costs seconds of CPU on a head node."""
ASK_AGAIN_SECONDS = 60.0
"""After which an end that was asked for, and did not come, is asked for again."""
UNHEARD_SECONDS = 120.0
"""How long a job may be unknown to SkyPilot after we meant to ask for it."""
SETTLE_SECONDS = 60.0
LOG_TRIES = 3
LOG_THREADS = 4
RELEASE_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Settings:
    """How one sweep uses SkyPilot.

    `task`: the user's task as SkyPilot's mapping, all but its run section. `workers`: clusters
    that are used again. `storage`: a folder on the machines that outlives them. `prefix`: what the
    names of the sweep's jobs begin with. `launches`: how many launches may be under way at once.
    """

    placing: Placing
    prefix: str
    task: Mapping[str, Any]
    workers: int = 1
    idle_minutes: int = 10
    storage: str | None = None
    pool: str | None = None
    launches: int = 4
    look_seconds: float = LOOK_SECONDS


@dataclass(slots=True)
class _Look:
    """One listing: its request while it is under way, and what the last one said."""

    request_id: str | None = None
    asked_at: float = float("-inf")
    jobs: tuple[SkyJob, ...] = ()
    is_known: bool = False


@dataclass(slots=True)
class _Fetch:
    """What a job left, on its way here."""

    future: "Future[str]"
    tries: int = 1


@dataclass(slots=True)
class _Memory:
    """What can be found out again after a crash."""

    looks: dict[str | None, _Look] = field(default_factory=dict)
    jobs: dict[str, Job] = field(default_factory=dict)  # not placed yet: they may be asked again
    queue: list[str] = field(default_factory=list)  # of them, those not asked for yet
    ending_at: dict[str, float] = field(default_factory=dict)
    fetches: dict[str, _Fetch] = field(default_factory=dict)
    census: str | None = None  # the request that counts the clusters that are really there
    suspects: set[str] = field(default_factory=set)
    downs: dict[str, str] = field(default_factory=dict)  # clusters on their way down
    is_new: bool = True


class SkyPilotExecutor:
    """Runs jobs as SkyPilot tasks."""

    def __init__(
        self,
        folder: Path,
        sky: Sky,
        settings: Settings,
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._sky = sky
        self._settings = settings
        self._now = now
        self._ledger = Ledger(folder / "sky")
        self._memory = _Memory()
        self._lock = Lock()
        self._threads = ThreadPoolExecutor(LOG_THREADS, thread_name_prefix="sky-log")
        self._pause_seconds = min(0.2, max(0.002, settings.look_seconds))

    # --- the port --------------------------------------------------------------------------------

    def submit(self, job: Job) -> None:
        """Find the job, or ask SkyPilot for it."""
        check(job)
        with self._lock:
            entry = self._ledger.get(job.name)
            if entry is None:
                call = self._call(job, self._place(job))
                entry = self._begin(job, call)
            elif entry.outcome is not None or entry.request_id is not None:
                return
            elif request_id := self._sky.find(job.name):
                self._put(entry, request_id=request_id)
                return
            else:
                call = self._call(job, entry.cluster)
            self._memory.jobs[job.name] = job
            if isinstance(call, Exec) or self._may_launch():
                self._start(entry, call)
            else:
                self._memory.queue.append(job.name)

    def poll(self, names: Sequence[str]) -> Mapping[str, Outcome]:
        """Answer from what SkyPilot has said until now, and ask it for news."""
        with self._lock:
            self._advance()
            if self._memory.is_new:
                self._settle()
                self._memory.is_new = False
            return {name: self._outcome(name) for name in names}

    def cancel(self, names: Sequence[str]) -> None:
        """Ask SkyPilot to end the jobs, and clusters that were theirs alone."""
        with self._lock:
            unknown = []
            for name in names:
                entry = self._ledger.get(name) if is_name(name) else None
                if entry is None:
                    unknown.append(name)
                elif entry.outcome is None:
                    self._end(self._put(entry, is_cancelled=True))
                elif self._settings.placing == "cluster_per_trial" and entry.cluster:
                    self._down(entry.cluster)
            self._end_unknown([name for name in unknown if is_name(name)])

    def names(self, prefix: str) -> Sequence[str]:
        """List what is under way by our ledger or by SkyPilot's own lists."""
        with self._lock:
            found = {entry.name for entry in self._ledger.open()}
            if self._settings.placing == "managed_jobs":
                jobs = self._ask_and_wait(ListManaged(PREFIX + prefix))
                found |= {_own(job.name) for job in jobs if not job.status.is_over}
            else:
                clusters = self._ask_and_wait(ListClusters(PREFIX + prefix))
                found |= {_own(c.name) for c in clusters if not self._is_worker(c.name)}
                found |= {_own(job.name) for job in self._strays()}
            return sorted(name for name in found if name.startswith(prefix) and is_name(name))

    def release(self, wait_seconds: float = RELEASE_SECONDS) -> list[str]:
        """Give back the clusters that are kept for reuse; return those that are still there."""
        if self._settings.placing != "reused_clusters":
            return []
        with self._lock:
            busy = {entry.cluster for entry in self._ledger.open()}
            clusters = self._ask_and_wait(ListClusters(PREFIX + self._settings.prefix))
            idle = [c.name for c in clusters if c.name not in busy]
            downs = {cluster: self._sky.ask(Down(cluster)) for cluster in idle}
            deadline = time.monotonic() + wait_seconds
            while downs and time.monotonic() < deadline:
                answers = self._sky.answers(list(downs.values()))
                for cluster, request_id in list(downs.items()):
                    answer = answers.get(request_id)
                    if answer is not None and answer.problem in (None, Problem.GONE):
                        del downs[cluster]
                    elif answer is not None:
                        downs[cluster] = self._sky.ask(Down(cluster))
                if downs:
                    time.sleep(self._pause_seconds)
            return sorted(downs)

    # --- starting --------------------------------------------------------------------------------

    def _place(self, job: Job) -> str | None:
        """Return the cluster that a job is to run on; None: the jobs controller's choice."""
        match self._settings.placing:
            case "managed_jobs":
                return None
            case "cluster_per_trial":
                return PREFIX + job.name
            case "reused_clusters":
                workers = [self._worker(index) for index in range(self._settings.workers)]
                waiting = dict.fromkeys(workers, 0)
                for entry in self._ledger.open():
                    if entry.cluster in waiting:
                        waiting[entry.cluster] += 1
                # the least busy; of those a warm one, then the first
                return min(workers, key=lambda w: (waiting[w], not self._is_warm(w)))

    def _worker(self, index: int) -> str:
        return f"{PREFIX}{self._settings.prefix}w{index}"

    def _is_worker(self, cluster: str) -> bool:
        return _own(cluster).removeprefix(self._settings.prefix).startswith("w")

    def _is_warm(self, cluster: str) -> bool:
        """Whether a cluster was up when we last heard of it."""
        if cluster in self._memory.downs:
            return False
        placed = [e for e in self._ledger.of_cluster(cluster) if e.job_id is not None]
        outcome = placed[-1].outcome if placed else None
        return bool(placed) and (outcome is None or outcome.phase is not Phase.LOST)

    def _call(self, job: Job, cluster: str | None) -> Call:
        """Return what SkyPilot is asked for. Raises ExecutorError for inputs that cannot go."""
        settings = self._settings
        try:
            run = wrapping.run_section(
                job, storage=settings.storage, is_guarded=cluster is not None
            )
        except (OSError, ValueError) as error:
            raise ExecutorError(f"job {job.name} was not started: {error}") from error
        envs = {**settings.task.get("envs", {}), JOB_VARIABLE: job.name}
        task = {
            **settings.task,
            "name": PREFIX + job.name,
            "num_nodes": job.nodes,
            "envs": envs,
            "run": run,
        }
        if cluster is None:
            return LaunchManaged(PREFIX + job.name, task, job.secrets, settings.pool)
        if settings.placing == "reused_clusters" and self._is_warm(cluster):
            return Exec(cluster, task, job.secrets)
        return Launch(cluster, task, job.secrets, settings.idle_minutes)

    def _begin(self, job: Job, call: Call) -> Entry:
        cluster = call.cluster if isinstance(call, Launch | Exec) else None
        try:
            return self._ledger.put(
                Entry(
                    name=job.name,
                    run_id=job.run_id,
                    attempt=job.attempt,
                    run_dir=str(job.run_dir),
                    asked_at=self._now(),
                    cluster=cluster,
                )
            )
        except OSError as error:
            raise ExecutorError(f"job {job.name} cannot be written down: {error}") from error

    def _may_launch(self) -> bool:
        """Whether SkyPilot is not busy enough with launches of ours."""
        under_way = sum(e.request_id is not None and e.job_id is None for e in self._ledger.open())
        return under_way < self._settings.launches

    def _launch_next(self) -> None:
        """Ask for jobs that waited until SkyPilot had launched others."""
        queue = self._memory.queue
        while queue and self._may_launch():
            name = queue.pop(0)
            entry, job = self._ledger.get(name), self._memory.jobs.get(name)
            if entry is not None and job is not None and entry.outcome is None:
                try:
                    self._start(entry, self._call(job, entry.cluster))
                except ExecutorError as error:
                    cause = Cause.LAUNCH_ERROR
                    outcome = Outcome(Phase.LOST, detail=error.message, cause=cause)
                    self._close(self._ledger.put(entry), outcome)

    def _start(self, entry: Entry, call: Call) -> None:
        """Ask for a job, and remember the request. What we are not sure of is looked for later."""
        try:
            request_id = self._sky.ask(call)
        except ExecutorError:
            try:
                found = self._sky.find(entry.name)
            except ExecutorError:
                return  # nobody can say now whether it was taken: `poll` finds out
            if found is None:
                self._ledger.drop(entry.name)
                self._memory.jobs.pop(entry.name, None)
                raise
            request_id = found
        self._put(entry, request_id=request_id, asked_at=self._now())

    # --- looking ---------------------------------------------------------------------------------

    def _advance(self) -> None:
        """Take what SkyPilot has answered, and ask for what is due."""
        entries = list(self._ledger.open())
        if not entries:
            return
        try:
            self._take_places(entries)
            self._launch_next()
            self._take_looks()
            self._ask_looks([e for e in self._ledger.open() if e.job_id is not None])
        except OSError as error:
            raise ExecutorError(f"the ledger cannot be written: {error}") from error
        for entry in list(self._ledger.open()):
            self._follow(entry)

    def _settle(self) -> None:
        """Wait, once, until what this object asked first is answered: we knew nothing before."""
        deadline = time.monotonic() + SETTLE_SECONDS
        while self._is_waiting() and time.monotonic() < deadline:
            time.sleep(self._pause_seconds)
            self._advance()

    def _is_waiting(self) -> bool:
        looks = any(not look.is_known for look in self._memory.looks.values())
        return looks or bool(self._memory.fetches or self._memory.census)

    def _take_places(self, entries: Iterable[Entry]) -> None:
        """Learn where jobs have been placed, or why they have not."""
        unheard = [e for e in entries if e.request_id is None]
        for entry in unheard:
            if entry.name in self._memory.queue:
                continue
            if request_id := self._sky.find(entry.name):
                self._put(entry, request_id=request_id)
            elif self._now() - entry.asked_at > UNHEARD_SECONDS:
                self._close(entry, Outcome(Phase.LOST, detail="SkyPilot never heard of it"))
        waiting = {
            e.request_id: e
            for e in self._ledger.open()
            if e.request_id is not None and e.job_id is None
        }
        for request_id, answer in self._sky.answers(list(waiting)).items():
            self._take_place(waiting[request_id], answer)

    def _take_place(self, entry: Entry, answer: Answer) -> None:
        if isinstance(answer.value, Placed):
            placed = self._put(
                entry,
                job_id=answer.value.job_id,
                held_since=self._held_since(entry),
                price_usd_per_hour=answer.value.price_usd_per_hour or 0.0,
                is_spot=answer.value.is_spot,
            )
            self._memory.jobs.pop(entry.name, None)
            if entry.is_cancelled:
                self._end(placed)
            return
        job = self._memory.jobs.get(entry.name)
        if answer.problem is Problem.GONE and job is not None and not entry.is_cancelled:
            self._memory.jobs.pop(entry.name)  # its warm cluster is no more: once, on a new one
            assert entry.cluster is not None or self._settings.placing == "managed_jobs"
            self._relaunch(entry, job)
            return
        if entry.is_cancelled:
            self._close(entry, Outcome(Phase.KILLED, ended_at=self._now(), detail="cancelled"))
            return
        problem = answer.problem or Problem.TROUBLE
        cause = Cause.LAUNCH_ERROR if problem is Problem.REFUSED else problem.cause
        self._close(entry, Outcome(Phase.LOST, detail=answer.detail, cause=cause))
        if entry.cluster is not None and not self._others_on(entry):
            self._down(entry.cluster)

    def _relaunch(self, entry: Entry, job: Job) -> None:
        call = self._call(job, entry.cluster)
        if isinstance(call, Exec):
            call = Launch(call.cluster, call.task, call.secrets, self._settings.idle_minutes)
        fresh = self._put(entry, request_id=None, asked_at=self._now())
        with contextlib.suppress(ExecutorError):
            self._start(fresh, call)

    def _held_since(self, entry: Entry) -> float:
        """Return since when machines are paid for this job: on a warm one, since the job before."""
        before = [
            e.outcome.ended_at
            for e in (self._ledger.of_cluster(entry.cluster) if entry.cluster else ())
            if e.name != entry.name and e.outcome is not None and e.outcome.ended_at is not None
        ]
        if before and self._is_warm_after(entry):
            return min(max(before), entry.asked_at)
        return entry.asked_at

    def _is_warm_after(self, entry: Entry) -> bool:
        assert entry.cluster is not None
        earlier = [e for e in self._ledger.of_cluster(entry.cluster) if e.asked_at < entry.asked_at]
        last = earlier[-1].outcome if earlier else None
        return last is not None and last.phase is not Phase.LOST

    def _ask_looks(self, entries: Sequence[Entry]) -> None:
        """List each queue that holds a job of ours, no more often than we may."""
        for cluster in {entry.cluster for entry in entries}:
            look = self._memory.looks.setdefault(cluster, _Look())
            is_due = self._now() - look.asked_at >= self._settings.look_seconds
            if look.request_id is None and is_due:
                prefix = PREFIX + self._settings.prefix
                call = ListManaged(prefix) if cluster is None else ListJobs(cluster)
                look.request_id, look.asked_at = self._sky.ask(call), self._now()
        if self._memory.suspects and self._memory.census is None:
            prefix = PREFIX + self._settings.prefix
            self._memory.census = self._sky.ask(ListClusters(prefix, is_fresh=True))

    def _take_looks(self) -> None:
        looks = {look.request_id: (c, look) for c, look in self._memory.looks.items()}
        pending = [r for r in (*looks, self._memory.census, *self._memory.downs.values()) if r]
        if not pending:
            return
        answers = self._sky.answers(pending)
        for request_id, (cluster, look) in looks.items():
            if request_id is None or (answer := answers.get(request_id)) is None:
                continue
            look.request_id = None
            if answer.problem is None:
                look.jobs, look.is_known = answer.value, True
                self._memory.suspects.discard(cluster or "")
            elif cluster is not None:
                self._memory.suspects.add(cluster)
        if self._memory.census and (census := answers.get(self._memory.census)):
            self._memory.census = None
            if census.problem is None:
                self._bury({c.name for c in census.value})
        for name, down in list(self._memory.downs.items()):
            if (ended := answers.get(down)) is not None:
                del self._memory.downs[name]
                if ended.problem not in (None, Problem.GONE):
                    self._down(name)

    def _bury(self, alive: set[str]) -> None:
        """Close the jobs of clusters that are gone."""
        for cluster in self._memory.suspects - alive:
            self._memory.looks.pop(cluster, None)
            for entry in self._ledger.of_cluster(cluster):
                if entry.outcome is None and entry.job_id is not None:
                    self._close(entry, self._gone(entry))
        self._memory.suspects.clear()

    def _gone(self, entry: Entry) -> Outcome:
        """Return the end of a job whose machines are no more."""
        job = self._seen(entry)
        known = Outcome(
            Phase.KILLED if entry.is_cancelled else Phase.LOST,
            started_at=job.started_at if job else None,
            ended_at=self._now(),
            price_usd_per_hour=entry.price_usd_per_hour,
            held_since=entry.held_since,
            detail="cancelled" if entry.is_cancelled else f"cluster {entry.cluster} is gone",
        )
        if entry.is_cancelled:
            return known
        cause = Cause.PREEMPTED if entry.is_spot else Cause.NODE_LOST
        return msgspec.structs.replace(known, cause=cause)

    def _seen(self, entry: Entry) -> SkyJob | None:
        look = self._memory.looks.get(entry.cluster)
        jobs = look.jobs if look else ()
        return next((job for job in jobs if job.job_id == entry.job_id), None)

    def _follow(self, entry: Entry) -> None:
        """Ask again for an end that does not come; bring here what an ended job left."""
        ending_at = self._memory.ending_at.get(entry.name, float("-inf"))
        if entry.is_cancelled and self._now() - ending_at > ASK_AGAIN_SECONDS:
            self._end(entry)
        job = self._seen(entry)
        if job is None or not job.status.is_over:
            return
        fetch = self._memory.fetches.get(entry.name)
        if fetch is None:
            self._fetch(entry, job, 1)
        elif fetch.future.done():
            if fetch.future.exception() is not None and fetch.tries < LOG_TRIES:
                self._fetch(entry, job, fetch.tries + 1)
            else:
                self._finish(entry, job, fetch)

    def _fetch(self, entry: Entry, job: SkyJob, tries: int) -> None:
        future = self._threads.submit(self._sky.log, Where(entry.cluster, job.job_id))
        self._memory.fetches[entry.name] = _Fetch(future, tries)

    def _finish(self, entry: Entry, job: SkyJob, fetch: _Fetch) -> None:
        """Write what a job printed and left into its run folder, then close it."""
        log = "" if fetch.future.exception() is not None else fetch.future.result()
        said = wrapping.printed(log, entry.name)
        run_dir = Path(entry.run_dir)
        try:
            run_dir.mkdir(parents=True, exist_ok=True)
            if not trainlog.has_attempt(run_dir / "train.log", entry.attempt):
                _append(run_dir / "train.log", entry, said.lines)
            wrapping.unpack(said.files, run_dir)
        except OSError as error:
            raise ExecutorError(f"the disk refuses what {entry.name} left: {error}") from error
        del self._memory.fetches[entry.name]
        self._close(entry, self._ended(entry, job, said))
        if self._settings.placing == "cluster_per_trial" and entry.cluster:
            self._down(entry.cluster)

    def _ended(self, entry: Entry, job: SkyJob, said: wrapping.Printed) -> Outcome:
        """Return what the end of a job was, from its queue and from its own words."""
        price = job.price_usd_per_hour or entry.price_usd_per_hour
        known = Outcome(
            Phase.EXITED,
            started_at=job.started_at or said.started_at,
            ended_at=job.ended_at or said.ended_at or self._now(),
            price_usd_per_hour=price,
            held_since=entry.held_since,
            detail=job.detail,
        )
        replace = msgspec.structs.replace
        if said.is_timeout:
            return replace(known, phase=Phase.KILLED, cause=Cause.TIMEOUT)
        match job.status:
            case Status.SUCCEEDED | Status.FAILED if said.exit_code is not None:
                return replace(known, exit_code=said.exit_code)
            case Status.CANCELLED if entry.is_cancelled:
                return replace(known, phase=Phase.KILLED)
            case Status.SUCCEEDED:
                return replace(known, exit_code=0)
            case Status.FAILED:
                return replace(known, exit_code=_worst_code(said.lines))
            case Status.FAILED_SETUP:
                detail = "\n".join(["the task's setup failed", *said.lines[-8:]])
                return replace(known, phase=Phase.LOST, cause=Cause.LAUNCH_ERROR, detail=detail)
            case Status.NO_CAPACITY:
                return replace(known, phase=Phase.LOST, cause=Cause.NO_CAPACITY)
            case Status.REFUSED:
                return replace(known, phase=Phase.LOST, cause=Cause.LAUNCH_ERROR)
            case _:
                return replace(known, phase=Phase.LOST, cause=Cause.NODE_LOST)

    def _outcome(self, name: str) -> Outcome:
        entry = self._ledger.get(name) if is_name(name) else None
        if entry is None:
            return Outcome(Phase.ABSENT)
        if entry.outcome is not None:
            return entry.outcome
        job = self._seen(entry)
        price = entry.price_usd_per_hour
        if job is None or job.status is Status.PENDING or job.started_at is None:
            where = entry.cluster or "a managed job"
            detail = f"provisioning {where}" if entry.job_id is None else f"queued on {where}"
            return Outcome(
                Phase.PENDING, detail=detail, price_usd_per_hour=price, held_since=entry.held_since
            )
        return Outcome(
            Phase.RUNNING,
            started_at=job.started_at,
            price_usd_per_hour=job.price_usd_per_hour or price,
            held_since=entry.held_since,
            detail=job.detail,
        )

    # --- ending ----------------------------------------------------------------------------------

    def _end(self, entry: Entry) -> None:
        """Ask for the end of a job, wherever it stands."""
        self._memory.ending_at[entry.name] = self._now()
        if entry.name in self._memory.queue:
            self._memory.queue.remove(entry.name)
            self._close(entry, Outcome(Phase.KILLED, ended_at=self._now(), detail="cancelled"))
        elif entry.job_id is None:
            if entry.request_id is not None:
                self._sky.ask(CancelRequest(entry.request_id))
            if entry.cluster is not None and not self._others_on(entry):
                self._down(entry.cluster)
        elif entry.cluster is None:
            self._sky.ask(CancelManaged((entry.job_id,)))
        elif self._settings.placing == "cluster_per_trial":
            self._down(entry.cluster)
            self._memory.suspects.add(entry.cluster)
        else:
            self._sky.ask(CancelJobs(entry.cluster, (entry.job_id,)))

    def _end_unknown(self, names: Sequence[str]) -> None:
        """End what SkyPilot runs under our names and no entry knows."""
        if not names:
            return
        wanted = {PREFIX + name for name in names}
        if self._settings.placing == "managed_jobs":
            jobs = self._ask_and_wait(ListManaged(PREFIX + self._settings.prefix))
            ids = tuple(j.job_id for j in jobs if j.name in wanted and not j.status.is_over)
            if ids:
                self._sky.ask(CancelManaged(ids))
            return
        clusters = self._ask_and_wait(ListClusters(PREFIX + self._settings.prefix))
        for cluster in wanted.intersection(c.name for c in clusters):
            self._down(cluster)
        for where, look in self._memory.looks.items():
            ids = tuple(j.job_id for j in look.jobs if j.name in wanted and not j.status.is_over)
            if where is not None and ids:
                self._sky.ask(CancelJobs(where, ids))

    def _strays(self) -> list[SkyJob]:
        """Return the living jobs on our clusters that no open entry knows."""
        known = {(entry.cluster, entry.job_id) for entry in self._ledger.open()}
        return [
            job
            for cluster, look in self._memory.looks.items()
            for job in look.jobs
            if not job.status.is_over
            and (cluster, job.job_id) not in known
            and _own(job.name).startswith(self._settings.prefix)
        ]

    def _down(self, cluster: str) -> None:
        if cluster not in self._memory.downs:
            self._memory.downs[cluster] = self._sky.ask(Down(cluster))

    def _others_on(self, entry: Entry) -> bool:
        return any(
            e.outcome is None and e.name != entry.name
            for e in self._ledger.of_cluster(entry.cluster or "")
        )

    def _close(self, entry: Entry, outcome: Outcome) -> None:
        self._put(entry, outcome=outcome)
        self._memory.jobs.pop(entry.name, None)
        self._memory.ending_at.pop(entry.name, None)

    def _put(self, entry: Entry, **changes: Any) -> Entry:
        try:
            return self._ledger.put(msgspec.structs.replace(entry, **changes))
        except OSError as error:
            raise ExecutorError(f"job {entry.name} cannot be written down: {error}") from error

    def _ask_and_wait(self, call: Call, seconds: float = 60.0) -> tuple[Any, ...]:
        """Return the answer to a quick question. Raises ExecutorError if there is none in time."""
        request_id = self._sky.ask(call)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            answer = self._sky.answers([request_id]).get(request_id)
            if answer is not None and answer.problem is None:
                return tuple(answer.value)
            if answer is not None:
                raise ExecutorError(f"SkyPilot could not answer: {answer.detail}")
            time.sleep(self._pause_seconds)
        raise ExecutorError("SkyPilot did not answer in time")


def _own(name: str) -> str:
    """Return our name of what SkyPilot calls by it."""
    return name.removeprefix(PREFIX)


def _append(log: Path, entry: Entry, lines: Sequence[str]) -> None:
    when = datetime.fromtimestamp(entry.asked_at, tz=UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    text = "\n".join([trainlog.header(entry.run_id, entry.attempt, when), *lines, ""])
    with log.open("a", encoding="utf-8", errors="replace") as file:
        file.write(text)


def _worst_code(lines: Sequence[str]) -> int:
    """Return the exit code that SkyPilot names in a log; 1 if it names none."""
    for line in reversed(lines):
        if match := _CODES.search(line):
            return min((abs(int(c)) for c in match[1].split(",") if int(c) != 0), default=1)
    return 1


_CODES = re.compile(r"return code list: \[(-?\d+(?:, -?\d+)*)\]")
