"""The executor on SkyPilot, in all three ways to place a job, over a SkyPilot of our own."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from launcher.errors import ExecutorError
from launcher.executors.skypilot.calls import (
    Answer,
    Down,
    Exec,
    Launch,
    ListClusters,
    ListJobs,
    Problem,
)
from launcher.executors.skypilot.executor import SkyPilotExecutor
from launcher.executors.skypilot.placing import Placing, Settings
from launcher.ports import Cause, Job, Phase
from tests.launcher.executor_contract import Cluster, ExecutorContract
from tests.launcher.executors.skypilot.fake_sky import Cloud, FakeSky
from tests.launcher.executors.test_local import PROGRAMS
from tests.launcher.waiting import eventually

COUNT = 'echo start >> "$PROTEIN_RUN_DIR/starts"\n'


class SkyCluster(Cluster):
    """Tasks on the fake cloud are real processes."""

    def __init__(self, folder: Path, placing: Placing) -> None:
        super().__init__(folder)
        self.cloud = Cloud(folder / "cloud")
        self.settings = Settings(placing, "", {}, workers=200, look_seconds=0.0)

    def executor(self) -> SkyPilotExecutor:
        return SkyPilotExecutor(self.folder, FakeSky(self.cloud), self.settings, now=self.cloud.now)

    def script(self, program: str) -> str:
        return PROGRAMS.get(program, f"{COUNT} {program}")

    def pass_time(self) -> None:
        pass

    def lose(self, name: str) -> None:
        eventually(lambda: self.executor().poll([name])[name].phase is Phase.RUNNING)
        self.cloud.lose(f"ps-{name}")

    def starts(self, job: Job) -> int:
        def counted() -> int:
            self.executor().poll([job.name])
            pattern = f"cloud/machines/*/.protein-sky/runs/{job.run_id}/starts"
            return sum(len(f.read_text().splitlines()) for f in self.folder.glob(pattern))

        return eventually(counted)

    def received(self, job: Job) -> tuple[Sequence[str], Mapping[str, str]]:
        arguments = (job.run_dir / "arguments").read_bytes().split(b"\0")[:-1]
        variables = (job.run_dir / "env").read_bytes().split(b"\0")[:-1]
        pairs = [v.decode().partition("=") for v in variables]
        return [a.decode() for a in arguments], {name: value for name, _, value in pairs}


@pytest.fixture(params=["managed_jobs", "reused_clusters", "cluster_per_trial"])
def cluster(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[SkyCluster]:
    made = SkyCluster(tmp_path, request.param)
    yield made
    made.cloud.clean()


class TestContract(ExecutorContract):
    pass
