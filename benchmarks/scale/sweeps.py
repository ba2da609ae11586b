"""Sweeps whose trials cost nothing, so that what is left is bookkeeping."""

import random
import time
from pathlib import Path

from launcher.budget import Offer
from launcher.config import SweepConfig, from_mapping
from launcher.coordinator import Coordinator, World
from launcher.events import EndReason, SweepCreated
from launcher.executors.local import LocalExecutor
from launcher.executors.simulated import SimulatedExecutor, SimulatedRun, VirtualClock
from launcher.folder import SweepFolder
from launcher.journal import JournalWriter
from launcher.metrics import RunFolderMetrics
from launcher.ports import Job
from launcher.state import State, fold
from launcher.sweep import SystemClock
from protein import Suggestion, seed_for

NAMES = [f"trainer.parameter_{number}" for number in range(8)]


def a_config(name: str, trials: int, parallel: int, run: str = "true") -> SweepConfig:
    """Return a sweep over eight parameters."""
    parameters = {name: {"distribution": "uniform", "min": 0.0, "max": 1.0} for name in NAMES}
    sweep = {"metric": "reward", "goal": "maximize", "parameters": parameters}
    plain = {"name": name, "sweep": sweep, "trials": trials, "parallel": parallel}
    return from_mapping({**plain, "task": {"run": run}, "wandb": {"mode": "disabled"}})


def ask(config: SweepConfig, state: State) -> Suggestion:
    """Draw at random: what the optimizer costs is another benchmark's matter."""
    numbers = random.Random(seed_for(config.sweep.seed, len(state.trials) + 1))
    return Suggestion({name: numbers.random() for name in NAMES}, {"origin": "initial"})


def a_minute(job: Job) -> SimulatedRun:
    """Run for about a minute and report a score that has nothing to do with it."""
    numbers = random.Random(job.name)
    seconds = 45.0 + 30.0 * numbers.random()
    return SimulatedRun(duration_seconds=seconds, metrics={"reward": numbers.random()})


def swept(path: Path, trials: int, parallel: int = 100) -> State:
    """Run a whole sweep on the simulated cluster."""
    clock = VirtualClock()
    world = World(
        SimulatedExecutor(clock, a_minute),
        RunFolderMetrics(),
        clock,
        Offer(parallel=parallel),
        ask,
        poll_seconds=5.0,
    )
    state = run(path, a_config(path.name, trials, parallel), world)
    assert state.end is EndReason.COMPLETED
    return state


def in_flight(path: Path, trials: int) -> None:
    """Run that many trials, all at once."""
    swept(path, trials, parallel=trials)


def run(path: Path, config: SweepConfig, world: World) -> State:
    """Create a sweep, or go on with it, until it rests."""
    first = SweepCreated("abcd", config.to_mapping(), "benchmark")
    folder = SweepFolder(path)
    with JournalWriter(folder.database, now=world.clock.now(), first=first) as journal:
        state = fold(journal.read())
        assert state is not None
        return Coordinator(folder, journal, state, world).run()


def resumed(path: Path) -> None:
    """Open a sweep's journal as its next coordinator does, up to the first decision."""
    clock = VirtualClock()
    world = World(SimulatedExecutor(clock), RunFolderMetrics(), clock, Offer(), ask)
    run(path, a_config(path.name, 1, 1), world)


def no_op_trials(path: Path, trials: int) -> float:
    """Run real local trials that do nothing; return the coordinator's own CPU seconds."""
    script = "echo 'PROTEIN_RESULT {\"reward\": 1}'"
    config = a_config(path.name, trials, 1, script)
    world = World(
        LocalExecutor(path), RunFolderMetrics(), SystemClock(), Offer(), ask, poll_seconds=0.02
    )
    before = time.process_time()
    state = run(path, config, world)
    assert all(trial.score == 1 for trial in state.ordered), list(state.ordered)
    return time.process_time() - before
