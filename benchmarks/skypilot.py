"""What the coordinator itself costs for each trial on SkyPilot: CPU time, against its limit.

    python -m benchmarks.skypilot [--trials 100] [--parallel 8]

A whole sweep in virtual time on a SkyPilot that answers at once: real coordinator, journal and
executor, in each way to place trials. What SkyPilot costs, and what the optimizer does, is left
out: `benchmarks.skypilot_modes` and `benchmarks.scale` measure those. Limit: 1 s for each trial.
"""

import argparse
import base64
import gzip
import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from launcher.budget import Offer
from launcher.config import SweepConfig, from_mapping
from launcher.coordinator import Coordinator, World
from launcher.events import SweepCreated
from launcher.executors.simulated import VirtualClock
from launcher.executors.skypilot.calls import (
    Answer,
    Call,
    Exec,
    Launch,
    LaunchManaged,
    ListJobs,
    ListManaged,
    Placed,
    SkyJob,
    Status,
    Where,
)
from launcher.executors.skypilot.executor import SkyPilotExecutor
from launcher.executors.skypilot.placing import Placing, Settings
from launcher.folder import SweepFolder
from launcher.journal import JournalWriter
from launcher.metrics import RunFolderMetrics
from launcher.state import State, TrialState, apply
from protein import Suggestion

LIMIT_SECONDS = 1.0
TRIAL_SECONDS = 300.0
POLL_SECONDS = 3.0
PLACINGS: tuple[Placing, ...] = ("managed_jobs", "reused_clusters", "cluster_per_trial")


class QuickSky:
    """Answers at once; every job runs for TRIAL_SECONDS of the clock, and reports."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self._answers: dict[str, Answer] = {}
        self._jobs: dict[str | None, list[tuple[str, float]]] = {}  # names and starts, by cluster

    def ask(self, call: Call) -> str:
        """Do it."""
        request_id = str(len(self._answers))
        self._answers[request_id] = self._do(call)
        return request_id

    def _do(self, call: Call) -> Answer:
        match call:
            case Launch() | Exec():
                return self._start(call.cluster, str(call.task["name"]))
            case LaunchManaged():
                return self._start(None, call.name)
            case ListJobs():
                return Answer(self._list(call.cluster))
            case ListManaged():
                return Answer(self._list(None))
            case _:
                return Answer(())

    def _start(self, cluster: str | None, name: str) -> Answer:
        jobs = self._jobs.setdefault(cluster, [])
        jobs.append((name, self._clock.now()))
        return Answer(Placed(len(jobs)))

    def _list(self, cluster: str | None) -> tuple[SkyJob, ...]:
        return tuple(
            self._seen(job_id, name, began)
            for job_id, (name, began) in enumerate(self._jobs.get(cluster, []), start=1)
        )

    def _seen(self, job_id: int, name: str, began: float) -> SkyJob:
        ended = began + TRIAL_SECONDS
        if self._clock.now() < ended:
            return SkyJob(job_id, name, Status.RUNNING, began, began)
        return SkyJob(job_id, name, Status.SUCCEEDED, began, began, ended)

    def answers(self, request_ids: Sequence[str]) -> Mapping[str, Answer]:
        """Answer all."""
        return {request_id: self._answers[request_id] for request_id in request_ids}

    def find(self, name: str) -> str | None:  # noqa: ARG002  as the seam has it
        """Nothing is ever lost here."""
        return None

    def log(self, where: Where) -> str:
        """Print as a trial does that reports."""
        name, began = self._jobs[where.cluster][where.job_id - 1]
        files = base64.b64encode(gzip.compress(b"\0" * 1024)).decode()
        end = {"job": name.removeprefix("ps-"), "code": 0, "late": False}
        times = {"began": began, "ended": began + TRIAL_SECONDS}
        return "\n".join(
            [
                *(f"(trial, pid=7) step {step}" for step in range(1000)),
                'PROTEIN_RESULT {"score": 1.0}',
                f"PROTEIN_SKY_FILES {files}",
                f"PROTEIN_SKY_END {json.dumps({**end, **times}, separators=(',', ':'))}",
            ]
        )


def sweep(trials: int, parallel: int) -> SweepConfig:
    """Return a sweep of trials that tune one number."""
    parameters = {"x": {"distribution": "uniform", "min": 0.0, "max": 1.0}}
    return from_mapping(
        {
            "name": "overhead",
            "task": {"run": "true"},
            "sweep": {"metric": "score", "goal": "maximize", "parameters": parameters},
            "trials": trials,
            "parallel": parallel,
        }
    )


def run(folder: Path, config: SweepConfig, placing: Placing, parallel: int) -> State:
    """Run a whole sweep, and return how it ended."""
    clock = VirtualClock()
    settings = Settings(placing, f"{config.name}-abcd-", {}, workers=parallel, launches=parallel)
    executor = SkyPilotExecutor(folder, QuickSky(clock), settings, now=clock.now)
    world = World(
        executor,
        RunFolderMetrics(),
        clock,
        Offer(parallel=parallel),
        lambda _config, _state: Suggestion({"x": 0.5}),
        poll_seconds=POLL_SECONDS,
    )
    there = SweepFolder(folder / config.name)
    with JournalWriter(there.database, now=clock.now()) as journal:
        created = SweepCreated("abcd", config.to_mapping(), "0")
        state = apply(None, journal.append(created, clock.now()))
        return Coordinator(there, journal, state, world).run()


def main() -> None:
    """Print a row for each way to place trials."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--parallel", type=int, default=8)
    asked = parser.parse_args()
    print(f"{'placing':20} {'CPU s a trial':>13} {'limit s':>8} {'of limit':>9}")
    for placing in PLACINGS:
        with tempfile.TemporaryDirectory() as folder:
            config, began = sweep(asked.trials, asked.parallel), time.process_time()
            state = run(Path(folder), config, placing, asked.parallel)
            seconds = (time.process_time() - began) / asked.trials
        assert all(trial.state is TrialState.SUCCEEDED for trial in state.ordered)
        print(f"{placing:20} {seconds:13.3f} {LIMIT_SECONDS:8.1f} {seconds / LIMIT_SECONDS:9.2f}")


if __name__ == "__main__":
    main()
