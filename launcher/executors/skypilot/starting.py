"""Asking SkyPilot for jobs: each once, a few at a time, until it has said where they are."""

from collections.abc import Callable

from launcher.errors import ExecutorError
from launcher.executors.skypilot import outcomes
from launcher.executors.skypilot.asking import answered
from launcher.executors.skypilot.calls import (
    Answer,
    Exec,
    Launch,
    LaunchManaged,
    Placed,
    Problem,
    Sky,
)
from launcher.executors.skypilot.ending import Ending
from launcher.executors.skypilot.ledger import Entry, Ledger
from launcher.executors.skypilot.placing import PREFIX, Settings, call_for, cluster_for, is_warm
from launcher.executors.skypilot.pool import Pool
from launcher.executors.skypilot.queues import Queues
from launcher.ports import Cause, Job, Outcome, Phase

UNHEARD_SECONDS = 120.0
"""How long a job may be unknown to SkyPilot after we meant to ask for it."""


class Starting:
    """Jobs from the intent to ask for them until they have a place."""

    def __init__(
        self,
        sky: Sky,
        settings: Settings,
        ledger: Ledger,
        queues: Queues,
        ending: Ending,
        now: Callable[[], float],
    ) -> None:
        self._sky = sky
        self._settings = settings
        self._ledger = ledger
        self._queues = queues
        self._ending = ending
        self._now = now
        self.pool = Pool(sky, settings, ledger)
        self._jobs: dict[str, Job] = {}  # not over: they may have to be asked for again
        self._waiting: list[str] = []  # of these, not asked for yet: SkyPilot is busy with others

    def submit(self, job: Job) -> None:
        """Find a job, or ask SkyPilot for it."""
        entry = self._ledger.get(job.name)
        if entry is None:
            cluster = cluster_for(job, self._settings, self._ledger)
            call = self._call(job, cluster)
            entry = self._ledger.put(
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
            self._ledger.change(entry, request_id=request_id)
            return
        else:
            call = self._call(job, entry.cluster)
        self._jobs[job.name] = job
        self.pool.make(job.secrets)
        if self._may_start(entry):
            self._start(entry, call)
        elif job.name not in self._waiting:
            self._waiting.append(job.name)

    def advance(self) -> None:
        """Find requests that nobody remembers, learn places, and ask for what waited."""
        self._find_unheard()
        self._take_places()
        self._take_pool()
        self._start_next()
        self._jobs = {
            e.name: self._jobs[e.name] for e in self._ledger.open() if e.name in self._jobs
        }

    def unheard(self) -> list[Entry]:
        """Return the jobs of which nobody remembers whether we asked for them."""
        return [
            entry
            for entry in self._ledger.open()
            if entry.request_id is None and entry.job_id is None and entry.name not in self._waiting
        ]

    def drop(self, entry: Entry) -> bool:
        """Forget a job that SkyPilot was not asked for yet; return whether it was one."""
        if entry.name not in self._waiting:
            return False
        self._waiting.remove(entry.name)
        self._ledger.change(entry, outcome=self._cancelled())
        return True

    def send_again(self, entry: Entry) -> bool:
        """Ask anew for a job whose cluster went before its turn; return whether we still can."""
        if entry.name not in self._jobs or entry.is_cancelled:
            return False
        lost = entry.request_id
        self._ledger.change(
            entry, request_id=None, lost_request_id=lost, job_id=None, asked_at=self._now()
        )
        self._waiting.append(entry.name)
        return True

    def _call(
        self, job: Job, cluster: str | None, *, is_cold: bool = False
    ) -> Launch | Exec | LaunchManaged:
        return call_for(
            job, cluster, self._settings, is_warm=not is_cold and self._is_warm(cluster)
        )

    def _is_warm(self, cluster: str | None) -> bool:
        return (
            cluster is not None
            and not self._ending.is_going(cluster)
            and is_warm(cluster, self._ledger)
        )

    def _may_start(self, entry: Entry) -> bool:
        """Whether a job need not wait until SkyPilot has launched others, or its own cluster."""
        if self._queues.is_suspect(entry.cluster):
            return False
        if self._settings.placing == "reused_clusters" and self._is_warm(entry.cluster):
            # Of two that SkyPilot starts at once either may be first, and ids say whose turn it is.
            asked = [e for e in self._ledger.beside(entry) if e.request_id or e.job_id]
            return all(self._queues.has_begun(e.cluster, e.job_id) for e in asked)
        under_way = [e for e in self._ledger.open() if e.request_id and e.job_id is None]
        is_there_soon = any(e.cluster and e.cluster == entry.cluster for e in under_way)
        has_room = len(under_way) < self._settings.launches
        return self.pool.is_there and has_room and not is_there_soon

    def _take_pool(self) -> None:
        """Learn whether the pool is there; if it cannot be, no job that waits for it can start."""
        refusal = self.pool.refusal()
        for name in self._waiting if refusal else ():
            entry = self._ledger.get(name)
            if refusal and entry is not None and entry.outcome is None:
                outcome = outcomes.unplaced(entry, refusal, self._now())
                self._ledger.change(entry, outcome=outcome)

    def _start_next(self) -> None:
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
                    outcome = Outcome(Phase.LOST, detail=error.message, cause=cause)
                    self._ledger.change(entry, outcome=outcome)

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
                return  # nobody can say now whether it was taken: `advance` finds out
            if found is None:
                self._ledger.drop(entry.name)
                self._jobs.pop(entry.name, None)
                raise
            request_id = found
        is_warm = isinstance(call, Exec)
        self._ledger.change(entry, request_id=request_id, asked_at=self._now(), is_warm=is_warm)

    def _found(self, entry: Entry) -> str | None:
        """Return the request that starts a job, if SkyPilot has taken one."""
        found = self._sky.find(entry.name)
        return None if found == entry.lost_request_id else found

    def _find_unheard(self) -> None:
        """Look for requests that we meant to send, when nobody remembers whether we did."""
        for entry in self.unheard():
            if request_id := self._found(entry):
                self._ledger.change(entry, request_id=request_id)
            elif seen := self._queues.named(entry.cluster, PREFIX + entry.name):
                self._take_place(entry, Placed(seen.job_id, seen.price_usd_per_hour))
            elif self._now() - entry.asked_at > UNHEARD_SECONDS:
                self._give_up(entry)

    def _give_up(self, entry: Entry) -> None:
        """Ask for a job of which nobody knows again, or call it lost if we have forgotten it too.

        Its queue must have been seen without it first, unless it would be the first there.
        """
        is_sure = entry.cluster is not None or self._queues.is_known(None, entry.asked_at)
        job = self._jobs.get(entry.name)
        if entry.is_cancelled:
            self._ledger.change(entry, outcome=self._cancelled())
        elif job is None:
            outcome = Outcome(Phase.LOST, detail="SkyPilot never heard of it")
            self._ledger.change(entry, outcome=outcome)
        elif is_sure:
            again = self._ledger.change(entry, asked_at=self._now())
            self._start(again, self._call(job, entry.cluster, is_cold=True))

    def _cancelled(self) -> Outcome:
        return Outcome(Phase.KILLED, ended_at=self._now(), detail="cancelled")

    def _take_places(self) -> None:
        """Learn where jobs have been placed, or why they have not."""
        asked = {
            entry.name: entry.request_id
            for entry in self._ledger.open()
            if entry.request_id is not None and entry.job_id is None
        }
        for name, answer in answered(self._sky, asked).items():
            entry = self._ledger.get(name)
            assert entry is not None
            if answer.problem is Problem.FORGOTTEN:
                self._ledger.change(entry, request_id=None, asked_at=self._now())
            elif isinstance(answer.value, Placed):
                self._take_place(entry, answer.value)
            elif answer.problem is Problem.GONE and name in self._jobs and not entry.is_cancelled:
                self._start_elsewhere(entry)
            else:
                self._refuse(entry, answer)

    def _take_place(self, entry: Entry, place: Placed) -> None:
        placed = self._ledger.change(
            entry,
            job_id=place.job_id,
            held_since=self._held_since(entry),
            price_usd_per_hour=place.price_usd_per_hour or 0.0,
            is_spot=place.is_spot,
        )
        if entry.is_cancelled:
            self._ending.end(placed)

    def _start_elsewhere(self, entry: Entry) -> None:
        """Ask anew for a job whose cluster did not answer: it may be gone."""
        again = self._ledger.change(entry, request_id=None, asked_at=self._now())
        has_placed = any(other.job_id is not None for other in self._ledger.beside(entry))
        if entry.cluster is not None and has_placed:
            self._queues.suspect(entry.cluster)  # they are lost with it, or it is there
            self._waiting.append(entry.name)
        else:
            call = self._call(self._jobs[entry.name], entry.cluster, is_cold=True)
            self._start(again, call)

    def _refuse(self, entry: Entry, answer: Answer) -> None:
        self._ledger.change(entry, outcome=outcomes.unplaced(entry, answer, self._now()))
        if entry.cluster is not None and not self._ledger.beside(entry):
            self._ending.down(entry.cluster)  # half a cluster may be there

    def _held_since(self, entry: Entry) -> float:
        """Return since when machines are paid for a job: on a warm one, since the job before."""
        before = [
            e.outcome.ended_at
            for e in (self._ledger.of_cluster(entry.cluster) if entry.cluster else ())
            if e.asked_at < entry.asked_at and e.outcome is not None and e.outcome.ended_at
        ]
        return min(max(before), entry.asked_at) if before and entry.is_warm else entry.asked_at
