"""One Slurm cluster for all tests of a run."""

from collections.abc import Callable, Iterator

import pytest

from tests.infra.slurm.site import Slurm, slurm_site, why_not
from tests.infra.slurm.sweeps import SlurmSweep


@pytest.fixture(scope="session")
def slurm() -> Iterator[Slurm]:
    """The running site; a machine on which none can stand skips its tests."""
    if reason := why_not():
        pytest.skip(reason)
    with slurm_site() as site:
        yield site


@pytest.fixture
def new_sweep(slurm: Slurm) -> Iterator[Callable[[str], SlurmSweep]]:
    """Makes sweeps by their names; at the end nothing of them is left."""
    sweeps: list[SlurmSweep] = []

    def new(name: str) -> SlurmSweep:
        sweeps.append(SlurmSweep(slurm, name))
        return sweeps[-1]

    yield new
    for sweep in sweeps:
        sweep.end()
