"""Nodes that a user starts by hand: two executors over one folder, as two machines share it."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from launcher.errors import ExecutorError
from launcher.executors.local import LocalExecutor
from launcher.executors.place import Place
from launcher.executors.worker import INTERRUPTED, Worker
from launcher.ports import Job, Outcome, Phase
from tests.launcher.waiting import eventually

ADDRESS = "127.0.0.1"
HANG = "sleep 1000"


class Machines:
    """Node 0, and the worker that is node 1."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.first = LocalExecutor(folder, grace_seconds=0.5, place=Place(0, 2, ADDRESS))
        self.worker = self.another_worker()

    def another_worker(self) -> Worker:
        executor = LocalExecutor(self.folder, grace_seconds=0.5, place=Place(1, 2, ADDRESS))
        return Worker(self.folder, executor, {"TOKEN": "canary"})

    def submit(self, script: str, *, secrets: bool = False) -> Job:
        run = self.folder / "runs" / "run-1"
        run.mkdir(parents=True)
        (run / "dist_job-1.yaml").write_text("run: run-1\nattempt: 1\nnum_nodes: 2\n")
        mine = {"TOKEN": "canary"} if secrets else {}
        job = Job("job-1", "run-1", 1, run, self.folder, script, ("a b",), secrets=mine, nodes=2)
        self.first.submit(job)
        return job

    def until_over(self) -> Outcome:
        def look() -> Outcome | None:
            self.worker.look()
            outcome = self.first.poll(["job-1"])["job-1"]
            return outcome if outcome.is_over else None

        outcome = eventually(look)
        assert outcome is not None
        return outcome

    def until_both_run(self) -> None:
        while not self.worker.look():
            time.sleep(0.01)


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[Machines]:
    made = Machines(tmp_path)
    yield made
    made.first.cancel(made.first.names(""))
    eventually(made.worker.leave)
    eventually(lambda: not made.first.names(""))


def logs(job: Job) -> list[str]:
    return [(job.run_dir / log).read_text() for log in ("train.log", "train.node1.log")]


def test_two_machines_run_one_trial_and_meet(machines: Machines) -> None:
    script = """
        echo "$NODE_INDEX/$NUM_NODES at $MASTER_ADDR:$MASTER_PORT with $1 ${#TOKEN}"
        touch "here-$NODE_INDEX"; until [ -e here-0 ] && [ -e here-1 ]; do sleep 0.02; done
    """
    job = machines.submit(script, secrets=True)
    assert machines.until_over().exit_code == 0
    first, second = (log.splitlines()[-1] for log in logs(job))
    assert first.startswith("0/2 at 127.0.0.1:")
    assert first.endswith(" with a b 6")
    assert second == first.replace("0/2", "1/2")


def test_a_node_that_fails_on_another_machine_fails_the_attempt(machines: Machines) -> None:
    machines.submit(f"[ $NODE_INDEX = 1 ] && exit 9; {HANG}")
    outcome = machines.until_over()
    assert (outcome.phase, outcome.exit_code) == (Phase.EXITED, 9)


def test_what_ends_node_0_ends_the_node_on_the_other_machine(machines: Machines) -> None:
    machines.submit(HANG)
    machines.until_both_run()
    machines.first.cancel(["job-1"])
    assert machines.until_over().phase is Phase.KILLED
    eventually(lambda: [line for line in machines.worker.look() if "ended" in line])
    assert not machines.worker.executor.names("")


def test_a_worker_that_must_leave_hands_the_attempt_back(machines: Machines) -> None:
    machines.submit(HANG)
    machines.until_both_run()
    eventually(machines.worker.leave)
    assert not machines.worker.executor.names("")
    assert machines.until_over().exit_code == INTERRUPTED


def test_a_worker_that_is_started_again_finds_its_node(machines: Machines) -> None:
    machines.submit(f'echo once >> "starts-$NODE_INDEX"; {HANG}')
    machines.until_both_run()
    starts = machines.folder / "starts-1"
    eventually(lambda: starts.exists() and starts.read_text())
    machines.worker = machines.another_worker()
    machines.until_both_run()
    assert starts.read_text() == "once\n"


def test_a_worker_that_comes_late_leaves_old_attempts_alone(machines: Machines) -> None:
    machines.submit("exit 0")
    eventually(lambda: machines.first.poll(["job-1"])["job-1"].is_over)
    assert machines.another_worker().look() == []


def test_a_machine_that_does_not_see_the_workdir_says_so(machines: Machines) -> None:
    job = machines.submit(HANG)
    elsewhere = machines.folder / "gone"
    asked = job.run_dir / "attempts/1/job.json"
    eventually(asked.exists)
    asked.write_text(asked.read_text().replace(f'"{machines.folder}"', f'"{elsewhere}"'))
    with pytest.raises(ExecutorError, match="working folder does not exist"):
        machines.worker.look()
    assert machines.until_over().exit_code == INTERRUPTED


@pytest.mark.parametrize("note", ["", "attempt: ../../x", "- 1", "attempt: 9", "a: [", "\x00"])
def test_a_note_that_a_trial_spoiled_starts_nothing(machines: Machines, note: str) -> None:
    run = machines.folder / "runs" / "run-2"
    run.mkdir(parents=True)
    (run / "dist_spoiled.yaml").write_text(note)
    assert machines.worker.look() == []
