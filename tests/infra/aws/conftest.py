"""One local EC2 for all tests of a run."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.infra.aws import image
from tests.infra.aws.local_ec2 import LocalEc2

CACHE = "PROTEIN_SKY_INFRA_CACHE"  # a folder that outlives the run, for the machine image


@pytest.fixture(scope="session")
def ec2(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalEc2]:
    """The running site; a machine on which none can stand skips its tests."""
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        pytest.skip(
            "a local EC2 needs root (namespaces, mounts) on Debian (its image is made of it)"
        )
    cache = Path(os.environ.get(CACHE, "~/.cache/protein-sky")).expanduser()
    with LocalEc2(tmp_path_factory.mktemp("ec2"), image.build(cache)) as site:
        yield site
