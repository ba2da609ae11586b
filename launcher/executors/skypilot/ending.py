"""Ending what runs: jobs wherever they stand, starts that came twice, clusters that are done."""

import time
from collections.abc import Callable, Sequence

from launcher.executors.skypilot.asking import answered, wait_for
from launcher.executors.skypilot.calls import (
    Call,
    CancelJobs,
    CancelManaged,
    CancelRequest,
    Down,
    ListClusters,
    ListManaged,
    Problem,
    Sky,
)
from launcher.executors.skypilot.ledger import Entry, Ledger
from launcher.executors.skypilot.placing import PREFIX, Settings
from launcher.executors.skypilot.pool import Pool
from launcher.executors.skypilot.queues import NEVER, Queues

ASK_AGAIN_SECONDS = 60.0
"""After which an end that was asked for, and did not come, is asked for again."""
RELEASE_SECONDS = 300.0


class Ending:
    """What was asked to end."""

    def __init__(
        self,
        sky: Sky,
        settings: Settings,
        ledger: Ledger,
        queues: Queues,
        now: Callable[[], float],
    ) -> None:
        self._sky = sky
        self._settings = settings
        self._ledger = ledger
        self._queues = queues
        self._now = now
        self._asked_at: dict[str, float] = {}
        self._downs: dict[str, str] = {}  # clusters on their way down, and the requests
        self._doubles: set[int] = set()  # managed jobs that should not be, and are on their way out

    def end(self, entry: Entry) -> None:
        """Ask for the end of a job that SkyPilot was asked for, wherever it stands."""
        self._asked_at[entry.name] = self._now()
        if entry.job_id is None:
            if entry.request_id is not None:
                self._sky.ask(CancelRequest(entry.request_id))
            if entry.cluster is not None and not self._ledger.beside(entry):
                self.down(entry.cluster)
        elif entry.cluster is None:
            self._sky.ask(CancelManaged((entry.job_id,)))
        elif self._settings.placing == "cluster_per_trial":
            self.down(entry.cluster)
            self._queues.suspect(entry.cluster)
        else:
            self._sky.ask(CancelJobs(entry.cluster, (entry.job_id,)))

    def end_again(self, entry: Entry) -> None:
        """Ask again for an end that does not come."""
        if self._now() - self._asked_at.get(entry.name, NEVER) > ASK_AGAIN_SECONDS:
            self.end(entry)

    def end_doubles(self, placed: Sequence[Entry]) -> None:
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

    def end_unknown(self, names: set[str]) -> None:
        """End what SkyPilot runs under our names and no entry knows."""
        settings, prefix = self._settings, self._settings.cloud_prefix
        pause = settings.pause_seconds
        if settings.placing == "managed_jobs":
            jobs = wait_for(self._sky, ListManaged(prefix), pause_seconds=pause)
            ids = tuple(j.job_id for j in jobs if j.name in names and not j.status.is_over)
            if ids:
                self._sky.ask(CancelManaged(ids))
            return
        clusters = wait_for(self._sky, ListClusters(prefix), pause_seconds=pause)
        for cluster in names.intersection(c.name for c in clusters):
            self.down(cluster)
        for where, job in self._queues.jobs():
            if where is not None and job.name in names and not job.status.is_over:
                self._sky.ask(CancelJobs(where, (job.job_id,)))

    def down(self, cluster: str) -> None:
        """Take a cluster down, unless it is on its way."""
        if cluster not in self._downs:
            self._downs[cluster] = self._sky.ask(Down(cluster))

    def is_going(self, cluster: str) -> bool:
        """Whether a cluster is on its way down."""
        return cluster in self._downs

    def take(self) -> None:
        """Learn which clusters are down; ask again for those that could not be taken down."""
        for cluster, answer in answered(self._sky, self._downs).items():
            del self._downs[cluster]
            if answer.problem not in (None, Problem.GONE):
                self.down(cluster)

    def release(self, pool: Pool) -> Sequence[str]:
        """Give back the machines that are kept for further jobs; return those still there."""
        ends = self._ends_of_kept(pool)
        asked: dict[str, str | None] = {name: self._sky.ask(call) for name, call in ends.items()}
        deadline = time.monotonic() + RELEASE_SECONDS
        while asked and time.monotonic() < deadline:
            for name, answer in answered(self._sky, asked).items():
                del asked[name]
                if answer.problem not in (None, Problem.GONE):
                    asked[name] = self._sky.ask(ends[name])
            time.sleep(self._settings.pause_seconds)
        return sorted(asked)

    def _ends_of_kept(self, pool: Pool) -> dict[str, Call]:
        """Return what ends the machines that are kept for further jobs, by their names."""
        settings = self._settings
        if settings.placing == "reused_clusters":
            busy = {entry.cluster for entry in self._ledger.open()}
            listed = ListClusters(settings.cloud_prefix)
            clusters = wait_for(self._sky, listed, pause_seconds=settings.pause_seconds)
            return {c.name: Down(c.name) for c in clusters if c.name not in busy}
        end = pool.end()
        return {end.name: end} if end else {}
