"""Answers to requests: those that have come, or one that is waited for."""

import time
from collections.abc import Mapping
from typing import Any

from launcher.errors import ExecutorError
from launcher.executors.skypilot.calls import Answer, ListClusters, ListManaged, Sky

QUICK_SECONDS = 60.0
"""The longest that a list of names may take."""


def answered(sky: Sky, asked: Mapping[str, str | None]) -> dict[str, Answer]:
    """Return the answers that have come to these requests, by what they are about."""
    pending = {about: request_id for about, request_id in asked.items() if request_id}
    answers = sky.answers(list(pending.values())) if pending else {}
    return {about: answers[r] for about, r in pending.items() if r in answers}


def wait_for(
    sky: Sky, call: ListManaged | ListClusters, *, pause_seconds: float
) -> tuple[Any, ...]:
    """Return the answer to a quick question. Raises ExecutorError if there is none in time."""
    request_id = sky.ask(call)
    deadline = time.monotonic() + QUICK_SECONDS
    while time.monotonic() < deadline:
        answer = sky.answers([request_id]).get(request_id)
        if answer is not None and answer.problem is None:
            return tuple(answer.value)
        if answer is not None:
            raise ExecutorError(f"SkyPilot could not answer: {answer.detail}")
        time.sleep(pause_seconds)
    raise ExecutorError("SkyPilot did not answer in time")
