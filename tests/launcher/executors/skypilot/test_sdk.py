"""What SkyPilot itself says, in our terms."""

from pathlib import Path

import pytest

from launcher.executors.skypilot.readiness import installed_version
from launcher.executors.skypilot.wrapping import PREEMPTION_SECONDS
from tests.launcher.executors.skypilot.offline_sky import answer, python, write_home

_TWO_MACHINES = """
import json, sky
from types import SimpleNamespace
from sky.utils import resources_utils
from launcher.executors.skypilot.sdk import _managed_job
place = {"cloud": "AWS", "region": "us-east-1", "zone": "us-east-1a"}
machine = sky.Resources(infra="aws/us-east-1/us-east-1a", instance_type="g5.xlarge", use_spot=True)
handle = SimpleNamespace(launched_nodes=2, launched_resources=machine)
_, there = resources_utils.get_readable_resources_repr(handle)
gone = "2x[A10G:1][Spot]"
print(json.dumps([
    _managed_job({"job_id": 1, "cluster_resources_full": said, **place}).price_usd_per_hour
    for said in (there, gone)
]))
"""


@pytest.mark.infra
@pytest.mark.skipif(installed_version() is None, reason="needs SkyPilot")
def test_a_managed_job_tells_its_price_while_its_machines_are_there(tmp_path: Path) -> None:
    write_home(tmp_path)
    prices = answer(python(tmp_path, _TWO_MACHINES))
    assert prices == [pytest.approx(2 * 0.4024), None]


_A_TASK_WITH_OUR_HOOK = """
import json
import sky
from pathlib import Path
from launcher.clouds import task_of
from launcher.executors.skypilot.sdk import _task
from tests.launcher.builders import a_config
config = a_config(execution={"cloud": "kubernetes"}, task={"resources": {"any_of": [{"cpus": 2}]}})
made = _task(sky, task_of(Path.cwd(), config, {}), {})
print(json.dumps({"hooks": [hook for resources in made.resources for hook in resources.hooks]}))
"""


@pytest.mark.infra
@pytest.mark.skipif(installed_version() is None, reason="needs SkyPilot")
def test_skypilot_takes_our_hook(tmp_path: Path) -> None:
    write_home(tmp_path)
    (hook,) = answer(python(tmp_path, _A_TASK_WITH_OUR_HOOK))["hooks"]
    assert (hook["events"], hook["timeout"]) == (["preemption"], PREEMPTION_SECONDS)
