"""Trials as processes of this machine.

Each attempt has a supervisor process that outlives the coordinator (`supervisor.py`, which also
says what lies in an attempt's folder). This module only starts supervisors and reads what they
wrote, so that any other coordinator finds the same jobs: `<sweep>/jobs/<job name>` is a link to the
folder of the attempt, `<run>/attempts/<n>/`.
"""

import fcntl
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import psutil

from launcher import trainlog
from launcher.errors import ExecutorError
from launcher.executors import environment, gpus, supervisor
from launcher.executors.place import Place
from launcher.executors.validity import check, is_name
from launcher.ports import Cause, Job, Outcome, Phase

_SUPERVISOR = Path(supervisor.__file__)


class LocalExecutor:
    """Runs each job as a process group of its own; several nodes as several groups.

    Jobs are found again through `sweep_dir`. A cancelled job gets SIGTERM, and SIGKILL after
    `grace_seconds`. `threads_per_trial` limits the numeric libraries. Where several of `parallel`
    trials run beside several GPUs, each is given its own. With a `place` this machine runs that
    node of each job alone (see `worker`). A secret travels through a pipe to the supervisor and
    exists nowhere but in the trial's own environment.
    """

    def __init__(
        self,
        sweep_dir: Path,
        *,
        threads_per_trial: int | None = None,
        grace_seconds: float = 30.0,
        price_usd_per_hour: float = 0.0,
        visible_gpus: Sequence[str] = (),
        parallel: int = 1,
        place: Place | None = None,
    ) -> None:
        self._node = Path(f"node-{place.index}" if place is not None and place.is_worker else "")
        self._jobs = sweep_dir.absolute() / self._node / "jobs"
        self._threads = threads_per_trial
        self._grace_seconds = grace_seconds
        self._price_usd_per_hour = price_usd_per_hour
        self._gpus, self._parallel = visible_gpus, parallel
        self._place = place
        self._with_gpus: set[str] | None = None
        """Jobs that may still hold GPUs; None: nobody has looked yet."""

    def submit(self, job: Job) -> None:
        """Find the job or start it, and return when its processes exist."""
        check(job)
        if shutil.which("bash") is None:
            raise ExecutorError(f"job {job.name} was not started: there is no bash on this machine")
        folder = job.run_dir.absolute() / "attempts" / str(job.attempt) / self._node
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._index(job.name, folder)
            with starting(folder) as alive_fd:
                if alive_fd is not None:
                    self._start(job, folder, alive_fd)
        except OSError as error:
            raise ExecutorError(
                f"job {job.name} was not started: {error.strerror or error}: {folder}",
                hint="make room, or make the folder writable, then resume",
            ) from error

    def poll(self, names: Sequence[str]) -> Mapping[str, Outcome]:
        """Read what the supervisors wrote, and look whether they live."""
        try:
            return {name: self._outcome(name) for name in names}
        except OSError as error:
            raise ExecutorError(f"jobs cannot be looked at: {error}") from error

    def cancel(self, names: Sequence[str]) -> None:
        """Leave a note for the supervisors; end what has lost its supervisor in their place."""
        for name, outcome in self.poll(names).items():
            if outcome.is_over:
                continue
            try:
                (self._jobs / name / "cancel").touch()
                self._end_orphan(name)
            except OSError as error:
                raise ExecutorError(f"job {name} cannot be cancelled: {error}") from error

    def names(self, prefix: str) -> Sequence[str]:
        """List the jobs under this prefix of which something runs or is being started."""
        try:
            known = sorted(link.name for link in self._jobs.iterdir())
        except FileNotFoundError:
            return []
        outcomes = self.poll([name for name in known if name.startswith(prefix)])
        return [name for name, outcome in outcomes.items() if not outcome.is_over]

    def _index(self, name: str, folder: Path) -> None:
        """Make the job's folder findable by its name alone."""
        self._jobs.mkdir(parents=True, exist_ok=True)
        link = self._jobs / name
        try:
            link.symlink_to(os.path.relpath(folder, self._jobs))
        except FileExistsError:
            if not link.exists() or not link.samefile(folder):
                raise ExecutorError(
                    f"job {name} was not started: its name belongs to {link.readlink()}",
                    hint="a job's name must come from its sweep, trial and attempt",
                ) from None

    def _start(self, job: Job, folder: Path, alive_fd: int) -> None:
        """Start the attempt. Raises ExecutorError if that fails."""
        problem = supervised(self._request(job), folder, alive_fd)
        if problem:
            raise ExecutorError(
                f"job {job.name} was not started: {problem}",
                hint=f"look into {folder}, then resume",
            )

    def _request(self, job: Job) -> dict[str, Any]:
        """What the supervisor needs to know."""
        place = self._place or Place(0, job.nodes, "127.0.0.1")
        here = job.nodes if self._place is None else 1
        nodes = range(place.index, place.index + here)
        now = datetime.now(tz=UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        threads = None if self._threads is None else max(1, self._threads // here)
        return {
            "name": job.name,
            "workdir": str(job.workdir.absolute()),
            "bash": shutil.which("bash"),
            "script": job.script,
            "arguments": job.arguments,
            "environment": {"PROTEIN_JOB": job.name, **job.environment},
            "first_node": place.index,
            "num_nodes": job.nodes,
            "master_addr": place.master_addr,
            "master_port": place.master_port,
            "logs": [str(job.run_dir.absolute() / trainlog.name(node)) for node in nodes],
            "header": trainlog.header(job.run_id, job.attempt, now),
            "grace_seconds": self._grace_seconds,
            "timeout_seconds": job.timeout_seconds,
            "inherited": environment.inherited(os.environ, threads=threads),
            "secrets": dict(job.secrets),
            "gpus": self._own_gpus(job),
        }

    def _own_gpus(self, job: Job) -> list[list[str]] | None:
        """The GPUs of each node of a job; None: all see what the coordinator does."""
        if len(self._gpus) < 2 or (self._parallel < 2 and job.nodes < 2):
            return None
        if self._with_gpus is None:
            self._with_gpus = set(self.names(""))
        outcomes = self.poll(sorted(self._with_gpus - {job.name}))
        running = [name for name, outcome in outcomes.items() if not outcome.is_over]
        self._with_gpus = {*running, job.name}
        known = [read_json(self._jobs / name / "job.json") or {} for name in running]
        taken = [[gpu for node in request.get("gpus") or [] for gpu in node] for request in known]
        own = gpus.shared_out(self._gpus, self._parallel, taken)
        return gpus.by_node(own, job.nodes if self._place is None else 1)

    def _outcome(self, name: str) -> Outcome:
        """Where one job stands, from the files of its attempt."""
        folder = self._jobs / name
        if not is_name(name) or not folder.exists():
            return Outcome(Phase.ABSENT)
        supervised = supervisor.is_locked(str(folder / "supervisor.lock"))
        alive = supervised or supervisor.is_locked(str(folder / "alive.lock"))
        # Read after the locks: what a supervisor writes, it writes before it lets them go.
        started, ending = read_json(folder / "started.json"), read_json(folder / "exit.json")
        price = self._price_usd_per_hour
        if started is None:
            return Outcome(Phase.PENDING if alive else Phase.ABSENT, price_usd_per_hour=price)
        known = Outcome(
            Phase.RUNNING, started_at=started.get("started_at"), price_usd_per_hour=price
        )
        if ending is not None:
            return _ended(ending, known, folder)
        if alive or self._groups(name, started):
            orphaned = "" if supervised else "its supervisor is gone, its program runs on"
            return msgspec.structs.replace(known, detail=orphaned)
        # What ends an orphan may have taken its lock only after we looked: look again.
        if supervisor.is_locked(str(folder / "supervisor.lock")):
            return known
        if (ending := read_json(folder / "exit.json")) is not None:
            return _ended(ending, known, folder)
        return msgspec.structs.replace(
            known,
            phase=Phase.LOST,
            detail=f"its processes are gone and left no exit code: {folder}",
            cause=Cause.NODE_LOST,
        )

    def _end_orphan(self, name: str) -> None:
        """Where no supervisor lives to see the note, start one that ends the attempt."""
        folder = self._jobs / name
        started = read_json(folder / "started.json")
        if started is None or supervisor.is_locked(str(folder / "supervisor.lock")):
            return
        groups = [str(group) for group in self._groups(name, started)]
        if not groups:
            return
        subprocess.run(
            [*_command(), "end", str(folder), str(self._grace_seconds), *groups],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            check=False,
        )

    def _groups(self, name: str, started: Mapping[str, Any]) -> list[int]:
        """The job's process groups that live, made sure of: never a number that was used again."""
        groups = []
        for node in started.get("nodes", []):
            leader = supervisor.identity(node["pid"])
            if not leader:
                if _leaderless(node["pid"], name):
                    groups.append(node["pid"])
            elif leader == node["identity"] and _living(node["pid"]):
                groups.append(node["pid"])
        return groups


def supervised(request: Mapping[str, Any], folder: Path, alive_fd: int) -> str:
    """Start a supervisor, which inherits the lock; return what went wrong by its word, or ""."""
    asked = subprocess.run(
        [*_command(), "start", str(folder), str(alive_fd)],
        input=json.dumps(request).encode(),
        capture_output=True,
        pass_fds=(alive_fd,),
        start_new_session=True,
        check=False,
    )
    try:
        return str(json.loads(asked.stdout)["problem"])
    except (ValueError, KeyError, TypeError):
        if (folder / "started.json").exists():
            return ""  # killed between starting the trial and telling us
        said = asked.stderr.decode(errors="replace").strip().splitlines()
        return f"its supervisor died ({said[-1] if said else 'without a word'})"


@contextmanager
def starting(folder: Path) -> Iterator[int | None]:
    """Hold the attempt's lock, or nothing (None) once the attempt has been started by anyone.

    The lock belongs to whatever inherits the file descriptor: closing it here does not free it.
    """
    fd = os.open(folder / "alive.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        while not (folder / "started.json").exists():
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(0.005)  # another is starting it, or only looks whether it lives
                continue
            if (folder / "started.json").exists():
                break
            yield fd
            return
        yield None
    finally:
        os.close(fd)


def read_json(path: Path) -> dict[str, Any] | None:
    """Read what a supervisor wrote; None if it is not there, empty if it has been damaged."""
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _command() -> list[str]:
    """A Python that is up fast and that nothing in the environment changes."""
    return [sys.executable, "-I", "-S", "-X", "utf8", str(_SUPERVISOR)]


_ENDINGS = {
    "program": (Phase.EXITED, "", Cause.UNKNOWN),
    "cancel": (Phase.KILLED, "cancelled", Cause.UNKNOWN),
    "timeout": (Phase.KILLED, "timeout", Cause.TIMEOUT),
    "interrupt": (Phase.LOST, "the machine told its supervisor to stop", Cause.PREEMPTED),
}


def _ended(ending: Mapping[str, Any], running: Outcome, folder: Path) -> Outcome:
    """What exit.json makes of a job that was running."""
    damaged = (Phase.LOST, f"its exit.json is damaged: {folder}", Cause.NODE_LOST)
    phase, detail, cause = _ENDINGS.get(str(ending.get("ended_by")), damaged)
    return msgspec.structs.replace(
        running,
        phase=phase,
        exit_code=ending.get("exit_code"),
        ended_at=ending.get("ended_at"),
        detail=detail,
        cause=cause,
    )


def _members(group: int) -> list[psutil.Process]:
    """The processes of a group that are not zombies."""
    found = []
    for process in psutil.process_iter():
        try:
            if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (ProcessLookupError, PermissionError, psutil.Error):
            continue
    return found


def _living(group: int) -> bool:
    """Whether more than zombies is left of a group."""
    return supervisor.group_exists(group) and bool(_members(group))


def _leaderless(group: int, name: str) -> bool:
    """Whether a group without its leader is the job's: its members carry the job's name."""
    if not supervisor.group_exists(group):
        return False
    for process in _members(group):
        try:
            if process.environ().get("PROTEIN_JOB") == name:
                return True
        except psutil.Error:
            continue
    return False
