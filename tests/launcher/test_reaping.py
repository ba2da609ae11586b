"""What runs under a sweep's name and is not its own is found, explained and ended."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from launcher import health, sweep
from launcher.executors.local import LocalExecutor
from launcher.folder import SweepFolder
from launcher.policy import job_prefix
from launcher.ports import Job
from tests.launcher.builders import a_config
from tests.launcher.waiting import eventually


@pytest.fixture
def orphan(tmp_path: Path) -> Iterator[tuple[SweepFolder, str]]:
    """A sweep without trials, under whose name a job runs all the same."""
    folder = SweepFolder(tmp_path / "demo")
    sweep.create(folder, a_config())
    name = job_prefix(a_config(), sweep.read(folder)) + "7-1"
    run = folder.run("lost")
    executor = LocalExecutor(folder.path, grace_seconds=0.1)
    executor.submit(Job(name, "lost", 1, run, tmp_path, "sleep 1000"))
    yield folder, name
    executor.cancel([name])
    eventually(lambda: not executor.names(""))


def test_doctor_explains_an_orphan_and_reap_ends_it(orphan: tuple[SweepFolder, str]) -> None:
    folder, name = orphan
    found = {finding.subject: finding for finding in health.of_sweep(folder)}
    assert found[name].level == "error"
    assert found[name].text == "runs, and the ledger does not know why"
    assert found[name].hint == "protein-sky reap demo"
    assert health.orphans(folder) == [name]
    health.reap(folder, [name])
    assert health.orphans(folder) == []
    assert [finding.level for finding in health.of_sweep(folder)] == ["ok"]
