"""The executor on SkyPilot: find-or-start by name, one look for all, nothing left running.

Every step is written into the ledger before or after SkyPilot is asked, so that a coordinator
that dies anywhere leaves what the next one needs:

    entry without a request   we meant to ask: the request is looked for by the job's name
    entry with a request      SkyPilot provisions: its answer says where the job is, or why not
    entry with a job id       the job is in a queue, which is listed for all its jobs at once
    entry with an outcome     over; what it printed and left has been brought here

`starting` has a job until it has a place, this module until it is over, `ending` ends it before.

No call waits for SkyPilot but short ones of its API server: long answers are collected by a later
`poll`, but for the first poll of an object, which knew nothing before.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from threading import Lock

from launcher.executors.skypilot import outcomes
from launcher.executors.skypilot.asking import wait_for
from launcher.executors.skypilot.calls import ListClusters, ListManaged, Sky
from launcher.executors.skypilot.ending import Ending
from launcher.executors.skypilot.ledger import Entry, Ledger
from launcher.executors.skypilot.placing import PREFIX, Settings, own_name
from launcher.executors.skypilot.queues import NEVER, Queues
from launcher.executors.skypilot.returns import Returns
from launcher.executors.skypilot.starting import Starting
from launcher.executors.skypilot.words import OwnWords
from launcher.executors.validity import check, is_name
from launcher.ports import Job, Outcome, Phase

SETTLE_SECONDS = 60.0


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
        self._words = OwnWords(settings.storage, now)
        self._returns = Returns(sky)
        self._ending = Ending(sky, settings, self._ledger, self._queues, now)
        self._starting = Starting(sky, settings, self._ledger, self._queues, self._ending, now)
        self._is_new = True
        self._lock = Lock()

    # --- the port --------------------------------------------------------------------------------

    def submit(self, job: Job) -> None:
        """Find the job, or ask SkyPilot for it."""
        check(job)
        with self._lock:
            self._starting.submit(job)

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
                    cancelled = self._ledger.change(entry, is_cancelled=True)
                    if not self._starting.drop(cancelled):
                        self._ending.end(cancelled)
                elif self._settings.placing == "cluster_per_trial" and entry.cluster:
                    self._ending.down(entry.cluster)
            if unknown:
                self._ending.end_unknown(unknown)

    def names(self, prefix: str) -> Sequence[str]:
        """List what is under way by our ledger or by SkyPilot's own lists."""
        with self._lock:
            pause = self._settings.pause_seconds
            found = {entry.name for entry in self._ledger.open()}
            if self._settings.placing == "managed_jobs":
                jobs = wait_for(self._sky, ListManaged(PREFIX + prefix), pause_seconds=pause)
                found |= {own_name(job.name) for job in jobs if not job.status.is_over}
            else:
                clusters = wait_for(self._sky, ListClusters(PREFIX + prefix), pause_seconds=pause)
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
        """Give back the machines that are kept for further jobs; return those still there."""
        with self._lock:
            return self._ending.release(self._starting.pool)

    # --- looking ---------------------------------------------------------------------------------

    def _settle(self) -> None:
        """Wait, once, until what this object asked first is answered."""
        deadline = time.monotonic() + SETTLE_SECONDS
        while not (self._queues.is_settled and not self._returns):
            if time.monotonic() >= deadline:
                break
            time.sleep(self._settings.pause_seconds)
            self._advance()
        self._is_new = False

    def _advance(self) -> None:
        """Take what SkyPilot has answered, and ask for what is due."""
        self._ending.take()
        if not any(True for _ in self._ledger.open()):
            return
        self._starting.advance()
        for cluster in self._queues.take():
            self._lose(cluster)
        placed = [entry for entry in self._ledger.open() if entry.job_id is not None]
        clusters = {entry.cluster for entry in (*placed, *self._starting.unheard())}
        words = self._words.of(placed)
        self._queues.ask(clusters, words)
        self._ending.end_doubles(placed)
        for entry in placed:
            if entry.cluster is not None and words.get((entry.cluster, entry.job_id)) is not None:
                self._returns.begin(entry)
            self._follow(entry)

    def _lose(self, cluster: str) -> None:
        """End the jobs of a cluster that is gone; those that waited for their turn go on anew.

        One that no list has shown yet was there after the one before it, as far as anyone knows.
        """
        open_there = [e for e in self._ledger.of_cluster(cluster) if e.outcome is None]
        there = [(e.job_id, e) for e in open_there if e.job_id is not None]
        before = NEVER
        for job_id, entry in sorted(there, key=lambda place: place[0]):
            turn = max(before, self._queues.turn(cluster, job_id))
            if turn != math.inf or not self._starting.send_again(entry):
                seen, before = self._queues.seen(cluster, job_id), self._now()
                self._ledger.change(entry, outcome=outcomes.gone(entry, seen, before, turn))
        self._queues.forget(cluster)

    def _follow(self, entry: Entry) -> None:
        """Ask again for an end that does not come; bring here what an ended job left."""
        if entry.is_cancelled:
            self._ending.end_again(entry)
        job = self._queues.seen(entry.cluster, entry.job_id)
        if job is None:
            return
        now_priced = outcomes.repriced(entry, job, self._now())  # told while it has machines
        if now_priced != entry:
            entry = self._ledger.put(now_priced)
        if not job.status.is_over:
            return
        said = self._returns.bring(entry)
        if said is None:
            return
        first = self._queues.named(entry.cluster, PREFIX + entry.name)
        if said.is_again and first is not None and first.job_id != entry.job_id:
            self._ledger.change(entry, job_id=first.job_id)  # the start that counts
            return
        turn = self._queues.turn(entry.cluster, entry.job_id)
        self._ledger.change(entry, outcome=outcomes.ended(entry, job, said, self._now(), turn))
        if self._settings.placing == "cluster_per_trial" and entry.cluster:
            self._ending.down(entry.cluster)

    def _outcome(self, name: str) -> Outcome:
        entry = self._ledger.get(name) if is_name(name) else None
        if entry is None:
            return Outcome(Phase.ABSENT)
        if entry.outcome is not None:
            return entry.outcome
        seen = self._queues.seen(entry.cluster, entry.job_id)
        return outcomes.standing(entry, seen, self._queues.turn(entry.cluster, entry.job_id))
