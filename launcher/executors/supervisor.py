"""Keeps one attempt of one job: starts it, waits, ends it when asked, writes down how it ended.

Started by file path with `python -I -S`, so it imports nothing but the standard library, and little
of that: it is up in 30 ms. It outlives the coordinator. Everything it knows is in the attempt's
folder, whose files are each written once, atomically:

    alive.lock       locked while anything of the attempt runs: the trial's processes inherit it
    supervisor.lock  locked while its supervisor (or the one who ends an orphan) runs
    job.json         what was asked for, without secrets
    started.json     processes and start time; from here on the attempt may have run
    cancel           the wish that it ends
    broken           the exit code of a node on another machine, which ends the others too
    supervisor.log   what went wrong in the supervisor itself
    exit.json        how it ended; from here on nothing of it matters

The trial's processes wait for a go until started.json is on disk. So a supervisor that is killed
before it leaves nothing behind, and one that is killed after it leaves a trial that can be found.
"""

# Importing pathlib would cost as much time as all of the rest.
# ruff: noqa: PTH105, PTH108, PTH110, PTH112, PTH118, PTH123, PTH208

import contextlib
import fcntl
import json
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

TICK_SECONDS = 0.2  # how often a cancel file is looked for
LEFTOVER_SECONDS = 5.0  # what a trial's forgotten children get after its end
SHUTDOWN_SECONDS = 1.0  # how long after its trial's SIGTERM a supervisor's own may come
LOCK_TRIES = 50  # a lock is also taken, for an instant, by who looks whether it is held
ELSEWHERE = -1  # stands for any node on another machine
GONE_SECONDS = 5.0  # how long a killed group may take to disappear; zombies nobody reaps stay


def main(argv: list[str]) -> int:
    """`supervisor.py start FOLDER LOCK_FD` with the job on stdin, or `end FOLDER GRACE PGID…`."""
    match argv:
        case ["start", folder, lock_fd]:
            return start(folder, int(lock_fd))
        case ["end", folder, grace_seconds, *groups]:
            return end(folder, float(grace_seconds), [int(group) for group in groups])
        case _:
            sys.stderr.write(f"{main.__doc__}\n")
            return 2


# --- starting an attempt ---------------------------------------------------------------------


def start(folder: str, alive_fd: int) -> int:
    """Start the attempt and stay with it. One line on stdout says whether it was started."""
    if os.fork():
        os._exit(0)  # the coordinator waits for this one only, so no zombie is left to it
    become_reaper()
    for ignored in (signal.SIGHUP, signal.SIGINT):
        signal.signal(ignored, signal.SIG_IGN)
    wake = watch_signals()
    job = json.loads(sys.stdin.buffer.read())
    supervisor_lock = -1
    try:
        supervisor_lock = lock(os.path.join(folder, "supervisor.lock"))
        if os.path.exists(os.path.join(folder, "started.json")):
            answer("")  # another has been here: whatever became of it, once is enough
            return 0
        write_json(folder, "job.json", {k: v for k, v in job.items() if k not in HIDDEN})
        pids = start_nodes(folder, job)
    except OSError as error:
        for held in (supervisor_lock, alive_fd):  # before the answer: the job does not exist then
            with contextlib.suppress(OSError):
                os.close(held)
        answer(f"{error.strerror or error}: {error.filename or folder}")
        return 1
    answer("")
    sys.excepthook = lambda *error: write_down(folder, error[1])
    ending = wait_for(pids, folder, job, wake)
    write_until_done(folder, "exit.json", ending)
    for held in (supervisor_lock, alive_fd):  # only now: no one may look between end and exit.json
        os.close(held)
    return 0


def write_down(folder: str, error: BaseException) -> None:
    """Keep what went wrong in the supervisor itself: its stderr leads nowhere by then."""
    import traceback

    with open(os.path.join(folder, "supervisor.log"), "a", encoding="utf-8") as file:
        traceback.print_exception(error, file=file)


HIDDEN = ("secrets", "inherited")  # never on disk: secrets, and the environment they may come from


def answer(problem: str) -> None:
    """Tell the waiting coordinator, if it still lives, and let go of its pipes."""
    with contextlib.suppress(OSError):
        os.write(1, (json.dumps({"problem": problem}) + "\n").encode())
    nothing = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(nothing, fd)
    os.close(nothing)


def start_nodes(folder: str, job: dict[str, Any]) -> list[int]:
    """Fork every node's process, write down who they are, then let them go."""
    if not os.path.isdir(job["workdir"]):
        raise NotADirectoryError(20, "The working folder does not exist", job["workdir"])
    logs = [open_log(path, job["header"]) for path in job["logs"]]
    port = str(job["master_port"] or free_port())
    gate, go = os.pipe()
    pids = []
    for node, log in enumerate(logs):
        pid = os.fork()
        if pid == 0:
            os.close(go)
            become_node(node, port, job, gate, log)
        pids.append(pid)
    for fd in (gate, *logs):
        os.close(fd)
    try:
        for pid in pids:
            wait_until(lambda pid=pid: os.getpgid(pid) == pid, GONE_SECONDS)  # type: ignore[misc]
        started = {
            "supervisor": os.getpid(),
            "nodes": [{"pid": pid, "identity": identity(pid)} for pid in pids],
            "started_at": time.time(),
            "master_addr": job["master_addr"],
            "master_port": int(port),
        }
        write_json(folder, "started.json", started)
    except OSError:
        os.close(go)  # the nodes see it and leave
        for pid in pids:
            os.waitpid(pid, 0)
        raise
    os.write(go, b"g" * len(pids))
    os.close(go)
    return pids


# What Python or this file changed, and exec would hand on.
RESTORED = (
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGCHLD,
    signal.SIGPIPE,
    signal.SIGXFSZ,
)


def become_node(node: int, port: str, job: dict[str, Any], gate: int, log: int) -> NoReturn:
    """In the child: wait for the go, then become `bash -c script name arguments…`.

    The lock that says "alive" goes with it: its file descriptor is inherited.
    """
    status = 126
    try:
        signal.set_wakeup_fd(-1)
        for number in RESTORED:
            signal.signal(number, signal.SIG_DFL)
        os.setsid()
        if os.read(gate, 1) != b"g":
            os._exit(status)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for fd, target in ((nothing, 0), (log, 1), (log, 2)):
            os.dup2(fd, target)
        os.chdir(job["workdir"])
        place = {
            "NODE_INDEX": str(job["first_node"] + node),
            "NUM_NODES": str(job["num_nodes"]),
            "MASTER_ADDR": job["master_addr"],
            "MASTER_PORT": port,
        }
        if job.get("gpus"):
            place["CUDA_VISIBLE_DEVICES"] = ",".join(job["gpus"][node])
        environment = {**job["inherited"], **place, **job["environment"], **job["secrets"]}
        arguments = ["bash", "-c", job["script"], job["name"], *job["arguments"]]
        os.execve(job["bash"], arguments, environment)  # noqa: S606 - bash is the shell
    except BaseException as error:  # noqa: BLE001 - a forked child must never return
        with contextlib.suppress(OSError):
            os.write(log, f"protein-sky: the trial's program did not start: {error}\n".encode())
    finally:
        os._exit(status)


def open_log(path: str, header: str) -> int:
    """The log, opened to append, with this attempt's header on a line of its own."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
    size = os.fstat(fd).st_size
    broken_line = size > 0 and os.pread(fd, 1, size - 1) != b"\n"
    os.write(fd, (("\n" if broken_line else "") + header + "\n").encode())
    return fd


def free_port() -> int:
    """A port that nobody listens on now."""
    import _socket  # `socket` would cost another 10 ms

    listener = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
    try:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
    finally:
        listener.close()


# --- waiting for its end ---------------------------------------------------------------------


def watch_signals() -> int:
    """A file descriptor that becomes readable when a child ends or SIGTERM arrives."""
    readable, writable = os.pipe()
    os.set_blocking(readable, False)
    os.set_blocking(writable, False)
    signal.set_wakeup_fd(writable, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    return readable


def wait_for(pids: list[int], folder: str, job: dict[str, Any], wake: int) -> dict[str, Any]:
    """Stay until every node has ended, ending them when asked. Returns what exit.json says."""
    running, groups = dict(enumerate(pids)), set(pids)
    codes: dict[int, int] = {}  # by node, in the order of their ends
    limit = job["timeout_seconds"]
    timeout_at = float("inf") if limit is None else time.monotonic() + limit
    signals, reason, kill_at = b"", "", float("inf")
    while running:
        signals = pause(wake)
        codes |= reap(running) | broken(folder)
        # An empty group is forgotten at once: its number may become someone else's.
        groups = {group for group in groups if group in running.values() or group_exists(group)}
        if running and not reason:
            reason = reason_to_end(folder, signals, codes, time.monotonic() >= timeout_at)
            if reason:
                kill_at = time.monotonic() + job["grace_seconds"]
                signal_groups(groups, signal.SIGTERM)
        if time.monotonic() >= kill_at:
            signal_groups(groups, signal.SIGKILL)
    ended_at = time.time()
    if reason:  # they were asked once already: a second SIGTERM could spoil a checkpoint
        wait_until(lambda: are_gone(groups), kill_at - time.monotonic())
        end_groups(groups, 0.0)
        end_escaped(kill_at - time.monotonic())
        ended_at = time.time()
    else:
        end_groups(groups, LEFTOVER_SECONDS)
        end_escaped(LEFTOVER_SECONDS)
        reason = "interrupt" if is_shutdown(signals, codes, wake) else "program"
    failures = [code for code in codes.values() if code]
    return {
        "exit_code": failures[0] if failures else 0,
        "ended_at": ended_at,
        "ended_by": "program" if reason == "failure" else reason,
    }


def is_shutdown(signals: bytes, codes: dict[int, int], wake: int) -> bool:
    """Whether the program ended by a SIGTERM that was meant for the whole machine.

    Then everything is told to stop at once, and the supervisor's own signal may be on its way.
    """
    if 128 + signal.SIGTERM not in codes.values():
        return False
    deadline = time.monotonic() + SHUTDOWN_SECONDS
    while signal.SIGTERM not in signals and time.monotonic() < deadline:
        signals += pause(wake)
    return signal.SIGTERM in signals


def reason_to_end(folder: str, signals: bytes, codes: dict[int, int], late: bool) -> str:
    """Why the nodes that still run must go, or ""."""
    if os.path.exists(os.path.join(folder, "cancel")):
        return "cancel"
    if signal.SIGTERM in signals:
        return "interrupt"
    if late:
        return "timeout"
    return "failure" if any(codes.values()) else ""


def broken(folder: str) -> dict[int, int]:
    """The exit code of a node on another machine, where one has failed."""
    try:
        with open(os.path.join(folder, "broken"), encoding="ascii") as file:
            return {ELSEWHERE: int(file.read())}
    except (FileNotFoundError, ValueError):
        return {}


def pause(wake: int) -> bytes:
    """Sleep a tick or until a signal; the numbers of the signals that came."""
    select.select([wake], [], [], TICK_SECONDS)
    try:
        return os.read(wake, 4096)
    except BlockingIOError:
        return b""


def reap(running: dict[int, int]) -> dict[int, int]:
    """Take the nodes that have ended out of `running`: their exit codes, 128+n for signal n.

    Whatever else has ended came to us as its reaper, and only leaves its place in the table.
    """
    codes, nodes = {}, {pid: node for node, pid in running.items()}
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            node = nodes.get(pid)
            if node is not None:
                del running[node]
                code = os.waitstatus_to_exitcode(status)
                codes[node] = code if code >= 0 else 128 - code
    return codes


# --- what left the trial's session ------------------------------------------------------------


def become_reaper() -> None:
    """Become the parent of every orphan below this process, on Linux.

    So a child that a trial sent into a session of its own is found again at the trial's end.
    """
    if not sys.platform.startswith("linux"):
        return
    with contextlib.suppress(ImportError, OSError, AttributeError):
        import ctypes

        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h


def end_escaped(grace_seconds: float) -> None:
    """SIGTERM to every child that is left, SIGKILL after the grace period, and to their children.

    The trial's nodes have ended: what is still below us has left their sessions.
    """
    kill_at = time.monotonic() + max(0.0, grace_seconds)
    asked: set[int] = set()
    while left := children():
        is_late = time.monotonic() >= kill_at
        for pid in left if is_late else left - asked:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL if is_late else signal.SIGTERM)
        asked |= left
        if time.monotonic() >= kill_at + GONE_SECONDS:
            return
        time.sleep(0.02)


def children() -> set[int]:
    """The processes whose parent this one is now, zombies taken away; none without /proc."""
    reap({})
    found, mine = set(), str(os.getpid())
    with contextlib.suppress(FileNotFoundError):
        for entry in os.listdir("/proc"):
            with contextlib.suppress(OSError, IndexError):
                if entry.isdigit() and parent(entry) == mine:
                    found.add(int(entry))
    return found


def parent(pid: str) -> str:
    """The parent of a process; OSError if it is gone."""
    with open(f"/proc/{pid}/stat", "rb") as stat:
        return stat.read().rpartition(b")")[2].split()[1].decode()


# --- ending process groups -------------------------------------------------------------------


def end(folder: str, grace_seconds: float, groups: list[int]) -> int:
    """End the groups of an attempt whose supervisor is gone, and write down that it was asked for.

    The caller has made sure that these groups are the attempt's.
    """
    if os.fork():
        os._exit(0)
    os.setsid()
    supervisor_lock = lock_soon(os.path.join(folder, "supervisor.lock"))
    if supervisor_lock is None:
        return 0  # another one is at it
    end_groups(groups, grace_seconds)
    ending = {"exit_code": None, "ended_at": time.time(), "ended_by": "cancel"}
    write_until_done(folder, "exit.json", ending)
    os.close(supervisor_lock)
    return 0


def end_groups(groups: Iterable[int], grace_seconds: float) -> None:
    """SIGTERM to what lives in these groups, SIGKILL to what is there after the grace period."""
    living = [group for group in groups if group_exists(group)]
    signal_groups(living, signal.SIGTERM)
    if not wait_until(lambda: are_gone(living), grace_seconds):
        signal_groups(living, signal.SIGKILL)
        wait_until(lambda: are_gone(living), GONE_SECONDS)


def signal_groups(groups: Iterable[int], number: int) -> None:
    """Send a signal to every group that still exists."""
    for group in groups:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, number)


def are_gone(groups: Iterable[int]) -> bool:
    """Whether these groups have no members left.

    A member that outlived its leader came to us as its reaper: it is there until we take it away.
    """
    reap({})
    return not any(map(group_exists, groups))


def group_exists(group: int) -> bool:
    """Whether a process group has members, zombies included."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # macOS says so of a group of zombies; another user's is not ours
        return False
    return True


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Whether the condition came true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.02)
    return True


def identity(pid: int) -> str:
    """What tells this process from any other with the same number; "" if there is none.

    Linux: boot and start tick, which no change of the clock touches. Elsewhere the start time.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            ticks = stat.read().rpartition(b")")[2].split()[19].decode()
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as boot:
            return f"{boot.read().strip()}:{ticks}"
    except (FileNotFoundError, ProcessLookupError):
        return "" if os.path.exists("/proc/self/stat") else start_time(pid)


def start_time(pid: int) -> str:
    """When a process started, as `ps` says it, to the second and independent of locale and zone."""
    import subprocess

    asked = subprocess.run(
        ["ps", "-o", "lstart=", "-p", str(pid)],
        env={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},
        capture_output=True,
        check=False,
    )
    return asked.stdout.decode().strip()


# --- files -----------------------------------------------------------------------------------


def lock(path: str, *, wait: bool = True) -> int:
    """Take the lock and return what holds it. BlockingIOError if it is taken and we don't wait."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        os.close(fd)
        raise
    return fd


def lock_soon(path: str) -> int | None:
    """Take the lock and return what holds it; None if someone keeps it, not only looks at it."""
    for _ in range(LOCK_TRIES):
        try:
            return lock(path, wait=False)
        except BlockingIOError:
            time.sleep(0.02)
    return None


def is_locked(path: str) -> bool:
    """Whether someone holds the lock."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(fd)


def write_json(folder: str, name: str, value: object) -> None:
    """Write a file that is there in full, also after a power cut, or not at all."""
    partial = os.path.join(folder, f".{name}.{os.getpid()}")
    try:
        with open(partial, "w", encoding="utf-8") as file:
            json.dump(value, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, os.path.join(folder, name))
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(partial)
        raise
    directory = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def write_until_done(folder: str, name: str, value: object) -> None:
    """Write even if the disk is full for hours. Only a deleted folder ends the wait."""
    while os.path.isdir(folder):
        with contextlib.suppress(OSError):
            write_json(folder, name, value)
            return
        time.sleep(1.0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
