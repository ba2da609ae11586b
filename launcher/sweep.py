"""A sweep from outside: create it, read it, ask something of it, run it here.

Every function takes the sweep's folder; the one that writes takes the sweep's lock first.
"""

import contextlib
import os
import secrets
import shutil
import socket
import string
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from launcher import __version__, clouds, inbox, nodes, notify, policy, trainlog, workdir
from launcher.config import SweepConfig, from_mapping, trial_parameters
from launcher.coordinator import Coordinator, Notice, Watch, World
from launcher.errors import (
    ConfigError,
    ExecutorError,
    NotFoundError,
    Problem,
    UsageError,
)
from launcher.events import Command, Recorded, SweepCreated
from launcher.executors import environment, gpus
from launcher.executors.local import LocalExecutor
from launcher.executors.simulated import SimulatedExecutor, VirtualClock
from launcher.executors.skypilot.readiness import check_installed
from launcher.files import write_atomic
from launcher.folder import SweepFolder, find, train_dir
from launcher.journal import JournalWriter, Lock
from launcher.metrics import RunFolderMetrics
from launcher.notify import Messenger
from launcher.optimizer import Recall, asking, observations
from launcher.reading import is_live, offer_of, read, state_of, usable_cores
from launcher.restore import Restored
from launcher.restore import restore as rebuild
from launcher.state import State
from launcher.sweepfile.machines import OURSELVES
from launcher.wandb.access import check_access
from launcher.wandb.curves import FirstCurves, sources_elsewhere
from launcher.wandb.environment import resolve_mode
from launcher.wandb.metrics import metrics_of
from launcher.wandb.sweep_run import shown_in_wandb
from protein.observation import Observation
from protein.space import Space

CLOUD_POLL_SECONDS = 3.0
LATE_SUMMARY_SECONDS = 180.0
"""W&B may show what a run reported minutes after it ended."""

__all__ = [
    "SystemClock",
    "check_can_start",
    "connect",
    "create",
    "interrupt",
    "is_live",
    "offer_of",
    "owned",
    "prepare",
    "read",
    "remove",
    "request",
    "restore",
    "run",
    "usable_cores",
]

LOCAL_POLL_SECONDS = 0.25
"""Looking at a local process costs a few system calls."""


class SystemClock:
    """The machine's time when the clock was made, and from then on without any step.

    When a user or NTP sets the machine's time, no trial is overdue all at once.
    """

    def __init__(self) -> None:
        self._offset = time.time() - _steady_seconds()

    def now(self) -> float:
        """Return Unix seconds."""
        return self._offset + _steady_seconds()

    def sleep(self, seconds: float) -> None:
        """Sleep."""
        time.sleep(seconds)


def _steady_seconds() -> float:
    """Return seconds that only ever go forward; a suspended machine's count too, where known."""
    boot_time = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boot_time is None else time.clock_gettime(boot_time)


@contextmanager
def owned(
    folder: SweepFolder, config: SweepConfig | None = None
) -> Iterator[tuple[JournalWriter, State]]:
    """Take the sweep over: its lock, its journal and its state.

    `config` is that of a sweep that may be new: what would keep it from starting is found out
    before anything of it exists, and then it exists whole, with its first event. Raises
    LockedError if another coordinator works on it.
    """
    first = None
    if config is not None and not folder.exists():
        check_can_start(config)
        first = SweepCreated(_new_sweep_id(), config.to_mapping(), __version__)
    lock = Lock(folder.lock)
    lock.acquire()
    try:
        with JournalWriter(folder.database, now=time.time(), first=first) as journal:
            yield journal, state_of(folder, journal)
    finally:
        lock.release()


def create(folder: SweepFolder, config: SweepConfig) -> None:
    """Record a new sweep; nothing happens if there is one of this name.

    Raises UsageError if its trials could not start here, ConfigError if it has nothing to tune.
    """
    with owned(folder, config):
        pass


def run(folder: SweepFolder, config: SweepConfig, watch: Watch, notice: Notice) -> State:
    """Create the sweep if it is new, and run it here until it ends or is paused.

    An existing sweep goes on under its own recorded config. Raises LockedError, JournalError,
    UsageError if a trial could not start here, ConfigError if `config` has nothing to tune.
    """
    with owned(folder, config) as (journal, state):
        recorded = from_mapping(state.config)
        notify.check(recorded.notify)
        prepare(folder, recorded)
        messenger = Messenger(recorded, notify.sender(recorded.notify), notice, state)
        with shown_in_wandb(folder, recorded, state.sweep_id, notice) as page:
            everyone = _all_of(watch, messenger, page)
            world = replace(connect(folder, recorded), watch=everyone, notice=notice)
            with nodes.workers_waiting(folder):
                ended = Coordinator(folder, journal, state, world).run()
            _give_back(ended, world)
            return ended


def _give_back(state: State, world: World) -> None:
    """Give machines back that are kept for further trials, now that none will come."""
    if state.live:
        return
    try:
        left = world.release()
    except ExecutorError as error:
        world.notice(f"machines could not be given back: {error.message}")
        return
    for name in left:
        world.notice(f"{name} is still there; it goes by itself when it has been idle")


def _all_of(*watches: Watch) -> Watch:
    def watch(state: State, record: Recorded | None) -> None:
        for one in watches:
            one(state, record)

    return watch


def interrupt(folder: SweepFolder, watch: Watch) -> None:
    """End the running trials, as if their machine had been taken: they go on after `resume`."""
    with owned(folder) as (journal, state):
        world = replace(connect(folder, from_mapping(state.config)), watch=watch)
        Coordinator(folder, journal, state, world).interrupt()


def remove(folder: SweepFolder) -> None:
    """Delete a sweep and all its files.

    Raises LockedError if a coordinator works on it, UsageError if trials of it still run.
    """
    with owned(folder) as (_, state):
        config = from_mapping(state.config)
        running = connect(folder, config).executor.names(policy.job_prefix(config, state))
        if running:
            raise UsageError(
                f"{len(running)} trials of sweep {folder.name!r} still run",
                hint=f"end them first: protein-sky cancel {folder.name}",
            )
        grave = folder.path.with_name(f".{folder.name}.{_new_sweep_id()}.removed")
        folder.path.rename(grave)
    shutil.rmtree(grave)


def restore(folder: SweepFolder) -> Restored:
    """Rebuild a damaged journal from its backup and the run folders.

    Raises NotFoundError where there is nothing of one.
    """
    if not (folder.backup.is_file() or folder.database.is_file()):
        raise NotFoundError(f"no sweep at {folder.path}", hint="`protein-sky ls` lists sweeps")
    lock = Lock(folder.lock)
    lock.acquire()
    try:
        return rebuild(folder, lambda config: offer_of(folder, config))
    finally:
        lock.release()


def connect(folder: SweepFolder, config: SweepConfig) -> World:
    """Return the edges that a sweep runs against.

    Raises UsageError for a cloud that this version cannot reach.
    """
    cloud, offer = config.execution.cloud, offer_of(folder, config)
    earlier = [_taught_by(name, config) for name in config.sweep.warm_start]
    ask = asking(earlier, gpus=offer.gpus)
    metrics = RunFolderMetrics() if cloud == "simulated" else metrics_of(config, time.time)
    if cloud == "local":
        place = nodes.place_in(config)
        trials = policy.parallelism(config, offer)
        here = config.task.num_nodes if place is None else 1
        executor = LocalExecutor(
            folder.path,
            threads_per_trial=max(1, usable_cores() // (trials * here)),
            price_usd_per_hour=offer.price_usd_per_hour,
            visible_gpus=gpus.visible(os.environ),
            parallel=trials,
            place=place,
        )
        return World(
            executor,
            metrics,
            SystemClock(),
            offer,
            ask,
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
            offer,
            ask,
            host=socket.gethostname(),
            pid=os.getpid(),
        )
    prefix = policy.job_prefix(config, read(folder))
    on_sky = clouds.executor(folder.path, config, prefix)
    return World(
        on_sky,
        metrics,
        SystemClock(),
        offer,
        ask,
        release=on_sky.release,
        curves=FirstCurves(sources_elsewhere(config, time.time)),
        sees_files=False,
        poll_seconds=CLOUD_POLL_SECONDS,
        result_grace_seconds=LATE_SUMMARY_SECONDS if resolve_mode(config) == "online" else 0.0,
        host=socket.gethostname(),
        pid=os.getpid(),
    )


def _taught_by(name: str, config: SweepConfig) -> list[Observation]:
    """Return what an earlier sweep knows, scores turned where it had the other goal.

    Raises NotFoundError, JournalError.
    """
    state = read(find(name))
    earlier = from_mapping(state.config)
    known = observations(Space.from_dict(earlier.sweep.parameters), state, Recall())
    if earlier.sweep.goal == config.sweep.goal:
        return known
    return [replace(o, score=None if o.score is None else -o.score) for o in known]


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
    for name in config.sweep.warm_start:
        find(name)
    if resolve_mode(config) == "online" and config.execution.cloud != "simulated":
        check_access()
    notify.check(config.notify)
    if is_elsewhere(config):
        check_elsewhere(config)
        clouds.offer(SweepFolder.of(config.name).path, config)
    runs_here = config.execution.cloud == "local"
    if runs_here and "-m trainer" in config.task.run:
        _check_trainer(config)
    if runs_here and shutil.which("bash") is None:
        raise UsageError("trials are bash scripts, and there is no bash on this machine")


def _check_trainer(config: SweepConfig) -> None:
    values = trial_parameters(config, {})
    played = f"{values.get('env.name')}, {values.get('env.tasks')}"
    for within, package, extra in _TRAINER_NEEDS:
        if within in played and find_spec(package) is None:
            raise UsageError(
                f"the trials of this sweep run the trainer of protein-sky, which needs {package}",
                hint=f"pip install 'protein-sky[{extra}]'",
            )
    probe = _HAS_DEVICE.get(str(values.get("device")))
    if probe and subprocess.run([sys.executable, "-c", probe], check=False).returncode == _LACKING:
        raise UsageError(
            f"the trials ask for device: {values['device']}, and this machine has none",
            hint="add +hardware=macbook, mac_parallel or github, which set device: cpu",
        )


_LACKING = 3
_HAS_DEVICE = {
    "cuda": f"import sys, torch; sys.exit(0 if torch.cuda.is_available() else {_LACKING})",
    "mps": f"import sys, torch; sys.exit(0 if torch.mps.is_available() else {_LACKING})",
}
"""Programs that ask torch, which is too heavy to be imported here."""

_TRAINER_NEEDS = (
    ("", "torch", "trainer"),
    ("ALE/", "ale_py", "atari"),
    ("MiniGrid-", "minigrid", "grid"),
)
"""What is found in an environment's name, the package it needs and our extra with it."""


def is_elsewhere(config: SweepConfig) -> bool:
    """Whether the trials run on machines that SkyPilot gets for them."""
    return config.execution.cloud not in OURSELVES


def check_elsewhere(config: SweepConfig) -> int | None:
    """Return the bytes of the folder that each machine gets; None if they get none.

    Raises UsageError if that is too large, if SkyPilot is missing, or if trials are to be stopped
    early and nothing tells here how they do.
    """
    if config.sweep.early_stopping is not None and not sources_elsewhere(config, time.time):
        raise UsageError(
            "sweep.early_stopping: what trials report on other machines comes home at their end",
            hint="W&B tells it on the way (WANDB_API_KEY, or `wandb login`), or execution.storage,"
            " where it is a folder of this machine too",
        )
    check_installed()
    with contextlib.suppress(OSError):  # then it is sent, and counts
        workdir.keep_out(train_dir())
    return None if config.task.workdir is None else workdir.check_size(Path(config.task.workdir))


def prepare(folder: SweepFolder, config: SweepConfig) -> None:
    """Remember the code of the launch, and run `task.setup` on this machine if trials run here.

    It runs once for each text of it; its output is in setup.log.

    Raises ExecutorError if it fails.
    """
    if config.execution.cloud != "simulated" and not (folder.path / "workdir.yaml").exists():
        with contextlib.suppress(OSError):  # it is for people
            workdir.record(config, folder.path)
    setup = config.task.setup
    done = folder.path / "setup.done"
    if config.execution.cloud != "local" or not setup:
        return
    if done.is_file() and done.read_text(encoding="utf-8") == setup:
        return
    log = folder.path / "setup.log"
    with log.open("ab") as file:
        code = subprocess.run(
            ["bash", "-e", "-c", setup],
            cwd=Path(config.task.workdir or ".").resolve(),
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
        raise UsageError(
            f"sweep {folder.name!r}: {reason}",
            hint=f"see where it stands: protein-sky status {folder.name}",
        )
    if is_live(folder):
        inbox.post(folder.inbox, command)
        return True
    with owned(folder) as (journal, _):
        journal.append(command, time.time())
    return False


def _new_sweep_id() -> str:
    """Return four characters that tell apart sweeps of one name."""
    return "".join(secrets.choice(string.ascii_lowercase + string.digits) for _ in range(4))
