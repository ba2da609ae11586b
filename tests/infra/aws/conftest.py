"""One local EC2 for all tests of a run."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.infra.aws import image
from tests.infra.aws.local_ec2 import LocalEc2

CACHE = "PROTEIN_SKY_INFRA_CACHE"  # a folder that outlives the run, for the machine image


@pytest.fixture(scope="session")
def ec2(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalEc2]:
    """The running site; a machine on which none can stand skips its tests."""
    if reason := why_not():
        pytest.skip(f"no local EC2 can stand here: {reason}")
    cache = Path(os.environ.get(CACHE, "~/.cache/protein-sky")).expanduser()
    with LocalEc2(tmp_path_factory.mktemp("ec2"), image.build(cache)) as site:
        yield site


def why_not() -> str | None:
    """What keeps a local EC2 from standing on this machine; None: nothing."""
    if os.geteuid() != 0:
        return "it needs root"
    if not shutil.which("apt-get"):
        return "its machine image is made of Debian packages"
    if subprocess.run(["unshare", "--net", "--mount", "--pid", "--fork", "true"]).returncode != 0:
        return "it needs namespaces"
    return None
