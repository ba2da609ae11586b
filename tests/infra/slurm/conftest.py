"""One Slurm cluster for all tests of a run."""

from collections.abc import Iterator

import pytest

from tests.infra.slurm.site import Slurm, slurm_site, why_not


@pytest.fixture(scope="session")
def slurm() -> Iterator[Slurm]:
    """The running site; a machine on which none can stand skips its tests."""
    if reason := why_not():
        pytest.skip(reason)
    with slurm_site() as site:
        yield site
