"""A disk that refuses: nothing starts meanwhile, the user is told, and nothing is lost."""

import os
import resource
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from launcher.errors import DiskError
from launcher.events import Event, Recorded
from launcher.journal import Journal, JournalWriter
from launcher.state import State
from tests.launcher.builders import a_config
from tests.launcher.waiting import eventually
from tests.storm.lab import (
    Lab,
    Points,
    check_nothing_lost,
    fast_folder,
    fork,
    params_of,
    random_ask,
)

pytestmark = pytest.mark.storm
TRIALS = 8
RESTS = 17  # ticks of a second: three looks at the disk


class Trouble:
    """Begins at one step of a sweep, and is over after a while of waiting."""

    def __init__(self, begin: Callable[[], object], mend: Callable[[], object]) -> None:
        self.begin_it, self.mend_it = begin, mend
        self.is_on, self.ticks, self.started_meanwhile = False, 0, 0
        self.notices: list[str] = []

    def begin(self) -> None:
        self.is_on = True
        self.begin_it()

    def watch(self, _state: State, record: Recorded | None) -> None:
        if self.is_on and record is None:
            self.ticks += 1
            if self.ticks == RESTS:
                self.is_on = False
                self.mend_it()


def troubled(lab: Lab, trouble: Trouble, step: int) -> State:
    points = Points(step, then=trouble.begin)
    lab.coordinate(points, watch=trouble.watch, notice=trouble.notices.append)
    return check_nothing_lost(lab, trials=TRIALS)


def steps_of(path: Path) -> tuple[list[dict[str, object]], int]:
    points = Points()
    state = Lab(path, a_config(trials=TRIALS), ask=random_ask).coordinate(points)
    return params_of(state), len(points.seen)


@pytest.fixture(scope="module")
def small_disk() -> Iterator[Path]:
    with fast_folder() as folder:
        mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
        if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
            pytest.skip("mounting a small tmpfs is not allowed here")
        try:
            yield folder
        finally:
            unmount = ["umount", str(folder)]  # busy while a process that was killed still ends
            eventually(lambda: subprocess.run(unmount, check=False).returncode == 0)


def fill(path: Path) -> None:
    """Take what is left, to the last byte."""
    with suppress(OSError), path.open("wb", buffering=0) as file:
        for size in (65536, 4096, 512, 1):
            with suppress(OSError):
                while file.write(b"x" * size) == size:
                    pass


@pytest.mark.timeout(900)
def test_a_disk_that_is_full_at_any_step_delays_a_sweep_and_loses_nothing(
    small_disk: Path,
) -> None:
    with fast_folder() as folder:
        wanted, steps = steps_of(folder / "undisturbed")
        noticed, points = 0, range(1, steps, max(1, steps // 200))
        assert len(points) >= 200
        for step in points:
            ballast, path = small_disk / "ballast", small_disk / str(step)
            lab = Lab(path, a_config(trials=TRIALS), ask=random_ask, elsewhere=folder / str(step))
            trouble = Trouble(lambda to=ballast: fill(to), ballast.unlink)
            try:
                state = troubled(lab, trouble, step)
            except DiskError:  # at its very start: told, and started again
                assert step < 10
                ballast.unlink()
                state = troubled(lab, Trouble(ballast.unlink, ballast.unlink), 10**9)
            assert params_of(state) == wanted
            if trouble.notices:
                noticed += 1
                check_told(trouble.notices)
            subprocess.run(["rm", "-rf", path, ballast], check=True)
        assert noticed > 100


def check_told(notices: list[str]) -> None:
    """Said once that it waits, once that it is over; perhaps also that no backup was made."""
    spoken = [n for n in notices if not n.startswith("no backup was made")]
    assert [n.split(":")[0] for n in spoken] in ([], ["waiting for the disk", "the disk is back"])


@pytest.mark.timeout(900)
def test_a_file_that_may_not_grow_delays_a_sweep_and_loses_nothing() -> None:
    with fast_folder() as folder:
        wanted, _ = steps_of(folder)
    for limit in range(24_000, 324_000, 3_000):
        with fast_folder() as folder:
            lab, log = Lab(folder, a_config(trials=TRIALS), ask=random_ask), folder / "traceback"

            def work(lab: Lab = lab, limit: int = limit) -> None:
                most = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
                trouble = Trouble(
                    lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, most)),
                    lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most, most)),
                )
                troubled(lab, trouble, 20)
                check_told(trouble.notices)

            assert os.waitpid(fork(work, log), 0)[1] == 0, log.read_text()
            assert params_of(lab.state()) == wanted


@pytest.mark.timeout(900)
@pytest.mark.parametrize("part", ["", "runs", "inbox"])
def test_a_read_only_folder_delays_a_sweep_and_loses_nothing(part: str) -> None:
    with fast_folder() as folder:
        wanted, steps = steps_of(folder / "undisturbed")
        if os.geteuid() == 0:
            os.chown(folder, 65534, 65534)
        for step in range(20, steps, 9):
            lab = Lab(folder / str(step), a_config(trials=TRIALS), ask=random_ask)
            place, log = lab.folder.path / part, folder / f"{step}.log"

            def work(lab: Lab = lab, place: Path = place, step: int = step) -> None:
                if os.geteuid() == 0:
                    os.setresuid(65534, 65534, 65534)  # root may write anywhere
                lab.folder.inbox.mkdir(parents=True)
                trouble = Trouble(lambda: place.chmod(0o555), lambda: place.chmod(0o755))
                troubled(lab, trouble, step)
                check_told(trouble.notices)

            assert os.waitpid(fork(work, log), 0)[1] == 0, log.read_text()
            assert params_of(lab.state()) == wanted


@pytest.mark.timeout(900)
@pytest.mark.parametrize("is_written", [False, True])
def test_a_failing_commit_is_made_good_whether_or_not_it_reached_the_disk(
    monkeypatch: pytest.MonkeyPatch, is_written: bool
) -> None:
    """SQLite reports a failing fsync so: the event may be on the disk or not."""
    append, calls, fails_at = JournalWriter.append, 0, 0

    def failing(self: JournalWriter, event: Event, at: float) -> Recorded:
        nonlocal calls
        calls += 1
        if fails_at <= calls < fails_at + 3:
            if is_written and calls == fails_at:
                append(self, event, at)
            raise DiskError("fsync: Input/output error")
        return append(self, event, at)

    monkeypatch.setattr(JournalWriter, "append", failing)
    with fast_folder() as folder:
        wanted, _ = steps_of(folder)
    for fails_at in range(1, calls + 1):
        with fast_folder() as folder:
            calls = 0
            notices: list[str] = []
            lab = Lab(folder, a_config(trials=TRIALS), ask=random_ask)
            lab.coordinate(Points(), notice=notices.append)
            assert params_of(check_nothing_lost(lab, trials=TRIALS)) == wanted, fails_at
            assert notices[::2] == ["waiting for the disk: fsync: Input/output error"] * (
                len(notices) // 2
            )
            assert notices[1::2] == ["the disk is back"] * (len(notices) // 2)
            with Journal(lab.folder.database) as journal:
                seen = [r.event for r in journal.read() if type(r.event).__name__ != STARTED]
            assert len(seen) == len({repr(event) for event in seen})  # nothing is recorded twice


STARTED = "CoordinatorStarted"
