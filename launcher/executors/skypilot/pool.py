"""Workers of a sweep's own, which its managed jobs share: made once, given back at its end."""

from collections.abc import Mapping

from launcher.executors.skypilot.calls import Answer, ApplyPool, DownPool, Sky
from launcher.executors.skypilot.ledger import Ledger
from launcher.executors.skypilot.placing import Settings


class Pool:
    """The pool of one sweep; always there for a sweep that has none of its own."""

    def __init__(self, sky: Sky, settings: Settings, ledger: Ledger) -> None:
        self._sky = sky
        self._settings = settings
        self._ledger = ledger
        self._request_id: str | None = None
        self.is_there = not settings.is_pool_ours

    def make(self, secrets: Mapping[str, str]) -> None:
        """Ask for the workers, unless a job has been on them already."""
        if self.is_there or self._request_id is not None:
            return
        if self._ledger.was_placed():
            self.is_there = True
        else:
            settings, name = self._settings, self._settings.pool
            assert name is not None
            call = ApplyPool(name, settings.task, secrets, settings.workers)
            self._request_id = self._sky.ask(call)

    def refusal(self) -> Answer | None:
        """Learn whether they are there; return why they cannot be, once."""
        if self._request_id is None:
            return None
        answer = self._sky.answers([self._request_id]).get(self._request_id)
        if answer is None:
            return None
        self._request_id = None
        self.is_there = answer.problem is None
        return None if self.is_there else answer

    def end(self) -> DownPool | None:
        """Return what gives the workers back; None: there are none of ours."""
        name = self._settings.pool
        if name is None or not self._settings.is_pool_ours or not self._ledger.was_placed():
            return None
        self.is_there = False
        return DownPool(name)
