"""Local processes keep the contract, and nothing is lost, doubled or left, whoever is killed."""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from launcher import trainlog
from launcher.errors import ExecutorError
from launcher.executors import supervisor
from launcher.executors.environment import inherited, with_our_python
from launcher.executors.local import LocalExecutor
from launcher.ports import Job, Phase
from tests.launcher.executor_contract import CANARY, Cluster, ExecutorContract
from tests.launcher.waiting import eventually

COUNT = 'echo start >> "$PROTEIN_RUN_DIR/starts"\n'
PROGRAMS = {
    "hang": f"{COUNT} sleep 1000",
    "stubborn": f"trap '' TERM\n{COUNT} sleep 1000",
    "show": 'printf "%s\\0" "$@" > "$PROTEIN_RUN_DIR/arguments"; env -0 > "$PROTEIN_RUN_DIR/env"',
    "measure the canary": "exit ${#CANARY}",
}


class LocalCluster(Cluster):
    """Real processes; whatever a test leaves is killed by its recorded number."""

    def executor(self) -> LocalExecutor:
        return LocalExecutor(self.folder, grace_seconds=0.5, threads_per_trial=2)

    def script(self, program: str) -> str:
        return PROGRAMS.get(program, f"{COUNT} {program}")

    def pass_time(self) -> None:
        time.sleep(0.01)

    def lose(self, name: str) -> None:
        os.kill(self.started(name)["supervisor"], signal.SIGKILL)
        self.kill_trial(name)

    def starts(self, job: Job) -> int:
        file = job.run_dir / "starts"
        return eventually(lambda: file.exists() and len(file.read_text().splitlines()))

    def received(self, job: Job) -> tuple[Sequence[str], Mapping[str, str]]:
        arguments = (job.run_dir / "arguments").read_bytes().split(b"\0")[:-1]
        variables = (job.run_dir / "env").read_bytes().split(b"\0")[:-1]
        pairs = [v.decode().partition("=") for v in variables]
        return [a.decode() for a in arguments], {name: value for name, _, value in pairs}

    def started(self, name: str) -> dict[str, Any]:
        started: dict[str, Any] = json.loads(
            (self.folder / "jobs" / name / "started.json").read_text()
        )
        return started

    def kill_trial(self, name: str) -> None:
        for node in self.started(name)["nodes"]:
            if supervisor.identity(node["pid"]) == node["identity"]:
                os.killpg(node["pid"], signal.SIGKILL)

    def kill_supervisor(self, name: str) -> None:
        """And wait until it is gone."""
        os.kill(self.started(name)["supervisor"], signal.SIGKILL)
        held = str(self.folder / "jobs" / name / "supervisor.lock")
        eventually(lambda: not supervisor.is_locked(held))

    def clean(self) -> None:
        executor = self.executor()
        names = executor.names("")
        executor.cancel(names)
        for name in names:
            self.until_over(name)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[LocalCluster]:
    made = LocalCluster(tmp_path)
    yield made
    made.clean()


class TestContract(ExecutorContract):
    pass


def _alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _write_pid(name: str) -> str:
    return f'echo $BASHPID > "$PROTEIN_RUN_DIR/{name}.tmp"; mv "$PROTEIN_RUN_DIR/{name}"{{.tmp,}}'


def _read_pid(job: Job, name: str) -> int:
    return int(eventually(lambda: (f := job.run_dir / name).exists() and f.read_text()))


# --- killing the coordinator ---------------------------------------------------------------------

COORDINATOR = """
import os, signal, sys
from pathlib import Path
from launcher.executors.local import LocalExecutor
from launcher.ports import Job
folder = Path(sys.argv[1])
run = folder / "runs" / "run"
job = Job("run-1", "run", 1, run, folder, sys.argv[2], environment={"PROTEIN_RUN_DIR": str(run)})
sys.stdin.read()
LocalExecutor(folder, grace_seconds=0.5).submit(job)
if sys.argv[3:] == ["die"]:
    os.killpg(0, signal.SIGKILL)
"""


def _coordinator(folder: Path, script: str, *more: str) -> subprocess.Popen[bytes]:
    """A process that submits when its stdin closes."""
    return subprocess.Popen(
        [sys.executable, "-c", COORDINATOR, str(folder), script, *more],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdin=subprocess.PIPE,
        start_new_session=True,
    )


def test_a_trial_outlives_its_coordinators_whole_process_group(cluster: LocalCluster) -> None:
    with _coordinator(cluster.folder, "sleep 0.3; exit 7", "die") as coordinator:
        coordinator.communicate()
    assert coordinator.returncode == -9
    outcome = cluster.until_over("run-1")
    assert (outcome.phase, outcome.exit_code) == (Phase.EXITED, 7)


def test_many_coordinators_at_once_start_one_job(cluster: LocalCluster) -> None:
    coordinators = [_coordinator(cluster.folder, PROGRAMS["hang"]) for _ in range(4)]
    for coordinator in coordinators:
        assert coordinator.stdin is not None
        coordinator.stdin.close()
    assert [c.wait() for c in coordinators] == [0, 0, 0, 0]
    assert cluster.starts(cluster.job("hang")) == 1


def test_no_zombie_is_left_to_the_coordinator(cluster: LocalCluster) -> None:
    before = set(psutil.Process().children())
    for number in range(3):
        cluster.executor().submit(cluster.job("exit 0", f"run{number}"))
        cluster.until_over(f"run{number}-1")
    assert set(psutil.Process().children()) <= before


def test_a_second_supervisor_of_an_attempt_starts_nothing(cluster: LocalCluster) -> None:
    job, executor = cluster.job("exit 3"), cluster.executor()
    executor.submit(job)
    before = cluster.until_over(job.name)
    folder = job.run_dir / "attempts" / "1"
    fd = supervisor.lock(str(folder / "alive.lock"))
    executor._start(job, folder, fd)  # as if a submitter had looked too early
    os.close(fd)
    eventually(lambda: not supervisor.is_locked(str(folder / "alive.lock")))
    assert (cluster.starts(job), cluster.outcome(job.name)) == (1, before)


# --- killing the supervisor ----------------------------------------------------------------------


def test_a_trial_without_its_supervisor_is_running_until_it_ends(cluster: LocalCluster) -> None:
    job = cluster.job("hang")
    cluster.executor().submit(job)
    assert cluster.starts(job) == 1
    cluster.kill_supervisor(job.name)
    outcome = cluster.outcome(job.name)
    assert (outcome.phase, "supervisor is gone" in outcome.detail) == (Phase.RUNNING, True)
    assert supervisor.is_locked(str(cluster.folder / "jobs" / job.name / "alive.lock"))
    cluster.executor().submit(job)
    assert cluster.starts(job) == 1
    cluster.kill_trial(job.name)
    assert cluster.until_over(job.name).phase is Phase.LOST


def test_a_trial_without_its_supervisor_can_be_cancelled(cluster: LocalCluster) -> None:
    job = cluster.job("stubborn")
    cluster.executor().submit(job)
    assert cluster.starts(job) == 1
    cluster.kill_supervisor(job.name)
    cluster.executor().cancel([job.name])
    assert cluster.until_over(job.name).phase is Phase.KILLED
    assert not _alive(cluster.started(job.name)["nodes"][0]["pid"])


def test_a_dead_leaders_group_is_still_the_jobs(cluster: LocalCluster) -> None:
    # Python's subprocess closes what the leader inherited: no lock tells of the child.
    script = f"""exec "{sys.executable}" -c '
import os, subprocess
child = subprocess.Popen(["sleep", "1000"])
folder = os.environ["PROTEIN_RUN_DIR"]
with open(folder + "/child.tmp", "w") as file: file.write(str(child.pid))
os.rename(folder + "/child.tmp", folder + "/child")
child.wait()'"""
    job = cluster.job(script)
    cluster.executor().submit(job)
    child = _read_pid(job, "child")
    cluster.kill_supervisor(job.name)
    leader = cluster.started(job.name)["nodes"][0]["pid"]
    os.kill(leader, signal.SIGKILL)
    eventually(lambda: not supervisor.identity(leader))
    eventually(
        lambda: not supervisor.is_locked(str(cluster.folder / "jobs" / job.name / "alive.lock"))
    )
    assert cluster.outcome(job.name).phase is Phase.RUNNING
    cluster.executor().cancel([job.name])
    assert cluster.until_over(job.name).phase is Phase.KILLED
    assert not _alive(child)


def test_an_orphan_that_is_ended_between_two_looks_is_not_lost(
    cluster: LocalCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = cluster.job("hang")
    cluster.executor().submit(job)
    cluster.kill_supervisor(job.name)
    cluster.kill_trial(job.name)
    folder = cluster.folder / "jobs" / job.name
    eventually(lambda: not supervisor.is_locked(str(folder / "alive.lock")))
    executor = cluster.executor()

    def ended_meanwhile(*_: object) -> list[int]:
        supervisor.write_json(str(folder), "exit.json", {"exit_code": None, "ended_by": "cancel"})
        return []

    monkeypatch.setattr(executor, "_groups", ended_meanwhile)
    assert executor.poll([job.name])[job.name].phase is Phase.KILLED


def test_a_look_at_the_lock_does_not_keep_an_orphan_alive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "supervisor.lock"
    looker = path.open("w")
    fcntl.flock(looker, fcntl.LOCK_SH)
    assert supervisor.is_locked(str(path)) is False
    monkeypatch.setattr(supervisor.time, "sleep", lambda _: looker.close())
    held = supervisor.lock_soon(str(path))
    assert held is not None
    assert supervisor.lock_soon(str(path)) is None
    os.close(held)


def test_a_number_that_another_process_has_now_is_never_killed(cluster: LocalCluster) -> None:
    job = cluster.job("hang")
    cluster.executor().submit(job)
    cluster.lose(job.name)
    assert cluster.until_over(job.name).phase is Phase.LOST
    with subprocess.Popen(["sleep", "1000"], start_new_session=True) as stranger:
        file = cluster.folder / "jobs" / job.name / "started.json"
        started = cluster.started(job.name)
        started["nodes"][0]["pid"] = stranger.pid  # as if the number had come round
        file.write_text(json.dumps(started))
        assert cluster.outcome(job.name).phase is Phase.LOST
        cluster.executor().cancel([job.name])
        cluster.executor()._end_orphan(job.name)
        assert stranger.poll() is None
        stranger.kill()


def test_a_supervisor_told_to_stop_ends_its_trial_and_blames_the_machine(
    cluster: LocalCluster,
) -> None:
    job = cluster.job("hang")
    cluster.executor().submit(job)
    os.kill(cluster.started(job.name)["supervisor"], signal.SIGTERM)
    outcome = cluster.until_over(job.name)
    assert (outcome.phase, outcome.cause) == (Phase.LOST, "preempted")
    assert not _alive(cluster.started(job.name)["nodes"][0]["pid"])


def test_a_machine_that_shuts_down_is_to_blame_even_if_the_trial_went_first(
    cluster: LocalCluster,
) -> None:
    job = cluster.job("hang")
    cluster.executor().submit(job)
    started = cluster.started(job.name)
    os.kill(started["supervisor"], signal.SIGSTOP)
    os.killpg(started["nodes"][0]["pid"], signal.SIGTERM)
    eventually(lambda: not _alive(started["nodes"][0]["pid"]))
    os.kill(started["supervisor"], signal.SIGTERM)
    os.kill(started["supervisor"], signal.SIGCONT)
    assert cluster.until_over(job.name).cause == "preempted"


def test_a_supervisors_own_mistake_is_written_down(cluster: LocalCluster) -> None:
    job = cluster.job("hang")
    cluster.executor().submit(job)
    mistake = ValueError("ours")
    supervisor.write_down(str(cluster.folder / "jobs" / job.name), mistake)
    log = cluster.folder / "runs" / "run" / "attempts" / "1" / "supervisor.log"
    assert log.read_text() == "ValueError: ours\n"


# --- ending process groups -----------------------------------------------------------------------


def test_what_a_finished_trial_left_behind_is_ended(cluster: LocalCluster) -> None:
    waiting = 'while [ ! -e "$PROTEIN_RUN_DIR/child" ]; do sleep 0.01; done'
    job = cluster.job(f"({_write_pid('child')}; sleep 1000) &\n{waiting}; exit 0")
    cluster.executor().submit(job)
    assert cluster.until_over(job.name).exit_code == 0
    assert not _alive(_read_pid(job, "child"))


def test_nobody_waits_for_a_child_that_ended_after_its_leader() -> None:
    orphan = """
import os
from launcher.executors.supervisor import are_gone, group_exists

pid = os.fork()
if pid == 0:
    os.setsid()
    os._exit(0)
os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
assert group_exists(pid)
assert are_gone([pid])
"""
    subprocess.run([sys.executable, "-c", orphan], check=True, timeout=60)


def test_a_cancelled_trial_may_write_its_checkpoint_first(cluster: LocalCluster) -> None:
    trap = "trap 'sleep 0.1; echo saved > \"$PROTEIN_RUN_DIR/saved\"; exit 75' TERM"
    job = cluster.job(f"({trap}; {_write_pid('child')}; while :; do sleep 0.05; done); true")
    LocalExecutor(cluster.folder, grace_seconds=60.0).submit(job)
    _read_pid(job, "child")
    cluster.executor().cancel([job.name])
    assert cluster.until_over(job.name).phase is Phase.KILLED
    assert (job.run_dir / "saved").read_text() == "saved\n"


def test_death_by_a_signal_is_128_and_its_number(cluster: LocalCluster) -> None:
    cluster.executor().submit(cluster.job("kill -SEGV $$"))
    assert cluster.until_over("run-1").exit_code == 128 + signal.SIGSEGV


# --- several nodes -------------------------------------------------------------------------------


def test_nodes_know_their_places_and_share_an_address(cluster: LocalCluster) -> None:
    script = 'echo "$NODE_INDEX/$NUM_NODES $MASTER_ADDR:$MASTER_PORT"'
    job = replace(cluster.job(script), nodes=3)
    cluster.executor().submit(job)
    assert cluster.until_over(job.name).exit_code == 0
    logs = [job.run_dir / log for log in ("train.log", "train.node1.log", "train.node2.log")]
    port = cluster.started(job.name)["master_port"]
    places = [f"{node}/3 127.0.0.1:{port}" for node in range(3)]
    assert [trainlog.last_lines(log, 1) for log in logs] == [[place] for place in places]


def test_the_first_node_that_fails_ends_the_others(cluster: LocalCluster) -> None:
    job = replace(cluster.job("[ $NODE_INDEX = 1 ] && exit 9; sleep 1000"), nodes=2)
    cluster.executor().submit(job)
    assert cluster.until_over(job.name).exit_code == 9


def test_nodes_end_when_the_last_one_does(cluster: LocalCluster) -> None:
    script = f"[ $NODE_INDEX = 0 ] && exit 0; while [ ! -e go ]; do sleep 0.02; done; {COUNT}"
    job = replace(cluster.job(script), nodes=2)
    cluster.executor().submit(job)
    assert cluster.outcome(job.name).phase is Phase.RUNNING
    (cluster.folder / "go").touch()
    assert cluster.until_over(job.name).exit_code == 0


# --- environment and files -----------------------------------------------------------------------


def test_each_attempt_has_its_header_in_one_log(cluster: LocalCluster) -> None:
    for attempt in (1, 2):
        cluster.executor().submit(cluster.job(f"printf out{attempt}", attempt=attempt))
        cluster.until_over(f"run-{attempt}")
    log = cluster.folder / "runs" / "run" / "train.log"
    assert trainlog.last_lines(log, 5, attempt=1) == ["out1"]
    assert trainlog.last_lines(log, 5, attempt=2) == ["out2"]
    assert len(trainlog.tail(log)) == 4


def test_a_trial_sees_no_terminal_and_no_ignored_signals(cluster: LocalCluster) -> None:
    script = (
        f'exec "{sys.executable}" -c \'import signal as s, sys; sys.exit(sys.stdin.read() != "" \
or any(s.getsignal(n) == s.SIG_IGN for n in (s.SIGINT, s.SIGHUP, s.SIGTERM)))\''
    )
    cluster.executor().submit(cluster.job(script))
    assert cluster.until_over("run-1").exit_code == 0


def test_a_secret_is_in_no_command_line_and_not_in_the_supervisors_environment(
    cluster: LocalCluster,
) -> None:
    job = replace(cluster.job("hang"), secrets={"CANARY": CANARY})
    cluster.executor().submit(job)
    assert cluster.starts(job) == 1
    started = cluster.started(job.name)
    keeper = psutil.Process(started["supervisor"])
    trial = psutil.Process(started["nodes"][0]["pid"])
    assert "CANARY" not in keeper.environ()
    assert not [p for p in (keeper, trial, *trial.children()) if "canary" in str(p.cmdline())]
    assert eventually(lambda: trial.environ().get("CANARY")) == CANARY  # none while it is replaced


def test_threads_are_limited_where_the_user_has_not() -> None:
    seen = inherited({"PATH": "/bin", "MKL_NUM_THREADS": "9"}, threads=3)
    assert (seen["OMP_NUM_THREADS"], seen["MKL_NUM_THREADS"]) == ("3", "9")
    assert "OMP_NUM_THREADS" not in inherited({"PATH": "/bin"}, threads=None)


def test_an_outer_trials_identity_is_not_inherited() -> None:
    outer = {"PROTEIN_RUN_ID": "x", "WANDB_RUN_ID": "x", "WANDB_SERVICE": "x", "NODE_INDEX": "1"}
    seen = inherited({**outer, "PYTHONPATH": "src", "WANDB_API_KEY": "k"}, threads=None)
    assert not outer.keys() & seen.keys()
    assert (seen["PYTHONPATH"], seen["WANDB_API_KEY"]) == ("src", "k")


def test_python_is_the_coordinators_unless_another_is_activated() -> None:
    ours = str(Path(sys.executable).parent)
    assert with_our_python({"PATH": "/bin"}) == f"{ours}{os.pathsep}/bin"
    assert with_our_python({"PATH": f"{ours}:/bin"}) == f"{ours}:/bin"
    assert with_our_python({"PATH": "/bin", "VIRTUAL_ENV": "/elsewhere"}) == "/bin"
    assert with_our_python({"PATH": "/bin", "CONDA_PREFIX": "/conda"}).startswith(ours)


def test_a_sweep_folder_can_move(cluster: LocalCluster, tmp_path_factory: Any) -> None:
    cluster.executor().submit(cluster.job("exit 5"))
    cluster.until_over("run-1")
    moved = tmp_path_factory.mktemp("moved") / "sweep"
    shutil.copytree(cluster.folder, moved, symlinks=True)
    assert LocalExecutor(moved).poll(["run-1"])["run-1"].exit_code == 5


# --- a machine that refuses ----------------------------------------------------------------------


def test_a_missing_working_folder_is_an_error_and_no_job(cluster: LocalCluster) -> None:
    job = replace(cluster.job("exit 0"), workdir=cluster.folder / "nowhere")
    with pytest.raises(ExecutorError, match=r"working folder does not exist.*nowhere"):
        cluster.executor().submit(job)
    assert cluster.outcome(job.name).phase is Phase.ABSENT
    cluster.executor().submit(cluster.job("exit 0"))  # and it can be put right
    assert cluster.until_over(job.name).exit_code == 0


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_folder_that_cannot_be_written_is_an_error(cluster: LocalCluster) -> None:
    job = cluster.job("exit 0")
    job.run_dir.chmod(0o500)
    with pytest.raises(ExecutorError, match=r"not started.*Permission denied"):
        cluster.executor().submit(job)
    job.run_dir.chmod(0o700)


def test_a_file_in_the_way_is_an_error(cluster: LocalCluster) -> None:
    job = cluster.job("exit 0")
    (job.run_dir / "attempts").write_text("in the way")
    with pytest.raises(ExecutorError, match="not started"):
        cluster.executor().submit(job)
    assert cluster.outcome(job.name).phase is Phase.ABSENT


FULL = """
import resource, sys
from pathlib import Path
from launcher.errors import ExecutorError
from launcher.executors.local import LocalExecutor
from launcher.ports import Job
folder, limit = Path(sys.argv[1]), int(sys.argv[2])
run = folder / "runs" / "run"
run.mkdir(parents=True)
executor = LocalExecutor(folder)
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
try:
    executor.submit(Job("run-1", "run", 1, run, folder, "exit 0"))
    sys.exit("started")
except ExecutorError as error:
    sys.exit(0 if executor.names("") == [] else f"left a job: {error}")
"""


@pytest.mark.parametrize("limit", [0, 40, 200])
def test_a_full_disk_is_an_error_and_no_job(cluster: LocalCluster, limit: int) -> None:
    command = [sys.executable, "-c", FULL, str(cluster.folder), str(limit)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    asked = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert (asked.returncode, asked.stderr) == (0, b"")
    assert cluster.executor().names("") == []


def test_a_full_disk_at_the_end_only_delays_the_news(cluster: LocalCluster) -> None:
    job = cluster.job("while [ ! -e go ]; do sleep 0.02; done; exit 3")
    cluster.executor().submit(job)
    folder = cluster.folder / "runs" / "run" / "attempts" / "1"
    (folder / "exit.json").mkdir()  # nothing can be renamed to it: as refusing as a full disk
    before = folder.stat().st_mtime_ns
    (cluster.folder / "go").touch()
    eventually(lambda: folder.stat().st_mtime_ns > before)  # it tries …
    eventually(lambda: not [*folder.glob(".exit.json.*")])  # … and has failed
    assert supervisor.is_locked(str(folder / "alive.lock"))
    (folder / "exit.json").rmdir()
    assert cluster.until_over(job.name).exit_code == 3


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b"\xff\x00", b'{"ended_by": "magic"}'])
@pytest.mark.parametrize("name", ["exit.json", "started.json"])
def test_a_damaged_file_is_a_lost_job_not_a_crash(
    cluster: LocalCluster, name: str, damage: bytes
) -> None:
    job = cluster.job("exit 0")
    cluster.executor().submit(job)
    cluster.until_over(job.name)
    folder = cluster.folder / "jobs" / job.name
    for held in ("supervisor.lock", "alive.lock"):  # it goes only after it has said how it ended
        eventually(lambda held=held: not supervisor.is_locked(str(folder / held)))  # type: ignore[misc]
    (folder / "exit.json").unlink()
    (folder / name).write_bytes(damage)
    outcome = cluster.outcome(job.name)
    assert outcome.phase is Phase.LOST
    assert str(folder) in outcome.detail
    cluster.executor().submit(job)
    assert cluster.starts(job) == 1


def test_a_folder_that_cannot_be_looked_at_is_an_error(cluster: LocalCluster) -> None:
    job = cluster.job("exit 0")
    cluster.executor().submit(job)
    cluster.until_over(job.name)
    (cluster.folder / "jobs" / job.name / "exit.json").unlink()
    (cluster.folder / "jobs" / job.name / "exit.json").mkdir()
    with pytest.raises(ExecutorError, match="cannot be looked at"):
        cluster.executor().poll([job.name])
    (cluster.folder / "jobs" / job.name / "exit.json").rmdir()


def test_too_long_arguments_end_the_job_with_the_reason_in_its_log(cluster: LocalCluster) -> None:
    job = replace(cluster.job("show"), arguments=("x" * 1_000_000,))
    cluster.executor().submit(job)
    assert cluster.until_over(job.name).exit_code == 126
    assert "did not start" in trainlog.last_lines(job.run_dir / "train.log", 1)[0]


def test_a_name_that_belongs_to_another_folder_is_an_error(cluster: LocalCluster) -> None:
    cluster.executor().submit(cluster.job("exit 0"))
    other = replace(cluster.job("exit 0", "other"), name="run-1")
    with pytest.raises(ExecutorError, match="its name belongs to"):
        cluster.executor().submit(other)


def test_a_process_is_known_by_its_start_where_there_is_no_proc() -> None:
    mine = supervisor.start_time(os.getpid())
    assert mine
    assert mine == supervisor.start_time(os.getpid())
    assert supervisor.identity(os.getpid()) == supervisor.identity(os.getpid())
    assert supervisor.identity(2**22 + 1) == ""


def test_the_supervisor_needs_nothing_but_the_standard_library() -> None:
    path = str(Path(supervisor.__file__))
    asked = subprocess.run(
        [sys.executable, "-I", "-S", path], capture_output=True, text=True, check=False
    )
    assert (asked.returncode, "FOLDER" in asked.stderr) == (2, True)


ON_LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="subreapers are Linux's")
ESCAPE = """python3 - <<'END'
import os, signal, sys
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        {first}
        with open(os.environ["PROTEIN_RUN_DIR"] + "/escaped", "w") as file:
            file.write(f"{{os.getpid()}}\\n")
        signal.pause()
        signal.pause()
    os._exit(0)
END
while [ ! -s "$PROTEIN_RUN_DIR/escaped" ]; do sleep 0.05; done
"""


def escaped(job: Job) -> int:
    file = job.run_dir / "escaped"
    return int(eventually(lambda: file.exists() and file.read_text().strip()))


@ON_LINUX
@pytest.mark.parametrize("first", ["pass", "signal.signal(signal.SIGTERM, signal.SIG_IGN)"])
def test_a_child_that_left_the_session_does_not_outlive_its_trial(
    cluster: LocalCluster, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    job = cluster.job(ESCAPE.format(first=first) + "sleep 1000")
    executor = cluster.executor()
    executor.submit(job)
    pid = escaped(job)
    executor.cancel([job.name])
    cluster.until_over(job.name)
    assert not psutil.pid_exists(pid)


@ON_LINUX
def test_it_is_ended_also_when_the_program_ends_by_itself(cluster: LocalCluster) -> None:
    job = cluster.job(ESCAPE.format(first="pass") + "exit 3")
    cluster.executor().submit(job)
    outcome = cluster.until_over(job.name)
    assert (outcome.phase, outcome.exit_code) == (Phase.EXITED, 3)
    assert not psutil.pid_exists(escaped(job))
