"""One sweep, many coordinators: one works."""

import os
import signal
from collections import Counter
from pathlib import Path

import pytest

from launcher.errors import LockedError
from launcher.events import CoordinatorStarted, Recorded
from launcher.journal import Journal
from launcher.state import State
from tests.launcher.builders import a_config
from tests.launcher.waiting import eventually
from tests.storm.lab import (
    Lab,
    Points,
    check_nothing_lost,
    fast_folder,
    finish,
    fork,
    kill_at,
    random_ask,
)

pytestmark = pytest.mark.storm


def starts(lab: Lab) -> int:
    with Journal(lab.folder.database) as journal:
        return sum(isinstance(r.event, CoordinatorStarted) for r in journal.read())


@pytest.mark.parametrize("is_new", [True, False])
def test_of_eight_coordinators_at_once_exactly_one_works(is_new: bool) -> None:
    for _ in range(10):
        with fast_folder() as folder:
            lab = Lab(folder / "lab", a_config(trials=4), ask=random_ask)
            lab.outside.mkdir()
            if not is_new:
                assert kill_at(lab, 40)
            before = starts(lab) if lab.folder.exists() else 0
            codes = race(lab, folder)
            assert Counter(codes) == {LockedError.exit_code: 7, 0: 1}
            assert starts(lab) == before + 1
            check_nothing_lost(lab, trials=4)


def first_to_end(pids: list[int]) -> int:
    """Wait for one of these processes, whatever else another test has left to end."""

    def look() -> tuple[int, int] | None:
        ends = (os.waitpid(pid, os.WNOHANG) for pid in pids)
        return next((end for end in ends if end[0]), None)

    pid, status = eventually(look)
    pids.remove(pid)
    return os.waitstatus_to_exitcode(status)


def race(lab: Lab, folder: Path) -> list[int]:
    """Let eight coordinators go at the same time; the winner waits for the losers to end."""
    ready, go = os.pipe(), os.pipe()
    won = os.pipe()

    def contend() -> None:
        os.write(ready[1], b".")
        os.read(go[0], 1)

        def wait_for_the_losers(_state: State, record: Recorded | None) -> None:
            if record is not None and isinstance(record.event, CoordinatorStarted):
                os.read(won[0], 1)

        lab.coordinate(Points(), watch=wait_for_the_losers)

    pids = [fork(contend, folder / f"{n}.log") for n in range(8)]
    for _ in pids:
        os.read(ready[0], 1)
    os.write(go[1], b"." * 8)
    codes: list[int] = []
    while pids:
        if len(pids) == 1:
            os.write(won[1], b".")
        codes.append(first_to_end(pids))
    for pipe in (*ready, *go, *won):
        os.close(pipe)
    return codes


@pytest.mark.timeout(900)
def test_a_stopped_coordinator_whose_lock_was_broken_does_no_harm_when_it_goes_on() -> None:
    with fast_folder() as folder:
        points = Points()
        Lab(folder, a_config(trials=5), ask=random_ask).coordinate(points)
    # Stopped inside a transaction it holds SQLite's own lock: nobody gets past it.
    steps = [n for n, s in enumerate(points.seen, 1) if not s.startswith(("INSERT", "COMMIT"))]
    last = max(n for n, what in enumerate(points.seen, 1) if what == "COMMIT")
    for step in [n for n in steps[3:] if n < last]:
        with fast_folder() as folder:
            lab = Lab(folder, a_config(trials=5), ask=random_ask)
            stop = Points(step, then=lambda: os.kill(os.getpid(), signal.SIGSTOP))
            pid = fork(lambda lab=lab, stop=stop: lab.coordinate(stop), folder / "old.log")
            assert os.WIFSTOPPED(os.waitpid(pid, os.WUNTRACED)[1])
            lab.folder.lock.unlink()
            finish(lab)
            before = lab.state()
            os.kill(pid, signal.SIGCONT)
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            assert code == LockedError.exit_code, (points.seen[step - 1], code)
            assert lab.state() == before
            check_nothing_lost(lab, trials=5)
