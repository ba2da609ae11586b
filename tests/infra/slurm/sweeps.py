"""Sweeps that are launched on the site as a user would, and what can be seen of them."""

import json
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import yaml

from launcher.sweepfile.catalogue import shipped_tasks
from tests.infra.slurm.site import Slurm
from tests.launcher.waiting import eventually

PROGRAMS = Path(__file__).parent / "programs"
SOON, LONG = 1500.0, 2400.0  # seconds for a step, for a sweep; an idle machine needs a tenth


@dataclass(frozen=True)
class Start:
    """One start of `programs/trial.py`, as it was seen by the program itself."""

    trial: int
    attempt: int
    from_step: int
    node: str
    allocation: int


JOBS = """
import sky.jobs
fields = ["job_id", "job_name", "status", "root_job_id"]
records = sky.get(sky.jobs.queue_v2(refresh=False, all_users=True, fields=fields))[0]
live = [record for record in records if not record.status.is_terminal()]
print(json.dumps([[r.job_name, r.job_id, r.root_job_id] for r in live]))
"""


def managed_jobs(slurm: Slurm) -> dict[str, tuple[int, int | None]]:
    """The managed jobs that are not over: each one's number, and its group's."""
    said = slurm.sdk(JOBS).splitlines()[-1]
    return {name: (number, root) for name, number, root in json.loads(said)}


def sweep_job() -> dict[str, Any]:
    """`sky/sweep_job.yaml` but for its setup: its environment is the tests', from no registry."""
    job: dict[str, Any] = yaml.safe_load((shipped_tasks() / "sweep_job.yaml").read_text())
    return {**job, "setup": f"ln -sfn {sys.prefix} ~/protein-venv"}


@dataclass
class SlurmSweep:
    """One sweep: its file, its coordinator's process, and the evidence that its trials leave."""

    slurm: Slurm
    name: str
    coordinator: "subprocess.Popen[bytes] | None" = None

    @property
    def folder(self) -> Path:
        return self.slurm.home / self.name

    @property
    def evidence(self) -> Path:
        return self.slurm.shared / self.name

    def write(self, **changes: Any) -> None:
        """Write the sweep file: `programs/trial.py`, one trial per case, and the changes."""
        shutil.copytree(PROGRAMS, self.folder / "programs")
        for folder in (self.evidence, self.evidence / "storage"):
            folder.mkdir()
            folder.chmod(0o777)
        cases = changes.pop("cases", ["plain"])
        execution = {
            "infra": "slurm/loopback",
            "storage": str(self.evidence / "storage"),
            "retry_delay_seconds": 1,
            "max_consecutive_failures": None,
            **changes.pop("execution", {}),
        }
        task = {
            "run": "python3 trial.py",
            "workdir": str(self.folder / "programs"),
            "resources": {"cpus": 2},
            "envs": {"EVIDENCE": str(self.evidence)},
            **changes.pop("task", {}),
        }
        sweep = {
            "metric": "score",
            "goal": "maximize",
            "method": "grid",
            "parameters": {"case": {"values": cases}},
        }
        document = {"trials": len(cases), "sweep": sweep, "task": task, "execution": execution}
        (self.folder / f"{self.name}.yaml").write_text(yaml.safe_dump({**document, **changes}))

    def launch(self) -> None:
        self.coordinate("launch", f"{self.name}.yaml", "--cloud", "slurm", "--yes")

    def resume(self) -> None:
        self.coordinate("resume", self.name, "--yes")

    def kill(self) -> None:
        """SIGKILL to the coordinator, and to nothing else."""
        assert self.coordinator is not None
        assert self.coordinator.poll() is None, f"it has ended before:\n{self.said()}"
        self.coordinator.send_signal(signal.SIGKILL)
        self.coordinator.wait()

    def wait(self, seconds: float = LONG) -> int:
        """The coordinator's exit code."""
        assert self.coordinator is not None
        return self.coordinator.wait(timeout=seconds)

    def command(self, *args: str) -> str:
        """What a command of protein-sky prints."""
        done = subprocess.run(
            ["protein-sky", *args],
            cwd=self.folder,
            env=self.slurm.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LONG,
        )
        assert done.returncode == 0, f"{args} exits {done.returncode}: {done.stdout}{done.stderr}"
        return done.stdout

    def status(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.command("status", self.name, "--json"))
        return document

    def trials(self) -> dict[str, dict[str, Any]]:
        """Trials by their case."""
        return {trial["params"]["case"]: trial for trial in self.status()["trials"]}

    def starts(self) -> list[Start]:
        try:
            lines = (self.evidence / "starts").read_text().splitlines()
        except FileNotFoundError:
            return []
        fields = (line.split() for line in lines)
        return [Start(int(t), int(a), int(s), node, int(job)) for t, a, s, node, job in fields]

    def started_twice(self) -> list[tuple[int, int]]:
        counts = Counter((start.trial, start.attempt) for start in self.starts())
        return [attempt for attempt, count in counts.items() if count > 1]

    @contextmanager
    def following(self, trial: int) -> Iterator["subprocess.Popen[bytes]"]:
        """`protein-sky logs -f`, for as long as it is looked at."""
        with (self.folder / "followed.log").open("wb") as log:
            follower = self._start(log, "logs", "-f", self.name, str(trial))
        try:
            yield follower
        finally:
            follower.kill()
            follower.wait()

    def followed(self) -> str:
        """What that has printed."""
        return (self.folder / "followed.log").read_text(errors="replace")

    def release(self) -> None:
        """Let the trials of case `waits` end."""
        (self.evidence / "release").touch()

    def until_checkpoint(self) -> None:
        """A trial has written one."""
        runs = self.evidence / "storage"
        eventually(lambda: list(runs.glob("*/checkpoints/step")), seconds=SOON)

    def allocations(self, *states: str) -> list[int]:
        """The sweep's jobs in Slurm, of all states or of some."""
        jobs = [job for job in self.slurm.squeue() if self.name in job.name]
        return [job.number for job in jobs if not states or job.state in states]

    def until_started(self, *, trial: int = 1, attempt: int = 1, times: int = 1) -> Start:
        """The last start of an attempt, when it has happened so often."""

        def seen() -> list[Start]:
            assert self.coordinator is not None
            assert self.coordinator.poll() is None, f"it has ended:\n{self.said()}"
            starts = [s for s in self.starts() if (s.trial, s.attempt) == (trial, attempt)]
            return starts if len(starts) >= times else []

        return eventually(seen, seconds=SOON)[-1]

    def said(self) -> str:
        """What the coordinators have printed."""
        return (self.folder / "coordinator.log").read_text(errors="replace")[-6000:]

    def end(self) -> None:
        """Leave nothing: for the end of a test, however it went."""
        if self.coordinator is not None and self.coordinator.poll() is None:
            self.coordinator.kill()
            self.coordinator.wait()
        for number in self.allocations():
            self.slurm.scancel(number)

    def coordinate(self, *args: str) -> None:
        """Start a coordinator with a command of protein-sky; its output stands in `said`."""
        with (self.folder / "coordinator.log").open("ab") as log:
            log.write(f"--- {' '.join(args)}\n".encode())
            log.flush()
            self.coordinator = self._start(log, *args)

    def _start(self, log: BinaryIO, *args: str) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "protein-sky", *args],
            cwd=self.folder,
            env=self.slurm.env,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
