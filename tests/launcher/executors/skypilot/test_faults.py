"""The executor on SkyPilot, over a network and a server that fail: the contract holds all the same.

Of a half-provisioned cluster see `test_half_a_cluster_is_taken_down`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import pytest

from launcher.errors import ExecutorError
from launcher.executors.skypilot.calls import CancelManaged
from launcher.executors.skypilot.executor import SkyPilotExecutor
from launcher.executors.skypilot.placing import Placing
from launcher.ports import Executor, Job, Outcome
from tests.launcher.executor_contract import ExecutorContract
from tests.launcher.executors.skypilot.fake_sky import FakeSky
from tests.launcher.executors.skypilot.faulty_sky import FaultySky
from tests.launcher.executors.skypilot.test_executor import SkyCluster, started
from tests.launcher.waiting import eventually

T = TypeVar("T")


@dataclass(frozen=True)
class Persistent:
    """Asks an executor again when SkyPilot cannot be reached, as a coordinator does."""

    executor: Executor

    def submit(self, job: Job) -> None:
        self._again(lambda: self.executor.submit(job))

    def poll(self, names: Sequence[str]) -> Mapping[str, Outcome]:
        return self._again(lambda: self.executor.poll(names))

    def cancel(self, names: Sequence[str]) -> None:
        self._again(lambda: self.executor.cancel(names))

    def names(self, prefix: str) -> Sequence[str]:
        return self._again(lambda: self.executor.names(prefix))

    def _again(self, call: Callable[[], T]) -> T:
        for _ in range(20):
            try:
                return call()
            except ExecutorError as error:
                if "not started" in error.message:
                    raise
        raise AssertionError("SkyPilot was never reached")


class FaultyCluster(SkyCluster):
    """The fake cloud behind a bad network."""

    def __init__(self, folder: Path, placing: Placing, fault: str) -> None:
        super().__init__(folder, placing)
        self.settings = replace(self.settings, workers=4)
        self.fault = fault

    def executor(self) -> Executor:  # type: ignore[override]  # one that is asked again
        sky = FakeSky(self.cloud)
        faulty = FaultySky(sky, self.fault, restart=sky.restart)
        made = SkyPilotExecutor(self.folder, faulty, self.settings, now=self.cloud.now)
        return Persistent(made)

    def pass_time(self) -> None:
        super().pass_time()
        self.cloud.clock += 1.0


@pytest.fixture(
    params=[
        ("managed_jobs", "timeout"),
        ("reused_clusters", "timeout"),
        ("cluster_per_trial", "timeout"),
        ("reused_clusters", "duplicate"),
        ("cluster_per_trial", "duplicate"),
        ("managed_jobs", "restart"),
        ("reused_clusters", "restart"),
    ],
    ids="-".join,
)
def cluster(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[FaultyCluster]:
    made = FaultyCluster(tmp_path, *request.param)
    yield made
    made.cloud.clean()


@pytest.mark.slow
class TestContractUnderFaults(ExecutorContract):
    pass


def test_a_managed_job_that_was_started_twice_is_ended_once(tmp_path: Path) -> None:
    cluster = SkyCluster(tmp_path, "managed_jobs")
    executor = cluster.executor()
    executor.submit(cluster.job("hang"))
    (launch,) = cluster.cloud.requests.values()
    FakeSky(cluster.cloud).ask(launch)  # the same request, delivered twice
    eventually(lambda: executor.poll(["run-1"]) and started(cluster, CancelManaged))
    for _ in range(3):
        executor.poll(["run-1"])
    assert started(cluster, CancelManaged) == [CancelManaged((2,))]
    cluster.cloud.clean()
