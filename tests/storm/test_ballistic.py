"""Two hundred random kills of whatever there is to kill, over a thousand trials."""

import random
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import pytest

from launcher.budget import Offer
from launcher.errors import ExecutorError
from launcher.executors.simulated import SimulatedRun
from launcher.metrics import RunFolderMetrics
from launcher.ports import Cause, Job, Result, Run
from tests.launcher.builders import a_config
from tests.storm.lab import (
    START,
    Lab,
    Points,
    check_nothing_lost,
    fast_folder,
    in_a_fork,
    random_ask,
    score_by_params,
)

pytestmark = pytest.mark.storm
TRIALS = 1000
COORDINATORS, JOBS, OUTAGES = 80, 80, 40
SECONDS = 7000.0  # of virtual time, about: eight at a time, a minute each


class Dying(RunFolderMetrics):
    """A metric source that is gone for some time, again and again."""

    def __init__(self, clock: Path, outages: Sequence[float]) -> None:
        super().__init__()
        self._clock, self._outages = clock, outages

    def read(self, runs: Sequence[Run]) -> Mapping[str, Result]:
        (now,) = struct.unpack("d", self._clock.read_bytes())
        if any(start <= now < start + 60.0 for start in self._outages):
            raise ExecutorError("the metric source was killed")
        return super().read(runs)


@pytest.mark.timeout(900)
def test_two_hundred_random_kills_lose_nothing_of_a_thousand_trials() -> None:
    numbers = random.Random(20)
    doomed = set(numbers.sample(range(1, TRIALS + 1), JOBS))
    outages = [START + numbers.uniform(0, SECONDS) for _ in range(OUTAGES)]
    causes = [Cause.PREEMPTED, Cause.NODE_LOST, Cause.UNKNOWN]

    def script(job: Job) -> SimulatedRun:
        run = score_by_params(job)
        number = int(job.name.split("-")[2])
        if number not in doomed or job.attempt > 1:
            return run
        return msgspec.structs.replace(run, lost_after=float(number % 59), cause=causes[number % 3])

    with fast_folder() as folder:
        config = a_config(trials=TRIALS, parallel=8)
        lab = Lab(folder, config, script, random_ask, offer=Offer(parallel=8))

        def coordinate(points: Points) -> None:
            lab.coordinate(points, metrics=Dying(lab.outside / "clock", outages))

        log = folder / "traceback"
        for _ in range(COORDINATORS):
            step = numbers.randrange(1, 600)
            assert in_a_fork(lambda at=step: coordinate(Points(at)), log) == 9, "it ended too soon"
        assert in_a_fork(lambda: coordinate(Points()), log) == 0, log.read_text()
        state = check_nothing_lost(lab, trials=TRIALS)
        assert lab.clock().now() > max(outages)
        assert sum(len(t.attempts) - 1 for t in state.ordered) == JOBS
        assert state.epoch > COORDINATORS
