"""What every Executor promises, kept by the one on SkyPilot on clusters of a real Slurm.

Tests share the clusters, as trials do; so the jobs of each test have a mark in their names.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest

from launcher.executors.skypilot import queues
from launcher.executors.skypilot.executor import SkyPilotExecutor
from launcher.executors.skypilot.ledger import Ledger
from launcher.executors.skypilot.placing import Settings
from launcher.executors.skypilot.sdk import RealSky
from launcher.executors.validity import is_name
from launcher.ports import Executor, Job, Outcome, Phase
from tests.infra.slurm.site import Slurm
from tests.infra.slurm.sweeps import SOON
from tests.launcher.executor_contract import Cluster, ExecutorContract
from tests.launcher.executors.test_local import PROGRAMS
from tests.launcher.waiting import eventually

pytestmark = [
    pytest.mark.infra,
    pytest.mark.timeout(3600),
    pytest.mark.filterwarnings("ignore"),  # of SkyPilot's own imports
]

COUNT = 'echo start >> "$PROTEIN_RUN_DIR/starts"\n'
TASK = {"resources": {"infra": "slurm/loopback", "cpus": 2}}


class Marked:
    """An executor whose jobs are called MARK-NAME outside."""

    def __init__(self, executor: Executor, mark: str) -> None:
        self.executor = executor
        self.mark = mark

    def submit(self, job: Job) -> None:
        self.executor.submit(replace(job, name=self.outside(job.name)))

    def poll(self, names: Sequence[str]) -> Mapping[str, Outcome]:
        outcomes = self.executor.poll([self.outside(name) for name in names])
        return {name: outcomes[self.outside(name)] for name in names}

    def cancel(self, names: Sequence[str]) -> None:
        self.executor.cancel([self.outside(name) for name in names])

    def names(self, prefix: str) -> Sequence[str]:
        found = self.executor.names(self.mark + prefix)
        return [name.removeprefix(self.mark) for name in found]

    def outside(self, name: str) -> str:
        return self.mark + name if is_name(name) else name  # what is refused stays so


class SlurmCluster(Cluster):
    """At most three clusters, each a Slurm allocation; run folders where all nodes see them."""

    def __init__(self, folder: Path, slurm: Slurm, mark: str) -> None:
        super().__init__(folder)
        self.slurm = slurm
        self.mark = mark
        self.runs = slurm.shared / mark
        self.runs.mkdir()
        self.runs.chmod(0o777)
        self.settings = Settings(
            "reused_clusters", "contract-", TASK, workers=3, storage=str(self.runs), look_seconds=3
        )

    def executor(self) -> Marked:
        return Marked(SkyPilotExecutor(self.folder, RealSky(), self.settings), self.mark)

    def script(self, program: str) -> str:
        return PROGRAMS.get(program, f"{COUNT} {program}")

    def pass_time(self) -> None:
        time.sleep(1)

    def until_over(self, name: str) -> Outcome:
        """By one coordinator: each new one looks at a queue first, for seconds of CPU."""
        return self.until(name, lambda outcome: outcome.is_over)

    def lose(self, name: str) -> None:
        self.until(name, lambda outcome: outcome.phase is Phase.RUNNING)
        entry = Ledger(self.folder / "sky").get(self.mark + name)
        assert entry is not None
        assert entry.cluster is not None
        (allocation,) = (job for job in self.slurm.squeue() if entry.cluster in job.name)
        self.slurm.scancel(allocation.number)

    def starts(self, job: Job) -> int:
        file = self.runs / job.run_id / "starts"
        executor = self.executor()

        def counted() -> int:
            self.pass_time()
            executor.poll([job.name])
            return len(file.read_text().splitlines()) if file.exists() else 0

        return eventually(counted, seconds=SOON)

    def received(self, job: Job) -> tuple[Sequence[str], Mapping[str, str]]:
        arguments = (job.run_dir / "arguments").read_bytes().split(b"\0")[:-1]
        variables = (job.run_dir / "env").read_bytes().split(b"\0")[:-1]
        pairs = [v.decode().partition("=") for v in variables]
        return [a.decode() for a in arguments], {name: value for name, _, value in pairs}

    def until(self, name: str, holds: Callable[[Outcome], bool]) -> Outcome:
        executor = self.executor()

        def seen() -> Outcome | None:
            self.pass_time()
            outcome = executor.poll([name])[name]
            return outcome if holds(outcome) else None

        found = eventually(seen, seconds=SOON)
        assert found is not None
        return found


@pytest.fixture(scope="module")
def client(slurm: Slurm) -> Iterator[Slurm]:
    """This process is a client of the site's SkyPilot; it may look as often as it can."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(queues, "LOOK_SHARE", 1.0)
        for name, value in slurm.env.items():
            patched.setenv(name, value)
        yield slurm
    for job in slurm.squeue():
        slurm.scancel(job.number)


@pytest.fixture
def cluster(client: Slurm, tmp_path: Path) -> Iterator[SlurmCluster]:
    made = SlurmCluster(tmp_path, client, f"contract-{uuid4().hex[:8]}-")
    yield made
    executor = made.executor()

    def is_empty() -> bool:
        names = executor.names("")
        executor.cancel(names)
        made.pass_time()
        executor.poll(names)
        return not names

    # A launch that is still taken back takes the next test's launch on that cluster with it.
    eventually(is_empty, seconds=SOON)


class TestContract(ExecutorContract):
    pass
