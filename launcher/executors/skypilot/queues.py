"""What runs where: lists of jobs, asked of SkyPilot at most so often, read once they are there."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from launcher.executors.skypilot.calls import (
    ListClusters,
    ListJobs,
    ListManaged,
    Sky,
    SkyJob,
    Status,
)

NEVER = float("-inf")

LOOK_SHARE = 0.25
"""Of the time, at most, in which we look at one queue. A look is seconds of CPU on a head node that
trials may need; where it takes long, because machines are busy or far, we look less often."""

PATIENCE_SECONDS = 60.0
"""The longest between two looks at one queue; where its jobs tell their ends themselves, the usual:
only a machine that is lost, or a job's driver, says nothing."""

SOON_SECONDS = 2.0
"""From a job's own word to the first look at its queue, which may be behind it for seconds."""

Words = Mapping[tuple[str | None, int | None], float | None]
"""By cluster and number of a job that tells its end: since when it is over; None: it runs."""


@dataclass(slots=True)
class _Look:
    """One list: its request while it is under way, and what the last one said."""

    request_id: str | None = None
    asked_at: float = NEVER
    took_seconds: float = 0.0
    jobs: tuple[SkyJob, ...] = ()
    is_known: bool = False
    is_answered: bool = False  # known, or refused
    known_at: float = NEVER  # when the list that was seen last had been asked for


class Queues:
    """The jobs controller's list (None) and those of clusters, as far as they were asked for.

    One list answers for all its jobs. A cluster that does not answer is suspected; the cloud is
    asked which clusters there really are, and those that are not are gone.
    """

    def __init__(
        self, sky: Sky, prefix: str, look_seconds: float, now: Callable[[], float]
    ) -> None:
        self._sky = sky
        self._prefix = prefix
        self._look_seconds = look_seconds
        self._now = now
        self._looks: dict[str | None, _Look] = {}
        self._suspects: set[str] = set()
        self._census: str | None = None

    @property
    def is_settled(self) -> bool:
        """Whether every list that was asked for was answered once, and no census is under way."""
        return all(look.is_answered for look in self._looks.values()) and self._census is None

    def ask(self, clusters: set[str | None], words: Words) -> None:
        """Ask for the lists of these, where it is time."""
        for cluster in clusters:
            look = self._looks.setdefault(cluster, _Look())
            is_due = self._now() - look.asked_at >= self._pause(cluster, look, words)
            if look.request_id is None and is_due:
                call = ListManaged(self._prefix) if cluster is None else ListJobs(cluster)
                look.request_id, look.asked_at = self._sky.ask(call), self._now()
        for cluster in self._looks.keys() - clusters:
            del self._looks[cluster]
        if self._suspects and self._census is None:
            self._census = self._sky.ask(ListClusters(self._prefix, is_fresh=True))

    def _pause(self, cluster: str | None, look: _Look, words: Words) -> float:
        """Return the seconds from one look at a list to the next."""
        usual = max(self._look_seconds, look.took_seconds / LOOK_SHARE)
        usual = min(usual, PATIENCE_SECONDS)
        there = {(cluster, job.job_id): job for job in look.jobs if not job.status.is_over}
        behind = [since for place in there if (since := words.get(place)) is not None]
        if behind:
            return min(usual, max(SOON_SECONDS, look.asked_at - min(behind)))
        running = [
            place
            for place, job in there.items()
            if job.status is Status.RUNNING and self.turn(*place) != math.inf
        ]
        will_tell = bool(running) and all(place in words for place in running)
        return PATIENCE_SECONDS if will_tell else usual

    def take(self) -> set[str]:
        """Read the lists that have come; return the clusters that are gone."""
        pending = [look.request_id for look in self._looks.values()]
        asked = [request_id for request_id in (*pending, self._census) if request_id]
        answers = self._sky.answers(asked) if asked else {}
        for cluster, look in self._looks.items():
            if look.request_id is None or (answer := answers.get(look.request_id)) is None:
                continue
            look.request_id, look.took_seconds = None, self._now() - look.asked_at
            look.is_answered = True
            if answer.problem is None:
                look.jobs, look.is_known, look.known_at = answer.value, True, look.asked_at
                self._suspects.discard(cluster or "")
            elif cluster is not None:
                self._suspects.add(cluster)
        census = answers.get(self._census) if self._census else None
        if census is None:
            return set()
        self._census = None
        if census.problem is not None:
            return set()
        gone = self._suspects - {cluster.name for cluster in census.value}
        self._suspects.clear()
        return gone

    def suspect(self, cluster: str) -> None:
        """Say that a cluster may be gone: the cloud is asked next time."""
        self._suspects.add(cluster)

    def is_suspect(self, cluster: str | None) -> bool:
        """Whether nobody knows if a cluster is there."""
        return cluster in self._suspects

    def forget(self, cluster: str) -> None:
        """Drop the list of a cluster that is gone: another one may come under its name."""
        if look := self._looks.get(cluster):
            look.jobs, look.is_known = (), False

    def seen(self, cluster: str | None, job_id: int | None) -> SkyJob | None:
        """Return a job as its list last showed it."""
        look = self._looks.get(cluster)
        return next((job for job in look.jobs if job.job_id == job_id), None) if look else None

    def has_begun(self, cluster: str | None, job_id: int | None) -> bool:
        """Whether a list has shown a job as running, or over."""
        job = self.seen(cluster, job_id)
        return job is not None and job.status is not Status.PENDING

    def turn(self, cluster: str | None, job_id: int | None) -> float:
        """Return when a job's turn came: all before it on its cluster were over; inf: it waits.

        What a queue calls running may be waiting: see `wrapping`.
        """
        look = self._looks.get(cluster)
        if cluster is None or job_id is None or look is None:
            return NEVER
        return max(
            (
                (job.ended_at or NEVER) if job.status.is_over else math.inf
                for job in look.jobs
                if job.job_id < job_id and job.name.startswith(self._prefix)
            ),
            default=NEVER,
        )

    def named(self, cluster: str | None, name: str) -> SkyJob | None:
        """Return the first job of a name in a list."""
        look = self._looks.get(cluster)
        found = [job for job in look.jobs if job.name == name] if look else []
        return min(found, key=lambda job: job.job_id, default=None)

    def is_known(self, cluster: str | None, since: float) -> bool:
        """Whether a list that was asked for after `since` has been seen."""
        look = self._looks.get(cluster)
        return look is not None and look.is_known and look.known_at > since

    def jobs(self) -> Iterator[tuple[str | None, SkyJob]]:
        """Give every job that the lists show, and where."""
        for cluster, look in self._looks.items():
            for job in look.jobs:
                yield cluster, job
