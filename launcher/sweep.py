"""A sweep from outside: create it, read it, ask something of it, run it here.

Every function takes the sweep's folder; the one that writes takes the sweep's lock first.
"""

import os
import secrets
import shutil
import socket
import string
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from launcher import __version__, inbox, policy, trainlog
from launcher.budget import Offer
from launcher.config import SweepConfig, from_mapping
from launcher.coordinator import Coordinator, Watch, World
from launcher.errors import ConfigError, ExecutorError, Problem, ProteinSkyError, UsageError
from launcher.events import Command, SweepCreated
from launcher.executors import environment
from launcher.executors.local import LocalExecutor
from launcher.executors.simulated import SimulatedExecutor, VirtualClock
from launcher.files import write_atomic
from launcher.folder import SweepFolder
from launcher.journal import Journal, JournalWriter, Lock
from launcher.metrics import RunFolderMetrics
from launcher.optimizer import ask
from launcher.state import State, apply, fold

LOCAL_POLL_SECONDS = 0.25
"""Looking at a local process costs a few system calls."""


class SystemClock:
    """The machine's own time."""

    def now(self) -> float:
        """Return Unix seconds."""
        return time.time()

    def sleep(self, seconds: float) -> None:
        """Sleep."""
        time.sleep(seconds)


def read(folder: SweepFolder) -> State:
    """Return a sweep's state, whoever works on it.

    Raises NotFoundError, JournalError.
    """
    with Journal(folder.database) as journal:
        state = fold(journal.read())
    if state is None:
        raise ProteinSkyError(
            f"{folder.database} is empty: its creation was cut off",
            hint=f"launch the sweep again; it starts afresh in {folder.path}",
        )
    return state


def is_live(folder: SweepFolder) -> bool:
    """Whether a coordinator works on the sweep now."""
    return Lock(folder.lock).is_held()


@contextmanager
def owned(folder: SweepFolder) -> Iterator[tuple[JournalWriter, State | None]]:
    """Take the sweep over: its lock, its journal and its state (None: nothing recorded yet).

    Raises LockedError if another coordinator works on it.
    """
    lock = Lock(folder.lock)
    lock.acquire()
    try:
        with JournalWriter(folder.database, now=time.time()) as journal:
            yield journal, fold(journal.read())
    finally:
        lock.release()


def run(folder: SweepFolder, config: SweepConfig, watch: Watch) -> State:
    """Create the sweep if it is new, and run it here until it ends or is paused.

    An existing sweep goes on under its own recorded config. Raises LockedError, JournalError,
    UsageError if a trial could not start here, ConfigError if `config` has nothing to tune.
    """
    with owned(folder) as (journal, state):
        if state is None:
            check_can_start(config)
            created = SweepCreated(_new_sweep_id(), config.to_mapping(), __version__)
            state = apply(None, journal.append(created, time.time()))
        recorded = from_mapping(state.config)
        prepare(folder, recorded)
        return Coordinator(folder, journal, state, connect(folder, recorded, watch)).run()


def interrupt(folder: SweepFolder, watch: Watch) -> None:
    """End the running trials, as if their machine had been taken: they go on after `resume`."""
    with owned(folder) as (journal, state):
        if state is not None:
            world = connect(folder, from_mapping(state.config), watch)
            Coordinator(folder, journal, state, world).interrupt()


def connect(folder: SweepFolder, config: SweepConfig, watch: Watch) -> World:
    """Return the edges that a sweep runs against.

    Raises UsageError for a cloud that this version cannot reach.
    """
    cloud = config.execution.cloud
    metrics = RunFolderMetrics()
    if cloud == "local":
        offer = Offer(parallel=usable_cores())
        trials = policy.parallelism(config, offer)
        executor = LocalExecutor(
            folder.path,
            threads_per_trial=max(1, usable_cores() // (trials * config.task.num_nodes)),
        )
        return World(
            executor,
            metrics,
            SystemClock(),
            offer,
            ask,
            watch,
            poll_seconds=LOCAL_POLL_SECONDS,
            host=socket.gethostname(),
            pid=os.getpid(),
        )
    if cloud == "simulated":
        clock = VirtualClock(start=time.time())
        return World(
            SimulatedExecutor(clock),
            metrics,
            clock,
            Offer(parallel=8),
            ask,
            watch,
            host=socket.gethostname(),
            pid=os.getpid(),
        )
    raise UsageError(
        f"execution.cloud: this version runs trials on 'local' and 'simulated', not on {cloud!r}",
        hint="add --cloud local to run the sweep on this machine",
    )


def usable_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def check_can_start(config: SweepConfig) -> None:
    """Find out before anything starts what would break each trial.

    Raises ConfigError if nothing is to be tuned, UsageError if the trainer cannot run here.
    """
    if not config.sweep.tuned:
        problem = Problem(
            Path(config.source or config.name),
            0,
            0,
            "sweep.parameters",
            "no parameter is tuned",
            "give at least one parameter a range: trainer.learning_rate: {min: 1e-5, max: 1e-2}",
        )
        raise ConfigError([problem])
    runs_here = config.execution.cloud == "local"
    if runs_here and "-m trainer" in config.task.run and find_spec("torch") is None:
        raise UsageError(
            "the trials of this sweep run the trainer of protein-sky, which needs torch",
            hint="pip install 'protein-sky[trainer]'",
        )
    if runs_here and shutil.which("bash") is None:
        raise UsageError("trials are bash scripts, and there is no bash on this machine")


def prepare(folder: SweepFolder, config: SweepConfig) -> None:
    """Run `task.setup` on this machine, once for each text of it; its output is in setup.log.

    Raises ExecutorError if it fails.
    """
    setup = config.task.setup
    done = folder.path / "setup.done"
    if config.execution.cloud != "local" or not setup:
        return
    if done.is_file() and done.read_text(encoding="utf-8") == setup:
        return
    log = folder.path / "setup.log"
    workdir = Path(config.task.workdir or ".").resolve()
    with log.open("ab") as file:
        code = subprocess.run(
            ["bash", "-e", "-c", setup],
            cwd=workdir,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            check=False,
            env=environment.inherited(os.environ, threads=None),
        ).returncode
    if code != 0:
        last = "\n".join(trainlog.last_lines(log, 5))
        raise ExecutorError(f"task.setup ended with exit code {code}:\n{last}", hint=f"see {log}")
    write_atomic(done, setup)


def request(folder: SweepFolder, command: Command) -> bool:
    """Ask something of a sweep; return whether a live coordinator will carry it out.

    Without one it is recorded here and now. Raises UsageError if it makes no sense now.
    """
    reason = policy.why_not(read(folder), command)
    if reason:
        raise UsageError(f"sweep {folder.name!r}: {reason}")
    if is_live(folder):
        inbox.post(folder.inbox, command)
        return True
    with owned(folder) as (journal, _):
        journal.append(command, time.time())
    return False


def _new_sweep_id() -> str:
    """Return four characters that tell apart sweeps of one name."""
    return "".join(secrets.choice(string.ascii_lowercase + string.digits) for _ in range(4))
