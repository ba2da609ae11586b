"""A job as bash for other machines, and what it printed as files again."""

import base64
import io
import os
import signal
import subprocess
import tarfile
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.executors.skypilot.wrapping import (
    PREEMPTION_HOOK,
    STALLED_EXIT_CODE,
    over_file,
    printed,
    run_section,
    unpack,
)
from launcher.ports import Job
from tests.launcher.waiting import eventually


@pytest.fixture
def job(tmp_path: Path) -> Job:
    run_dir = tmp_path / "here" / "run"
    run_dir.mkdir(parents=True)
    return Job("s-1-1", "s.1", 1, run_dir, tmp_path, "true")


def run(job: Job, home: Path, storage: str | None = None, rank: int = 0) -> str:
    """What the job prints on a machine."""
    home.mkdir(exist_ok=True)
    return subprocess.run(
        ["bash", "-c", run_section(job, storage=storage, is_guarded=True)],
        env={"PATH": os.environ["PATH"], "HOME": str(home), "SKYPILOT_NODE_RANK": str(rank)},
        capture_output=True,
        text=True,
        check=False,
    ).stdout


def packed(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for member, data in members:
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def test_inputs_are_there_and_what_the_job_leaves_comes_home(job: Job, tmp_path: Path) -> None:
    (job.run_dir / "params.json").write_text('{"x": 1}')
    script = 'cp "$PROTEIN_PARAMS" "$PROTEIN_RUN_DIR/seen.json"; echo said; exit 3'
    environment = {"PROTEIN_PARAMS": str(job.run_dir / "params.json")}
    log = run(replace(job, script=script, environment=environment), tmp_path / "machine")
    said = printed(log, job.name)
    unpack(said.files, tmp_path / "back")
    assert (said.exit_code, said.is_timeout, "said" in said.lines) == (3, False, True)
    assert (tmp_path / "back" / "seen.json").read_text() == '{"x": 1}'
    assert not (tmp_path / "back" / "params.json").exists()


def test_checkpoints_stay_where_they_are(job: Job, tmp_path: Path) -> None:
    environment = {"PROTEIN_CHECKPOINT_DIR": str(job.run_dir / "checkpoints")}
    script = 'echo 7 > "$PROTEIN_CHECKPOINT_DIR/step"'
    log = run(
        replace(job, script=script, environment=environment),
        tmp_path / "machine",
        str(tmp_path / "two words"),
    )
    unpack(printed(log, job.name).files, tmp_path / "back")
    assert (tmp_path / "two words" / "s.1" / "checkpoints" / "step").read_text() == "7\n"
    assert not (tmp_path / "back" / "checkpoints").exists()


def test_a_job_says_that_it_is_over_where_other_machines_may_look(job: Job, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    run(replace(job, script="exit 3"), tmp_path / "machine", str(shared))
    assert (shared / "s.1" / over_file(1)).exists()
    log = run(replace(job, name="s-1-2", attempt=2), tmp_path / "machine", str(shared))
    unpack(printed(log, "s-1-2").files, tmp_path / "back")
    assert not list((tmp_path / "back").rglob(over_file(1)))


def test_a_second_start_on_the_same_machine_does_nothing(job: Job, tmp_path: Path) -> None:
    counting = replace(job, script='echo start >> "$HOME/starts"')
    run(counting, tmp_path / "machine")
    again = printed(run(counting, tmp_path / "machine"), job.name)
    assert (tmp_path / "machine" / "starts").read_text() == "start\n"
    assert again.exit_code is None


def test_only_the_first_node_tells_of_the_end(job: Job, tmp_path: Path) -> None:
    assert printed(run(job, tmp_path / "machine", rank=1), job.name).exit_code is None


def test_skypilots_prefixes_are_taken_off() -> None:
    log = "(trial, pid=12) one\n(head, rank=0, pid=7) two\n(worker1, rank=1, pid=7, ip=10.0.0.2) x"
    assert printed(log, "s-1-1").lines == ["one", "two", "x"]


def test_another_jobs_end_is_not_this_ones() -> None:
    assert printed('PROTEIN_SKY_END {"job":"s-2-1","code":0}', "s-1-1").exit_code is None


@given(st.text())
def test_any_output_can_be_read(text: str) -> None:
    printed(f"{text}\nPROTEIN_SKY_END {text}\nPROTEIN_SKY_FILES {text}", "s-1-1")


@given(st.binary(max_size=2000))
def test_damaged_files_are_left_out(data: bytes) -> None:
    unpack(data, Path("/nonexistent"))


def test_nothing_is_written_outside_of_the_run_folder(tmp_path: Path) -> None:
    link = tarfile.TarInfo("link")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    files = packed(
        (tarfile.TarInfo("good"), b"1"),
        (link, b""),
        (tarfile.TarInfo("../outside"), b"2"),
        (tarfile.TarInfo("later"), b"3"),
    )
    home = tmp_path / "run"
    home.mkdir()
    unpack(files, home)
    assert (home / "good").read_bytes() == b"1"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["good", "later", "run"]


def test_the_log_of_a_trial_is_not_replaced_by_a_file_of_its(tmp_path: Path) -> None:
    (tmp_path / "train.log").write_text("all attempts")
    unpack(packed((tarfile.TarInfo("./train.log"), b"mine")), tmp_path)
    assert (tmp_path / "train.log").read_text() == "all attempts"


def test_files_come_in_lines_that_any_log_keeps_whole(job: Job, tmp_path: Path) -> None:
    script = 'head -c 100000 /dev/urandom > "$PROTEIN_RUN_DIR/noise"'
    log = run(replace(job, script=script), tmp_path / "machine")
    assert max(map(len, log.splitlines())) < 4100
    unpack(printed(log, job.name).files, tmp_path)
    assert (tmp_path / "noise").stat().st_size == 100_000


def test_base64_of_the_script_keeps_every_byte(job: Job, tmp_path: Path) -> None:
    script = "cat <<'EOF'\nPROTEIN_SKY\n$HOME `x` \\ ' \"\nEOF"
    assert base64.b64encode(script.encode()).decode() in run_section(
        replace(job, script=script), storage=None, is_guarded=True
    )
    said = printed(run(replace(job, script=script), tmp_path / "machine"), job.name)
    assert said.lines[:2] == ["PROTEIN_SKY", "$HOME `x` \\ ' \""]


# --- preemption ----------------------------------------------------------------------------------

CHECKPOINTING = """
trap 'echo 7 > "$PROTEIN_CHECKPOINT_DIR/step"; exit 75' TERM
touch "$HOME/ready"
while :; do sleep 0.05; done
"""


def start(job: Job, home: Path) -> "subprocess.Popen[str]":
    home.mkdir(exist_ok=True)
    return subprocess.Popen(
        ["bash", "-c", run_section(job, storage=None, is_guarded=True)],
        env={"PATH": os.environ["PATH"], "HOME": str(home)},
        stdout=subprocess.PIPE,
        text=True,
    )


def preempt(home: Path) -> None:
    """What SkyPilot does on a machine that is about to go."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(home)}
    subprocess.run(["bash", "-c", PREEMPTION_HOOK], env=environment, check=True)


def test_a_machine_that_is_about_to_go_waits_for_the_checkpoint(job: Job, tmp_path: Path) -> None:
    home, environment = tmp_path / "machine", {"PROTEIN_CHECKPOINT_DIR": f"{job.run_dir}/ckpt"}
    script = f"mkdir -p $PROTEIN_CHECKPOINT_DIR\n(\n{CHECKPOINTING})"  # a child of the script
    running = start(replace(job, script=script, environment=environment), home)
    eventually((home / "ready").exists)
    preempt(home)
    assert next(home.glob(".protein-sky/runs/*/ckpt/step")).read_text() == "7\n"
    assert printed(running.communicate()[0], job.name).exit_code == 75


def test_what_a_machine_that_goes_ends_is_never_the_parameters_fault(
    job: Job, tmp_path: Path
) -> None:
    home = tmp_path / "machine"
    script = 'trap "exit 3" TERM; touch "$HOME/ready"; while :; do sleep 0.05; done'
    running = start(replace(job, script=script), home)
    eventually((home / "ready").exists)
    preempt(home)
    assert printed(running.communicate()[0], job.name).exit_code == 75


def test_a_script_that_was_ended_before_its_program_began_has_not_ended_well(
    job: Job, tmp_path: Path
) -> None:
    home = tmp_path / "machine"
    to_parse = "false && {\n" + ":\n" * 30_000 + "}\n"  # takes a while
    running = start(replace(job, script=f"{to_parse}sleep 600"), home)
    eventually(lambda: [p for p in psutil.Process(running.pid).children(True) if has_trap(p)])
    preempt(home)
    assert printed(running.communicate()[0], job.name).exit_code == 75


def has_trap(process: psutil.Process) -> bool:
    """Whether it is the script, and has heard what to do at a SIGTERM."""
    try:
        status = Path(f"/proc/{process.pid}/status").read_text()
        is_script = any(word.endswith("run.script") for word in process.cmdline())
    except (OSError, psutil.Error):
        return False
    caught = int(status.partition("SigCgt:")[2].split()[0], 16)
    return is_script and bool(caught >> (signal.SIGTERM - 1) & 1)


def test_a_process_that_only_has_a_trials_old_number_is_left_alone(tmp_path: Path) -> None:
    stranger = subprocess.Popen(["sleep", "600"])
    file = tmp_path / ".protein-sky" / "jobs" / "s-1-1.0" / "pid"
    file.parent.mkdir(parents=True)
    file.write_text(f"{stranger.pid}\n")
    preempt(tmp_path)
    assert stranger.poll() is None
    stranger.kill()
    stranger.wait()


# --- standing still ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "script", ["sleep 600", "trap 'exit 75' TERM; while :; do sleep 0.1; done"]
)
def test_a_trial_that_writes_nothing_more_is_ended_and_not_tried_again(
    job: Job, tmp_path: Path, script: str
) -> None:
    said = printed(run(replace(job, script=script, stall_seconds=0.4), tmp_path / "m"), job.name)
    assert (said.exit_code, said.is_stalled, said.is_timeout) == (STALLED_EXIT_CODE, True, False)


@pytest.mark.parametrize(
    "where",
    [
        "/dev/stdout",
        pytest.param("/dev/stderr", marks=pytest.mark.slow),
        pytest.param('"$PROTEIN_RUN_DIR/metrics.jsonl"', marks=pytest.mark.slow),
    ],
)
def test_a_trial_that_goes_on_writing_is_left_alone(job: Job, tmp_path: Path, where: str) -> None:
    script = f"for n in {{1..10}}; do echo '{{}}' >>{where}; sleep 0.6; done"
    said = printed(run(replace(job, script=script, stall_seconds=3.0), tmp_path / "m"), job.name)
    assert (said.exit_code, said.is_stalled) == (0, False)


@pytest.mark.parametrize(
    ("told", "code", "left_with", "is_stalled"),
    [
        ("stalled", 3, STALLED_EXIT_CODE, True),
        ("stalled", 0, 0, False),
        ("{stalled,preempted}", 3, 75, False),
    ],
)
def test_who_ends_well_is_not_stalled_and_who_loses_its_machine_is_not_either(
    job: Job, tmp_path: Path, told: str, code: int, left_with: int, is_stalled: bool
) -> None:
    script = f'touch "$HOME/.protein-sky/jobs/s-1-1.0/"{told}; exit {code}'
    said = printed(run(replace(job, script=script, stall_seconds=600.0), tmp_path / "m"), job.name)
    assert (said.exit_code, said.is_stalled) == (left_with, is_stalled)


def test_a_trial_that_is_watched_is_heard_to_its_last_word(job: Job, tmp_path: Path) -> None:
    script = "seq 5000; seq 5001 10000 >&2; exit 3"
    said = printed(run(replace(job, script=script, stall_seconds=600.0), tmp_path / "m"), job.name)
    assert said.lines[:10_000] == [str(n) for n in range(1, 10_001)]
    assert (said.exit_code, said.is_stalled) == (3, False)


# --- turns ---------------------------------------------------------------------------------------


def test_on_one_machine_jobs_take_turns(job: Job, tmp_path: Path) -> None:
    home, waits = tmp_path / "machine", 'while [ ! -e "$HOME/go" ]; do sleep 0.05; done'
    first = start(replace(job, script=f'touch "$HOME/first"; {waits}'), home)
    eventually((home / "first").exists)
    second = start(replace(job, name="s-2-1", script='touch "$HOME/second"'), home)
    eventually((home / ".protein-sky/jobs/s-2-1.0").exists)
    assert not (home / "second").exists()
    (home / "go").touch()
    said = [printed(first.communicate()[0], job.name), printed(second.communicate()[0], "s-2-1")]
    assert [one.exit_code for one in said] == [0, 0]
    assert (said[0].ended_at or 0) <= (said[1].started_at or 0)


def test_a_process_that_a_job_left_behind_keeps_nobodys_turn(job: Job, tmp_path: Path) -> None:
    home = tmp_path / "machine"
    left = 'setsid sleep 600 >/dev/null 2>&1 </dev/null & echo $! >"$HOME/left"'
    assert printed(run(replace(job, script=left), home), job.name).exit_code == 0
    second = replace(job, name="s-2-1", script="true")
    assert printed(run(second, home), "s-2-1").exit_code == 0
    os.kill(int((home / "left").read_text()), signal.SIGKILL)
