"""What no executor takes: refused before anything is written or started."""

import re

from launcher.errors import ExecutorError
from launcher.ports import Job

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")


def is_name(name: str) -> bool:
    """Whether a job can be called so: a plain file name everywhere."""
    return _NAME.fullmatch(name) is not None


def check(job: Job) -> None:
    """Raise ExecutorError for a job that no process could be given."""
    problem = _problem(job)
    if problem:
        raise ExecutorError(f"job {job.name!r} was not started: {problem}")


def _problem(job: Job) -> str:
    variables = {**job.environment, **job.secrets}
    if not is_name(job.name):
        return "its name must be letters, digits, '.', '_' and '-', at most 200"
    if any("\0" in text for text in (job.script, *job.arguments, *variables.values(), *variables)):
        return "a NUL cannot be passed to a program"
    if any("=" in name or not name for name in variables):
        return "a variable's name is empty or has a '='"
    if job.nodes < 1:
        return f"it asks for {job.nodes} nodes"
    return ""
