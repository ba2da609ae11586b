"""Where a job goes, under which names, and what SkyPilot is asked for it."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from launcher.errors import ExecutorError
from launcher.executors.skypilot import wrapping
from launcher.executors.skypilot.calls import JOB_VARIABLE, Exec, Launch, LaunchManaged
from launcher.executors.skypilot.ledger import Ledger
from launcher.ports import Job, Phase

PREFIX = "ps-"
"""What all our names in SkyPilot begin with, so that people see whose they are."""

LOOK_SECONDS = 10.0
"""Between two listings of one queue: each costs seconds of CPU on a head node."""

POOLS = ("setup", "workdir", "file_mounts", "volumes")
"""What of a task is its pool's, where it runs in one."""

Placing = Literal["managed_jobs", "reused_clusters", "cluster_per_trial"]


@dataclass(frozen=True, slots=True)
class Settings:
    """How one sweep uses SkyPilot.

    `task`: the user's task as SkyPilot's mapping, all but its run section. `workers`: clusters
    that are used again. `storage`: a folder on the machines that outlives them. `prefix`: what the
    names of the sweep's jobs begin with. `launches`: how many launches may be under way at once.
    `pool`: workers that managed jobs share; `is_pool_ours`: made for this sweep, of `workers`.
    """

    placing: Placing
    prefix: str
    task: Mapping[str, Any]
    workers: int = 1
    idle_minutes: int = 10
    storage: str | None = None
    pool: str | None = None
    is_pool_ours: bool = False
    launches: int = 4
    look_seconds: float = LOOK_SECONDS

    @property
    def cloud_prefix(self) -> str:
        """What SkyPilot's names of all that is the sweep's begin with."""
        return PREFIX + self.prefix

    @property
    def pause_seconds(self) -> float:
        """How long to sleep between two looks at a short answer that is waited for."""
        return min(0.2, max(0.002, self.look_seconds))

    def worker(self, index: int) -> str:
        """Return the name of a cluster that is used again."""
        return f"{self.cloud_prefix}w{index}"

    def is_worker(self, cluster: str) -> bool:
        """Whether a cluster of the sweep is one of those."""
        return cluster.removeprefix(self.cloud_prefix).startswith("w")


def own_name(name: str) -> str:
    """Return our name of what SkyPilot calls by it."""
    return name.removeprefix(PREFIX)


def cluster_for(job: Job, settings: Settings, ledger: Ledger) -> str | None:
    """Return the cluster that a job is to run on; None: the jobs controller's choice.

    Of those used again the least busy one; of equals one that is up, then the first.
    """
    if settings.placing == "managed_jobs":
        return None
    if settings.placing == "cluster_per_trial":
        return PREFIX + job.name
    waiting = Counter(entry.cluster for entry in ledger.open())
    workers = [settings.worker(index) for index in range(settings.workers)]
    return min(workers, key=lambda worker: (waiting[worker], not is_warm(worker, ledger)))


def is_warm(cluster: str, ledger: Ledger) -> bool:
    """Whether a cluster was up when we last heard of it."""
    placed = [entry for entry in ledger.of_cluster(cluster) if entry.job_id is not None]
    outcome = placed[-1].outcome if placed else None
    return bool(placed) and (outcome is None or outcome.phase is not Phase.LOST)


def call_for(
    job: Job, cluster: str | None, settings: Settings, *, is_warm: bool
) -> Launch | Exec | LaunchManaged:
    """Return what SkyPilot is asked for. Raises ExecutorError for inputs that cannot go."""
    try:
        run = wrapping.run_section(job, storage=settings.storage, is_guarded=cluster is not None)
    except (OSError, ValueError) as error:
        raise ExecutorError(f"job {job.name} was not started: {error}") from error
    left_out = POOLS if settings.pool else ()
    task = {
        **{key: value for key, value in settings.task.items() if key not in left_out},
        "name": PREFIX + job.name,
        "num_nodes": job.nodes,
        "envs": {**settings.task.get("envs", {}), JOB_VARIABLE: job.name},
        "run": run,
    }
    if cluster is None:
        # A server with service accounts would hand each job a token for all that is the user's.
        task["api_server_access"] = False
        return LaunchManaged(PREFIX + job.name, task, job.secrets, settings.pool)
    if is_warm and settings.placing == "reused_clusters":
        return Exec(cluster, task, job.secrets)
    return Launch(cluster, task, job.secrets, settings.idle_minutes)
