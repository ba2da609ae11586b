"""A SkyPilot of our own for tests: its requests are answered later, its tasks are real processes.

A cluster is a folder that is its HOME. What runs there is the very bash that SkyPilot would run.
"""

import contextlib
import os
import re
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import RLock
from typing import Any

import psutil

from launcher.errors import ExecutorError
from launcher.executors.skypilot.calls import (
    JOB_VARIABLE,
    Answer,
    ApplyPool,
    Call,
    CancelJobs,
    CancelManaged,
    CancelRequest,
    Cluster,
    Down,
    DownPool,
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
from launcher.executors.skypilot.wrapping import PREEMPTION_HOOK


@dataclass
class Task:
    """A job on a machine."""

    job_id: int
    name: str
    nodes: list[subprocess.Popen[bytes]]
    log: Path
    submitted_at: float
    is_cancelled: bool = False
    ended_at: float | None = None

    def seen(self, now: float) -> SkyJob:
        codes = [node.poll() for node in self.nodes]
        if None in codes:
            status = Status.RUNNING
        elif self.is_cancelled:
            status = Status.CANCELLED
        else:
            status = Status.FAILED if any(codes) else Status.SUCCEEDED
        if status.is_over and self.ended_at is None:
            self.ended_at = now
        return SkyJob(
            self.job_id, self.name, status, self.submitted_at, self.submitted_at, self.ended_at
        )

    def kill(self) -> None:
        for node in self.nodes:
            if node.poll() is None:
                first = psutil.Process(node.pid)
                for process in [first, *first.children(recursive=True)]:  # none outlives its child
                    end(process.pid)
            node.wait()


def end(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


@dataclass
class Machine:
    """A cluster that is up, or was."""

    home: Path
    tasks: dict[int, Task] = field(default_factory=dict)
    is_lost: bool = False


class Cloud:
    """What is really there, and what was asked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lock = RLock()
        self.clock = 1_000_000.0
        self.machines: dict[str, Machine] = {}
        self.managed: dict[int, str] = {}
        self.pools: set[str] = set()
        self.requests: dict[str, Call] = {}
        self.answered: dict[str, Answer] = {}
        self.calls: list[Call] = []
        self.refusals: list[Answer] = []  # for the next launches

    def now(self) -> float:
        with self.lock:
            self.clock += 0.01
            return self.clock

    def tasks(self) -> list[Task]:
        return [task for machine in self.machines.values() for task in machine.tasks.values()]

    def work_off(self) -> None:
        """Do what was asked and has not been done."""
        for request_id, call in list(self.requests.items()):
            if request_id not in self.answered:
                self.answered[request_id] = self.do(call)

    def do(self, call: Call) -> Answer:
        match call:
            case Launch() if self.refusals:
                return self.refusals.pop(0)
            case Launch(cluster=cluster):
                machine = self.machines.get(cluster)
                if machine is None or machine.is_lost:
                    home = self.folder / "machines" / f"{cluster}.{len(self.calls)}"
                    home.mkdir(parents=True)
                    self.machines[cluster] = machine = Machine(home)
                return self.start(machine, call.task, call.secrets, 1.0)
            case Exec(cluster=cluster):
                machine = self.machines.get(cluster)
                if machine is None or machine.is_lost:
                    return Answer(problem=Problem.GONE, detail=f"no cluster {cluster}")
                return self.start(machine, call.task, call.secrets, 1.0)
            case ApplyPool() if self.refusals:
                return self.refusals.pop(0)
            case ApplyPool(name=name):
                self.pools.add(name)
            case DownPool(name=name):
                self.pools.discard(name)
            case LaunchManaged(pool=str(pool)) if pool not in self.pools:
                return Answer(problem=Problem.REFUSED, detail=f"no pool {pool}")
            case LaunchManaged(name=name):
                self.do(Launch(name, call.task, call.secrets, 10))
                job_id = len(self.managed) + 1
                self.managed[job_id] = name
                return Answer(Placed(job_id))
            case ListJobs(cluster=cluster):
                machine = self.machines.get(cluster)
                if machine is None or machine.is_lost:
                    return Answer(problem=Problem.GONE, detail=f"no cluster {cluster}")
                return Answer(tuple(t.seen(self.now()) for t in machine.tasks.values()))
            case ListManaged(prefix=prefix):
                seen = []
                for job_id, name in self.managed.items():
                    if name.startswith(prefix):
                        seen.append(self.managed_job(job_id, name))
                return Answer(tuple(seen))
            case ListClusters(prefix=prefix, is_fresh=is_fresh):
                if is_fresh:
                    self.machines = {n: m for n, m in self.machines.items() if not m.is_lost}
                names = [n for n in self.machines if n.startswith(prefix)]
                return Answer(tuple(Cluster(name, is_up=True) for name in names))
            case CancelJobs(cluster=cluster, job_ids=job_ids):
                if cluster not in self.machines:
                    return Answer(problem=Problem.GONE, detail=f"no cluster {cluster}")
                for job_id in job_ids:
                    self.end(self.machines[cluster].tasks[job_id])
            case CancelManaged(job_ids=job_ids):
                for job_id in job_ids:
                    for task in self.machines[self.managed[job_id]].tasks.values():
                        self.end(task)
            case Down(cluster=cluster):
                machine = self.machines.pop(cluster, None)
                if machine is None:
                    return Answer(problem=Problem.GONE, detail=f"no cluster {cluster}")
                for task in machine.tasks.values():
                    task.kill()
            case CancelRequest(request_id=request_id):
                self.answered.setdefault(request_id, Answer(problem=Problem.CANCELLED))
        return Answer()

    def managed_job(self, job_id: int, name: str) -> SkyJob:
        machine = self.machines[name]
        task = next(iter(machine.tasks.values()))
        job = task.seen(self.now())
        status = Status.BROKEN if machine.is_lost else job.status
        price = None if status.is_over else 1.0  # as SkyPilot tells it: of machines that are there
        return SkyJob(
            job_id,
            name,
            status,
            job.submitted_at,
            job.started_at,
            job.ended_at or self.clock,
            price_usd_per_hour=price,
        )

    def end(self, task: Task) -> None:
        if not task.seen(self.now()).status.is_over:
            task.is_cancelled = True
            task.kill()

    def start(
        self, machine: Machine, task: Mapping[str, Any], secrets: Mapping[str, str], price: float
    ) -> Answer:
        job_id = len(machine.tasks) + 1
        log = machine.home / f"{job_id}.log"
        nodes = []
        with log.open("wb") as output:
            for rank in range(task["num_nodes"]):
                environment = {
                    "PATH": os.environ["PATH"],
                    "HOME": str(machine.home),
                    "SKYPILOT_NODE_RANK": str(rank),
                    "SKYPILOT_NUM_NODES": str(task["num_nodes"]),
                    "SKYPILOT_NODE_IPS": "\n".join(["127.0.0.1"] * task["num_nodes"]),
                    "SKYPILOT_NUM_GPUS_PER_NODE": "0",
                    **task["envs"],
                    **secrets,
                }
                nodes.append(
                    subprocess.Popen(
                        ["bash", "-c", task["run"]],
                        env=environment,
                        cwd=machine.home,
                        stdin=subprocess.DEVNULL,
                        stdout=output,
                        stderr=subprocess.STDOUT,
                        start_new_session=True,
                    )
                )
        machine.tasks[job_id] = Task(job_id, task["name"], nodes, log, self.now())
        return Answer(Placed(job_id, price * task["num_nodes"]))

    def lose(self, name: str) -> None:
        """Take the machine of a job away without a word."""
        for machine in self.machines.values():
            if any(task.name == name for task in machine.tasks.values()):
                machine.is_lost = True
                for task in machine.tasks.values():
                    task.kill()

    def tell_to_go(self, name: str) -> None:
        """Run our hook on the machine of a job, as SkyPilot does where machines are told."""
        for machine in self.machines.values():
            if any(task.name == name for task in machine.tasks.values()):
                environment = {"PATH": os.environ["PATH"], "HOME": str(machine.home)}
                subprocess.run(["bash", "-c", PREEMPTION_HOOK], env=environment, check=True)

    def clean(self) -> None:
        for task in self.tasks():
            task.kill()


class FakeSky:
    """One connection to the cloud. `faults` are raised instead of the next answers to `ask`."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self.faults: list[str] = []
        self.is_deaf = False

    def ask(self, call: Call) -> str:
        with self.cloud.lock:
            fault = self.faults.pop(0) if self.faults else ""
            if fault == "refused":
                raise ExecutorError("SkyPilot cannot be asked: refused")
            request_id = f"request-{len(self.cloud.calls) + 1}"
            self.cloud.requests[request_id] = call
            self.cloud.calls.append(call)
            if fault == "lost answer":
                raise ExecutorError("SkyPilot cannot be asked: timed out")
            return request_id

    def answers(self, request_ids: Sequence[str]) -> Mapping[str, Answer]:
        if self.is_deaf:
            raise ExecutorError("SkyPilot cannot be asked for answers: timed out")
        with self.cloud.lock:
            found = {i: self.cloud.answered[i] for i in request_ids if i in self.cloud.answered}
            self.cloud.work_off()
            unknown = [i for i in request_ids if i not in self.cloud.requests]
            return found | dict.fromkeys(unknown, Answer(problem=Problem.FORGOTTEN))

    def restart(self) -> None:
        """Forget all requests, done or not, as a server does that starts anew."""
        with self.cloud.lock:
            self.cloud.requests.clear()
            self.cloud.answered.clear()

    def find(self, name: str) -> str | None:
        with self.cloud.lock:
            for request_id, call in reversed(self.cloud.requests.items()):
                is_start = isinstance(call, Launch | Exec | LaunchManaged)
                if is_start and call.task["envs"][JOB_VARIABLE] == name:
                    return request_id
            return None

    def log(self, where: Where) -> str:
        with self.cloud.lock:
            name = where.cluster or self.cloud.managed[where.job_id]
            machine = self.cloud.machines[name]
            task = machine.tasks[where.job_id if where.cluster else 1]
        text = task.log.read_text(errors="replace")
        return "\n".join(f"(trial, pid=7) {line}" for line in re.split(r"\n", text))
