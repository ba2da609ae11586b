"""A SkyPilot plugin (its own mechanism, ~/.sky/plugins.yaml) for a test without the internet.

The controller of managed jobs looks at no job unless https://8.8.8.8 or https://1.1.1.1 answers;
here the API server answers in their place. One controller process is enough for a test, and it
looks more often.
"""

from sky.backends import backend_utils
from sky.jobs import utils as jobs
from sky.server import plugins
from sky.utils import controller_utils


class Offline(plugins.BasePlugin):
    """Takes the address that stands for the internet."""

    def __init__(self, answers: str) -> None:
        self.answers = answers

    def install(self, extension_context: plugins.ExtensionContext) -> None:
        replace(backend_utils, "_TEST_IP_LIST", [self.answers])
        replace(controller_utils, "get_number_of_jobs_controllers", lambda: 1)
        replace(jobs, "JOB_STATUS_CHECK_GAP_SECONDS", 3)
        replace(jobs, "JOB_STARTED_STATUS_CHECK_GAP_SECONDS", 1)


def replace(module: object, name: str, value: object) -> None:
    """Only what is there: a SkyPilot that calls it otherwise is told, not silently unpatched."""
    assert hasattr(module, name), f"{module} has no {name}"
    setattr(module, name, value)
