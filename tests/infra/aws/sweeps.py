"""Sweeps that are launched on the local EC2 as a user would, and what can be seen of them."""

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.infra.aws.local_ec2 import LocalEc2
from tests.launcher.waiting import eventually

PROGRAMS = Path(__file__).parent / "programs"
SOON, LONG = 900.0, 1800.0  # seconds for a step, for a sweep: on an idle machine a tenth


@dataclass(frozen=True, slots=True)
class Start:
    """One start of `programs/trial.py`, as it was seen by the program itself."""

    trial: int
    attempt: int
    from_step: int
    host_name: str


@dataclass
class Ec2Sweep:
    """One sweep: its file, its coordinator's process, and the evidence that its trials leave."""

    ec2: LocalEc2
    name: str
    coordinator: "subprocess.Popen[bytes] | None" = None

    @property
    def folder(self) -> Path:
        return self.ec2.home / self.name

    @property
    def evidence(self) -> Path:
        """What the machines see as /shared/NAME."""
        return self.ec2.shared / self.name

    def write(
        self, *, cases: list[str], resources: dict[str, Any] | None = None, **execution: Any
    ) -> None:
        """Write the sweep file: a spot A10G for each trial, two at a time, one trial per case."""
        shutil.copytree(PROGRAMS, self.folder / "programs")
        for folder in (self.evidence, self.evidence / "storage"):
            folder.mkdir()
            folder.chmod(0o777)
        document = {
            "trials": len(cases),
            "parallel": 2,
            "sweep": {
                "metric": "score",
                "goal": "maximize",
                "method": "grid",
                "parameters": {"case": {"values": cases}},
            },
            "task": {
                "run": "python3 trial.py",
                "workdir": str(self.folder / "programs"),
                "resources": resources or {"accelerators": "A10G:1"},
                "envs": {"EVIDENCE": f"/shared/{self.name}"},
            },
            "execution": {
                "use_spot": True,
                "storage": f"/shared/{self.name}/storage",
                "retry_delay_seconds": 1,
                "timeout_seconds": LONG,  # or a budget in dollars could not be kept
                "idle_minutes": 60,  # what ends earlier has been ended, but where a test says so
                **execution,
            },
            "budget": {"usd": 20},
        }
        (self.folder / f"{self.name}.yaml").write_text(yaml.safe_dump(document))

    def launch(self) -> None:
        """As its user, in the background."""
        command = ["protein-sky", "launch", f"{self.name}.yaml", "--cloud", "aws", "--yes"]
        self.coordinator = self.ec2.start(*command, log=f"{self.name}.log", cwd=self.folder)

    def wait(self) -> int:
        """The coordinator's exit code."""
        assert self.coordinator is not None
        return self.coordinator.wait(timeout=LONG)

    def command(self, *arguments: str) -> str:
        """What a command of protein-sky prints."""
        return self.ec2.run("protein-sky", *arguments, cwd=self.folder).stdout

    def status(self) -> dict[str, Any]:
        """The status document."""
        document: dict[str, Any] = json.loads(self.command("status", self.name, "--json"))
        return document

    def launched_prices(self) -> list[float]:
        """What the machines of each job cost by the hour, in the order of job names."""
        entries = sorted((self.folder / f"train_dir/sweep/{self.name}/sky").glob("*.json"))
        return [json.loads(entry.read_text())["price_usd_per_hour"] for entry in entries]

    def starts(self, trial: int | None = None) -> list[Start]:
        """All starts until now, in order; or those of one trial."""
        path = self.evidence / "starts"
        lines = path.read_text().splitlines() if path.exists() else []
        fields = (line.split() for line in lines)
        all_starts = [Start(int(t), int(a), int(step), host) for t, a, step, host in fields]
        return [start for start in all_starts if trial in (None, start.trial)]

    def until_started(self, trial: int, *, times: int = 1) -> Start:
        """The latest start of a trial, once there are so many."""
        assert self.coordinator is not None
        ended = self.coordinator.poll
        eventually(lambda: len(self.starts(trial)) >= times or ended() is not None, seconds=SOON)
        assert len(self.starts(trial)) >= times, self.said()
        return self.starts(trial)[-1]

    def until_checkpoint(self) -> None:
        """Some trial has written one."""
        saved = (self.evidence / "storage").glob
        eventually(lambda: any(p.read_text() for p in saved("*/checkpoints/step")), seconds=SOON)

    def release(self) -> None:
        """Let the trials of case `waits` end."""
        (self.evidence / "release").touch()

    def end(self) -> None:
        """Leave nothing: for the end of a test, however it went."""
        if self.coordinator is not None and self.coordinator.poll() is None:
            self.coordinator.kill()
            self.coordinator.wait()
        for instance in self.ec2.running():
            self.ec2.terminate(instance.instance_id)

    def said(self) -> str:
        """What the coordinator has printed."""
        return (self.ec2.folder / f"{self.name}.log").read_text()[-6000:]
