"""The executor on SkyPilot: find-or-start by name, one look for all, nothing left running.

Every step is written into the ledger before or after SkyPilot is asked, so that a coordinator
that dies anywhere leaves what the next one needs:

    entry without a request   we meant to ask: the request is looked for by the job's name
    entry with a request      SkyPilot provisions: its answer says where the job is, or why not
    entry with a job id       the job is in a queue, which is listed for all its jobs at once
    entry with an outcome     over; what it printed and left has been brought here

No call waits for SkyPilot but short ones of its API server: long answers are collected by a later
`poll`, but for the first poll of an object, which knew nothing before.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

import msgspec

from launcher.errors import ExecutorError
from launcher.executors.skypilot import outcomes
from launcher.executors.skypilot.calls import (
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
    ListManaged,
    Placed,
    Problem,
    Sky,
)
from launcher.executors.skypilot.ledger import Entry, Ledger
from launcher.executors.skypilot.placing import (
    PREFIX,
    Settings,
    call_for,
    cluster_for,
    is_warm,
    own_name,
)
from launcher.executors.skypilot.pool import Pool
from launcher.executors.skypilot.queues import NEVER, Queues
from launcher.executors.skypilot.returns import Returns
from launcher.executors.validity import check, is_name
from launcher.ports import Cause, Job, Outcome, Phase

ASK_AGAIN_SECONDS = 60.0
"""After which an end that was asked for, and did not come, is asked for again."""
UNHEARD_SECONDS = 120.0
"""How long a job may be unknown to SkyPilot after we meant to ask for it."""
SETTLE_SECONDS = 60.0
QUICK_SECONDS = 60.0
"""The longest that a list of names may take."""
RELEASE_SECONDS = 300.0


class SkyPilotExecutor:
    """Runs jobs as SkyPilot tasks. What it holds in memory can be found out again."""

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
        self._queues = Queues(sky, settings.cloud_prefix, settings.look_seconds, now)
        self._returns = Returns(sky)
        self._pool = Pool(sky, settings, self._ledger)
        self._jobs: dict[str, Job] = {}  # not over: they may have to be asked for again
        self._waiting: list[str] = []  # of these, not asked for yet: SkyPilot is busy with others
        self._downs: dict[str, str] = {}  # clusters on their way down, and the requests
        self._ending_at: dict[str, float] = {}
        self._doubles: set[int] = set()  # managed jobs that should not be, and are on their way out
        self._is_new = True
        self._lock = Lock()
        self._pause_seconds = min(0.2, max(0.002, settings.look_seconds))

    # --- the port --------------------------------------------------------------------------------

    def submit(self, job: Job) -> None:
        """Find the job, or ask SkyPilot for it."""
        check(job)
        with self._lock:
            entry = self._ledger.get(job.name)
            if entry is None:
                cluster = cluster_for(job, self._settings, self._ledger)
                call = self._call(job, cluster)
                entry = self._put(
                    Entry(
                        name=job.name,
                        run_id=job.run_id,
                        attempt=job.attempt,
                        run_dir=str(job.run_dir),
                        asked_at=self._now(),
                        cluster=cluster,
                    )
                )
            elif entry.outcome is not None or entry.request_id is not None:
                return
            elif request_id := self._found(entry):
                self._put(entry, request_id=request_id)
                return
            else:
                call = self._call(job, entry.cluster)
            self._jobs[job.name] = job
            self._pool.make(job.secrets)
            if self._may_start(entry):
                self._start(entry, call)
            elif job.name not in self._waiting:
                self._waiting.append(job.name)

    def poll(self, names: Sequence[str]) -> Mapping[str, Outcome]:
        """Answer from what SkyPilot has said until now, and ask it for news."""
        with self._lock:
            self._advance()
            if self._is_new:
                self._settle()
            return {name: self._outcome(name) for name in names}

    def cancel(self, names: Sequence[str]) -> None:
        """Ask SkyPilot to end the jobs, and clusters that were theirs alone."""
        with self._lock:
            unknown = set()
            for name in filter(is_name, names):
                entry = self._ledger.get(name)
                if entry is None:
                    unknown.add(PREFIX + name)
                elif entry.outcome is None:
                    self._end(self._put(entry, is_cancelled=True))
                elif self._settings.placing == "cluster_per_trial" and entry.cluster:
                    self._down(entry.cluster)
            if unknown:
                self._end_unknown(unknown)

    def names(self, prefix: str) -> Sequence[str]:
        """List what is under way by our ledger or by SkyPilot's own lists."""
        with self._lock:
            found = {entry.name for entry in self._ledger.open()}
            if self._settings.placing == "managed_jobs":
                jobs = self._ask_and_wait(ListManaged(PREFIX + prefix))
                found |= {own_name(job.name) for job in jobs if not job.status.is_over}
            else:
                clusters = self._ask_and_wait(ListClusters(PREFIX + prefix))
                alone = [c.name for c in clusters if not self._settings.is_worker(c.name)]
                known = {(entry.cluster, entry.job_id) for entry in self._ledger.open()}
                strays = [
                    job.name
                    for cluster, job in self._queues.jobs()
                    if not job.status.is_over and (cluster, job.job_id) not in known
                ]
                found |= {own_name(name) for name in (*alone, *strays)}
            return sorted(name for name in found if name.startswith(prefix) and is_name(name))

    def release(self) -> Sequence[str]:
        """Give back the clusters that are kept for further jobs; return those still there."""
        with self._lock:
            ends = self._ends_of_kept()
            asked = {name: self._sky.ask(call) for name, call in ends.items()}
            deadline = time.monotonic() + RELEASE_SECONDS
            while asked and time.monotonic() < deadline:
                for name, answer in self._answered(asked).items():
                    del asked[name]
                    if answer.problem not in (None, Problem.GONE):
                        asked[name] = self._sky.ask(ends[name])
                time.sleep(self._pause_seconds)
            return sorted(asked)

    def _ends_of_kept(self) -> dict[str, Call]:
        """Return what ends the machines that are kept for further jobs, by their names."""
        settings = self._settings
        if settings.placing == "reused_clusters":
            busy = {entry.cluster for entry in self._ledger.open()}
            clusters = self._ask_and_wait(ListClusters(settings.cloud_prefix))
            return {c.name: Down(c.name) for c in clusters if c.name not in busy}
        end = self._pool.end()
        return {end.name: end} if end else {}

    # --- starting --------------------------------------------------------------------------------

    def _call(
        self, job: Job, cluster: str | None, *, is_cold: bool = False
    ) -> Launch | Exec | LaunchManaged:
        return call_for(
            job, cluster, self._settings, is_warm=not is_cold and self._is_warm(cluster)
        )

    def _is_warm(self, cluster: str | None) -> bool:
        return cluster is not None and cluster not in self._downs and is_warm(cluster, self._ledger)

    def _may_start(self, entry: Entry) -> bool:
        """Whether a job need not wait until SkyPilot has launched others, or its own cluster."""
        if self._queues.is_suspect(entry.cluster):
            return False
        if self._settings.placing == "reused_clusters" and self._is_warm(entry.cluster):
            return True
        under_way = [e for e in self._ledger.open() if e.request_id and e.job_id is None]
        is_there_soon = any(e.cluster and e.cluster == entry.cluster for e in under_way)
        has_room = len(under_way) < self._settings.launches
        return self._pool.is_there and has_room and not is_there_soon

    def _take_pool(self) -> None:
        """Learn whether the pool is there; if it cannot be, no job that waits for it can start."""
        refusal = self._pool.refusal()
        for name in self._waiting if refusal else ():
            entry = self._ledger.get(name)
            if refusal and entry is not None and entry.outcome is None:
                self._close(entry, outcomes.unplaced(entry, refusal, self._now()))

    def _launch_next(self) -> None:
        """Ask for jobs that waited until SkyPilot had launched others."""
        for name in list(self._waiting):
            entry, job = self._ledger.get(name), self._jobs.get(name)
            if entry is None or job is None or entry.outcome is not None:
                self._waiting.remove(name)
            elif self._may_start(entry):
                self._waiting.remove(name)
                try:
                    self._start(entry, self._call(job, entry.cluster))
                except ExecutorError as error:
                    cause = Cause.LAUNCH_ERROR
                    self._close(entry, Outcome(Phase.LOST, detail=error.message, cause=cause))

    def _start(self, entry: Entry, call: Launch | Exec | LaunchManaged) -> None:
        """Ask for a job, and remember the request.

        Raises ExecutorError if SkyPilot certainly has not taken it; it is forgotten then.
        """
        try:
            request_id = self._sky.ask(call)
        except ExecutorError:
            try:
                found = self._found(entry)
            except ExecutorError:
                return  # nobody can say now whether it was taken: `poll` finds out
            if found is None:
                self._ledger.drop(entry.name)
                self._jobs.pop(entry.name, None)
                raise
            request_id = found
        is_warm = isinstance(call, Exec)
        self._put(entry, request_id=request_id, asked_at=self._now(), is_warm=is_warm)

    def _found(self, entry: Entry) -> str | None:
        """Return the request that starts a job, if SkyPilot has taken one."""
        found = self._sky.find(entry.name)
        return None if found == entry.lost_request_id else found

    # --- looking ---------------------------------------------------------------------------------

    def _settle(self) -> None:
        """Wait, once, until what this object asked first is answered."""
        deadline = time.monotonic() + SETTLE_SECONDS
        while not (self._queues.is_settled and not self._returns):
            if time.monotonic() >= deadline:
                break
            time.sleep(self._pause_seconds)
            self._advance()
        self._is_new = False

    def _advance(self) -> None:
        """Take what SkyPilot has answered, and ask for what is due."""
        if self._downs:
            self._take_downs()
        if not any(True for _ in self._ledger.open()):
            return
        self._find_unheard()
        self._take_places()
        self._take_pool()
        self._launch_next()
        for cluster in self._queues.take():
            self._lose(cluster)
        placed = [entry for entry in self._ledger.open() if entry.job_id is not None]
        self._queues.ask({entry.cluster for entry in (*placed, *self._unheard())})
        self._end_doubles(placed)
        for entry in placed:
            self._follow(entry)

    def _lose(self, cluster: str) -> None:
        """End the jobs of a cluster that is gone; those that waited for their turn go on anew."""
        there = [e for e in self._ledger.of_cluster(cluster) if e.job_id is not None]
        for entry in [e for e in there if e.outcome is None]:
            turn, now = self._queues.turn(cluster, entry.job_id), self._now()
            job = self._jobs.get(entry.name)
            if turn == math.inf and job is not None and not entry.is_cancelled:
                lost = entry.request_id
                self._put(entry, request_id=None, lost_request_id=lost, job_id=None, asked_at=now)
                self._waiting.append(entry.name)
            else:
                seen = self._queues.seen(cluster, entry.job_id)
                self._close(entry, outcomes.gone(entry, seen, now, turn))
        self._queues.forget(cluster)

    def _find_unheard(self) -> None:
        """Look for requests that we meant to send, when nobody remembers whether we did."""
        for entry in self._unheard():
            if request_id := self._found(entry):
                self._put(entry, request_id=request_id)
            elif seen := self._queues.named(entry.cluster, PREFIX + entry.name):
                self._take_place(entry, Placed(seen.job_id, seen.price_usd_per_hour))
            elif self._now() - entry.asked_at > UNHEARD_SECONDS:
                self._give_up(entry)

    def _unheard(self) -> list[Entry]:
        return [
            entry
            for entry in self._ledger.open()
            if entry.request_id is None and entry.job_id is None and entry.name not in self._waiting
        ]

    def _give_up(self, entry: Entry) -> None:
        """Ask for a job of which nobody knows again, or call it lost if we have forgotten it too.

        Its queue must have been seen without it first, unless it would be the first there.
        """
        is_sure = entry.cluster is not None or self._queues.is_known(None, entry.asked_at)
        job = self._jobs.get(entry.name)
        if entry.is_cancelled:
            self._close(entry, Outcome(Phase.KILLED, ended_at=self._now(), detail="cancelled"))
        elif job is None:
            self._close(entry, Outcome(Phase.LOST, detail="SkyPilot never heard of it"))
        elif is_sure:
            again = self._put(entry, asked_at=self._now())
            self._start(again, self._call(job, entry.cluster, is_cold=True))

    def _take_places(self) -> None:
        """Learn where jobs have been placed, or why they have not."""
        asked = {
            entry.name: entry.request_id
            for entry in self._ledger.open()
            if entry.request_id is not None and entry.job_id is None
        }
        for name, answer in self._answered(asked).items():
            entry = self._ledger.get(name)
            assert entry is not None
            if answer.problem is Problem.FORGOTTEN:
                self._put(entry, request_id=None, asked_at=self._now())
                continue
            job = self._jobs.get(name)
            if isinstance(answer.value, Placed):
                self._take_place(entry, answer.value)
            elif answer.problem is Problem.GONE and job is not None and not entry.is_cancelled:
                again = self._put(entry, request_id=None, asked_at=self._now())
                if entry.cluster is not None and self._others_on(entry, is_placed=True):
                    self._queues.suspect(entry.cluster)  # they are lost with it, or it is there
                    self._waiting.append(name)
                else:
                    self._start(again, self._call(job, entry.cluster, is_cold=True))
            else:
                self._close(entry, outcomes.unplaced(entry, answer, self._now()))
                if entry.cluster is not None and not self._others_on(entry):
                    self._down(entry.cluster)  # half a cluster may be there

    def _take_place(self, entry: Entry, place: Placed) -> None:
        placed = self._put(
            entry,
            job_id=place.job_id,
            held_since=self._held_since(entry),
            price_usd_per_hour=place.price_usd_per_hour or 0.0,
            is_spot=place.is_spot,
        )
        if entry.is_cancelled:
            self._end(placed)

    def _held_since(self, entry: Entry) -> float:
        """Return since when machines are paid for a job: on a warm one, since the job before."""
        before = [
            e.outcome.ended_at
            for e in (self._ledger.of_cluster(entry.cluster) if entry.cluster else ())
            if e.asked_at < entry.asked_at and e.outcome is not None and e.outcome.ended_at
        ]
        return min(max(before), entry.asked_at) if before and entry.is_warm else entry.asked_at

    def _follow(self, entry: Entry) -> None:
        """Ask again for an end that does not come; bring here what an ended job left."""
        if entry.outcome is not None:
            return
        asked_at = self._ending_at.get(entry.name, NEVER)
        if entry.is_cancelled and self._now() - asked_at > ASK_AGAIN_SECONDS:
            self._end(entry)
        job = self._queues.seen(entry.cluster, entry.job_id)
        if job is None:
            return
        now_priced = outcomes.repriced(entry, job, self._now())  # told while it has machines
        if now_priced != entry:
            entry = self._put(now_priced)
        if not job.status.is_over:
            return
        said = self._returns.bring(entry)
        if said is None:
            return
        first = self._queues.named(entry.cluster, PREFIX + entry.name)
        if said.is_again and first is not None and first.job_id != entry.job_id:
            self._put(entry, job_id=first.job_id)  # the start that counts
            return
        turn = self._queues.turn(entry.cluster, entry.job_id)
        self._close(entry, outcomes.ended(entry, job, said, self._now(), turn))
        if self._settings.placing == "cluster_per_trial" and entry.cluster:
            self._down(entry.cluster)

    def _outcome(self, name: str) -> Outcome:
        entry = self._ledger.get(name) if is_name(name) else None
        if entry is None:
            return Outcome(Phase.ABSENT)
        if entry.outcome is not None:
            return entry.outcome
        seen = self._queues.seen(entry.cluster, entry.job_id)
        return outcomes.standing(entry, seen, self._queues.turn(entry.cluster, entry.job_id))

    # --- ending ----------------------------------------------------------------------------------

    def _end(self, entry: Entry) -> None:
        """Ask for the end of a job, wherever it stands."""
        self._ending_at[entry.name] = self._now()
        if entry.name in self._waiting:
            self._waiting.remove(entry.name)
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
            self._queues.suspect(entry.cluster)
        else:
            self._sky.ask(CancelJobs(entry.cluster, (entry.job_id,)))

    def _end_doubles(self, placed: Sequence[Entry]) -> None:
        """End managed jobs that a request has started a second time: it was delivered twice."""
        ours = {PREFIX + entry.name: entry.job_id for entry in placed if entry.cluster is None}
        doubles = {
            job.job_id
            for where, job in self._queues.jobs()
            if where is None
            and ours.get(job.name, job.job_id) != job.job_id
            and not job.status.is_over
        }
        if new := doubles - self._doubles:
            self._doubles |= new
            self._sky.ask(CancelManaged(tuple(sorted(new))))

    def _end_unknown(self, names: set[str]) -> None:
        """End what SkyPilot runs under our names and no entry knows."""
        prefix = self._settings.cloud_prefix
        if self._settings.placing == "managed_jobs":
            jobs = self._ask_and_wait(ListManaged(prefix))
            ids = tuple(j.job_id for j in jobs if j.name in names and not j.status.is_over)
            if ids:
                self._sky.ask(CancelManaged(ids))
            return
        clusters = self._ask_and_wait(ListClusters(prefix))
        for cluster in names.intersection(c.name for c in clusters):
            self._down(cluster)
        for where, job in self._queues.jobs():
            if where is not None and job.name in names and not job.status.is_over:
                self._sky.ask(CancelJobs(where, (job.job_id,)))

    def _down(self, cluster: str) -> None:
        if cluster not in self._downs:
            self._downs[cluster] = self._sky.ask(Down(cluster))

    def _take_downs(self) -> None:
        for cluster, answer in self._answered(self._downs).items():
            del self._downs[cluster]
            if answer.problem not in (None, Problem.GONE):
                self._down(cluster)

    def _others_on(self, entry: Entry, *, is_placed: bool = False) -> bool:
        """Whether other jobs were given to a job's cluster, or have even got their place there."""
        there = self._ledger.of_cluster(entry.cluster or "")
        others = [e for e in there if e.outcome is None and e.name != entry.name]
        return any(e.job_id is not None for e in others) if is_placed else bool(others)

    # --- small things ----------------------------------------------------------------------------

    def _close(self, entry: Entry, outcome: Outcome) -> None:
        self._put(entry, outcome=outcome)
        self._jobs.pop(entry.name, None)
        self._ending_at.pop(entry.name, None)

    def _put(self, entry: Entry, **changes: Any) -> Entry:
        try:
            return self._ledger.put(msgspec.structs.replace(entry, **changes))
        except OSError as error:
            raise ExecutorError(f"job {entry.name} cannot be written down: {error}") from error

    def _answered(self, asked: Mapping[str, str | None]) -> dict[str, Answer]:
        """Return the answers that have come, by what they are about."""
        pending = {name: request_id for name, request_id in asked.items() if request_id}
        answers = self._sky.answers(list(pending.values())) if pending else {}
        return {name: answers[r] for name, r in pending.items() if r in answers}

    def _ask_and_wait(self, call: ListManaged | ListClusters) -> tuple[Any, ...]:
        """Return the answer to a quick question. Raises ExecutorError if there is none in time."""
        request_id = self._sky.ask(call)
        deadline = time.monotonic() + QUICK_SECONDS
        while time.monotonic() < deadline:
            answer = self._sky.answers([request_id]).get(request_id)
            if answer is not None and answer.problem is None:
                return tuple(answer.value)
            if answer is not None:
                raise ExecutorError(f"SkyPilot could not answer: {answer.detail}")
            time.sleep(self._pause_seconds)
        raise ExecutorError("SkyPilot did not answer in time")
