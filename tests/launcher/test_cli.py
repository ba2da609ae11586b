"""The command line as people use it: real processes, real trials, in a folder of their own."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.launcher.waiting import eventually

SWEEP = """\
sweep:
  metric: score
  goal: maximize
  num_random_samples: 2
  parameters:
    x: {min: 0, max: 1}
    offset: 2
task:
  run: |
    echo "PROTEIN_RESULT {\\"score\\": $PROTEIN_PARAM_X}"
trials: 3
parallel: 2
"""
SLOW = SWEEP.replace("    echo", "    sleep 1000; echo")


class Place:
    """A folder with a sweep file, and the command line in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.write(SWEEP)

    def write(self, text: str, name: str = "small.yaml") -> Path:
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        return path

    def run(self, *args: str, expect: int = 0) -> subprocess.CompletedProcess[str]:
        ran = subprocess.run(
            [sys.executable, "-m", "launcher", *args],
            cwd=self.folder,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            env=self.environment,
            check=False,
        )
        assert ran.returncode == expect, (ran.stdout, ran.stderr)
        assert "Traceback" not in ran.stderr
        return ran

    def start(self, *args: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "launcher", *args],
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=self.environment,
        )

    @property
    def environment(self) -> dict[str, str]:
        root = str(Path(__file__).parents[2])
        return {**os.environ, "PYTHONPATH": root, "COLUMNS": "100", "NO_COLOR": "1"}

    def status(self, name: str = "small") -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.run("status", name, "--json").stdout)
        return document

    def running(self, name: str = "small") -> int:
        if not (self.folder / "train_dir" / "sweep" / name / "sweep.db").exists():
            return 0
        return int(self.status(name)["counts"]["running"])


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_a_sweep_runs_from_the_file_to_the_best_parameters(place: Place) -> None:
    ran = place.run("launch", "small.yaml")
    assert "trial 3" in ran.stdout
    status = place.status()
    assert (status["state"], status["counts"]["succeeded"]) == ("completed", 3)
    best = json.loads(place.run("best", "small", "--json").stdout)["best"]
    assert best["score"] == max(trial["score"] for trial in status["trials"])
    assert f"x: {best['params']['x']}" in place.run("best", "--yaml").stdout
    assert "completed" in place.run("status").stdout
    assert "small" in place.run("ls").stdout


def test_the_best_of_two_objectives_shows_both(place: Place) -> None:
    two = SWEEP.replace(
        "maximize\n", "maximize\n  second_objective: {metric: size, goal: minimize}\n"
    )
    place.write(two.replace("$PROTEIN_PARAM_X", '$PROTEIN_PARAM_X, \\"size\\": $PROTEIN_PARAM_X'))
    place.run("launch", "small.yaml")
    best = json.loads(place.run("best", "--json").stdout)["best"]
    assert best["second"] == best["score"]
    assert "\nsize 0." in place.run("best").stdout


def test_the_parameters_of_a_trial_are_its_score_here(place: Place) -> None:
    place.run("launch", "small.yaml")
    for trial in place.status()["trials"]:
        assert trial["score"] == pytest.approx(trial["params"]["x"])
        assert trial["params"]["offset"] == 2


def test_launching_a_finished_sweep_again_runs_nothing(place: Place) -> None:
    place.run("launch", "small.yaml")
    before = place.status()["trials"]
    again = place.run("launch", "small.yaml")
    assert "has ended already" in again.stderr
    assert place.status()["trials"] == before


def test_a_changed_file_does_not_change_a_sweep_silently(place: Place) -> None:
    place.run("launch", "small.yaml")
    refused = place.run("launch", "small.yaml", "--trials", "5", expect=2)
    assert "trials: 3 there, 5 here" in refused.stderr


def test_a_sweep_can_be_extended_after_its_end(place: Place) -> None:
    place.run("launch", "small.yaml")
    assert "trials: 3 -> 4" in place.run("extend", "small", "--trials", "4").stdout
    place.run("resume", "small")
    assert place.status()["counts"]["succeeded"] == 4


def test_enqueued_parameters_run_next(place: Place) -> None:
    place.run("launch", "small.yaml")
    place.run("extend", "small", "--trials", "4")
    queued = place.run("enqueue", "small", "x=0.125")
    assert "it runs after: protein-sky resume small" in queued.stderr
    assert "no trial is left" not in queued.stderr
    own = place.write("x: 0.25\n", "own.yaml")
    more = place.run("enqueue", "small", "--params", str(own))
    assert "queued x=0.25" in more.stderr
    assert "no trial is left: protein-sky extend small --trials 5" in more.stderr
    place.run("resume", "small")
    trial = place.status()["trials"][3]
    assert (trial["params"]["x"], trial["score"]) == (0.125, 0.125)


@pytest.mark.parametrize(
    ("assignment", "message"),
    [("y=1", "no parameter 'y'"), ("x=7", "outside its range"), ("x", "PARAMETER=VALUE")],
)
def test_enqueueing_nonsense_is_refused(place: Place, assignment: str, message: str) -> None:
    place.run("launch", "small.yaml")
    assert message in place.run("enqueue", "small", assignment, expect=2).stderr


def test_a_killed_coordinator_loses_nothing_and_starts_nothing_twice(place: Place) -> None:
    place.write(
        SWEEP.replace(
            "    echo", "    echo started >> starts; until [ -f go ]; do sleep 0.1; done; echo"
        )
    )
    first = place.start("launch", "small.yaml")
    eventually(lambda: place.running() == 2)
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert place.status()["state"] == "interrupted"
    (place.folder / "go").touch()
    place.run("launch", "small.yaml")
    assert place.status()["counts"]["succeeded"] == 3
    assert (place.folder / "starts").read_text().count("started") == 3
    assert all(len(trial["attempts"]) == 1 for trial in place.status()["trials"])


def test_a_trial_that_is_interrupted_goes_on_from_its_checkpoint(place: Place) -> None:
    program = """    cd "$PROTEIN_CHECKPOINT_DIR"
    echo "$PROTEIN_RUN_ID" >> attempts
    [ -f saved ] || { touch saved; exit 75; }
    echo"""
    place.write(SWEEP.replace("    echo", program))
    place.run("launch", "small.yaml", "--set", "execution.retry_delay_seconds=0", "trials=1")
    (trial,) = place.status()["trials"]
    assert [attempt["failure"] for attempt in trial["attempts"]] == ["preempted", None]
    (attempts,) = (place.folder / "train_dir").rglob("checkpoints/attempts")
    assert attempts.read_text().split() == [trial["run_id"]] * 2


def test_a_second_launch_of_a_live_sweep_says_so(place: Place) -> None:
    place.write(SLOW)
    place.run("launch", "small.yaml", "--detach")
    eventually(lambda: place.running() == 2)
    assert "is running already" in place.run("launch", "small.yaml", expect=4).stderr
    place.run("cancel", "small", "--yes")
    eventually(lambda: place.status()["state"] == "cancelled")


def test_a_detached_sweep_can_be_cancelled_and_leaves_no_process(place: Place) -> None:
    place.write(SLOW)
    place.run("launch", "small.yaml", "--detach")
    eventually(lambda: place.running() == 2)
    assert "✓ small-" in place.run("doctor", "small").stdout
    place.run("cancel", "small", "--yes")
    eventually(lambda: place.status()["state"] == "cancelled")
    assert place.status()["counts"]["running"] == 0
    assert "nothing to reap" in place.run("reap", "small").stderr
    eventually(lambda: not place.status()["is_live"])  # it still writes its report
    place.run("rm", "small", "--yes")
    assert not (place.folder / "train_dir" / "sweep" / "small").exists()


def test_removing_a_sweep_leaves_nothing_of_it_and_all_of_the_others(place: Place) -> None:
    place.run("launch", "small.yaml")
    place.run("launch", "small.yaml", "--name", "other")
    refused = place.run("rm", "small", expect=2)
    assert "add --yes" in refused.stderr
    assert place.status()["state"] == "completed"
    place.run("rm", "small", "--yes")
    assert [path.name for path in (place.folder / "train_dir" / "sweep").iterdir()] == ["other"]
    assert place.status("other")["counts"]["succeeded"] == 3
    place.run("status", "small", expect=3)
    place.run("rm", "small", "--yes", expect=3)
    place.run("launch", "small.yaml")  # its name is free again


def test_a_sweep_with_a_coordinator_or_running_trials_is_not_removed(place: Place) -> None:
    place.write(SLOW)
    first = place.start("launch", "small.yaml")
    eventually(lambda: place.running() == 2)
    assert "another coordinator works" in place.run("rm", "small", "--yes", expect=4).stderr
    first.kill()
    first.wait()
    refused = place.run("rm", "small", "--yes", expect=2)
    assert "2 trials of sweep 'small' still run" in refused.stderr
    assert "protein-sky cancel small" in refused.stderr
    assert place.status()["counts"]["running"] == 2
    place.run("cancel", "small", "--yes")
    place.run("rm", "small", "--yes")
    assert list((place.folder / "train_dir" / "sweep").iterdir()) == []


def test_a_trial_that_stops_writing_is_ended_and_teaches(place: Place) -> None:
    place.write(SLOW)
    place.run("launch", "small.yaml", "execution.stall_seconds=0.5", "trials=1")
    (trial,) = place.status()["trials"]
    assert (trial["state"], trial["error"]["class"]) == ("failed", "stalled")
    assert len(trial["attempts"]) == 1
    assert "nothing to reap" in place.run("reap", "small").stderr


def test_whoever_watches_a_detached_sweep_is_told_until_it_ends(place: Place) -> None:
    place.write(SWEEP.replace("    echo", "    until [ -f go ]; do sleep 0.1; done; echo"))
    place.run("launch", "small.yaml", "--detach")
    watching = subprocess.Popen(
        [sys.executable, "-m", "launcher", "status", "small", "--watch"],
        cwd=place.folder,
        env=place.environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert watching.stdout is not None
    assert "small: maximize score" in watching.stdout.readline()
    (place.folder / "go").touch()
    told, _ = watching.communicate()
    assert watching.returncode == 0
    assert "small completed, 3 of 3 trials done" in told


def test_an_interrupted_coordinator_leaves_its_trials_running(place: Place) -> None:
    place.write(SLOW)
    first = place.start("launch", "small.yaml")
    eventually(lambda: place.running() == 2)
    first.send_signal(signal.SIGINT)
    assert first.wait() == 130
    assert place.status()["counts"]["running"] == 2
    assert "no coordinator lives" in place.run("doctor", "small").stdout
    place.run("cancel", "small", "--yes")
    assert place.status()["state"] == "cancelled"


def test_a_crashing_task_pauses_the_sweep_and_shows_why(place: Place) -> None:
    place.write(SWEEP.replace("    echo", "    echo broken pipe fitting; exit 9; echo"))
    ran = place.run("launch", "small.yaml", "--set", "execution.retry_delay_seconds=0", expect=6)
    assert "3 trials in a row broke" in ran.stdout
    error = place.status()["trials"][0]["error"]
    assert (error["class"], error["exit_code"]) == ("crashed", 9)
    assert "broken pipe fitting" in error["message"]
    assert "broken pipe fitting" in place.run("logs", "small", "1").stdout


def test_a_sweep_that_rests_says_how_it_goes_on_and_its_failed_trials_can_be_tried_again(
    place: Place,
) -> None:
    broken = SWEEP.replace("    echo", "    [ -e mended ] || exit 9\n    echo")
    place.write(broken.replace("parallel: 2", "parallel: 1"))
    fast = ("--set", "execution.retry_delay_seconds=0")
    place.run("launch", "small.yaml", *fast, expect=6)
    again = place.run("launch", "small.yaml", *fast, expect=6)
    assert "is paused" in again.stderr
    assert "go on: protein-sky resume small" in again.stderr
    (place.folder / "mended").touch()
    assert "3 trials to try again" in place.run("retry", "small", "--failed").stderr
    place.run("resume", "small")
    assert place.status()["counts"]["succeeded"] == 3
    assert [len(trial["attempts"]) for trial in place.status()["trials"]] == [2, 2, 2]


def test_a_cancelled_sweep_offers_resume(place: Place) -> None:
    place.write(SLOW)
    place.run("launch", "small.yaml", "--detach")
    eventually(lambda: place.running() == 2)
    place.run("cancel", "small", "--yes")
    eventually(lambda: place.status()["state"] == "cancelled")
    eventually(lambda: not place.status()["is_live"])
    assert "go on: protein-sky resume small" in place.run("launch", "small.yaml").stderr


def test_an_edit_is_shown_and_what_would_be_another_sweep_is_refused(place: Place) -> None:
    place.run("launch", "small.yaml")
    changed = ("sweep.parameters.x.max=0.75", "trials=4", "sweep.parameters.y={min: 0, max: 1}")
    shown = place.run("edit", "small", *changed, "--yes")
    assert "sweep.parameters.x.max: 1 -> 0.75" in shown.stdout
    assert "trials: 3 -> 4" in shown.stdout
    assert "y is new: earlier trials count with 0.5" in shown.stderr
    assert "cannot change" in place.run("edit", "small", "sweep.goal=minimize", expect=2).stderr
    place.run("resume", "small")
    last = place.status()["trials"][-1]
    assert last["params"]["x"] <= 0.75
    assert 0 <= last["params"]["y"] <= 1


def test_a_budget_ends_a_sweep_with_its_own_exit_code(place: Place) -> None:
    paid = ["execution.price_usd_per_hour=3600", "execution.timeout_seconds=60", "budget.usd=182"]
    place.write(SWEEP.replace("    echo", "    sleep 2; echo"))
    ran = place.run("launch", "small.yaml", *paid, "parallel=1", "trials=50", expect=5)
    status = place.status()
    assert status["state"] == "budget"
    assert status["budget"]["usd"]["spent"] <= 182
    assert "stopped by its budget (budget.usd 182.00" in ran.stdout
    assert "protein-sky extend small --budget-usd X" in ran.stdout
    left = status["counts"]["total"] - len(status["trials"])
    again = place.run("launch", "small.yaml", *paid, "parallel=1", "trials=50", expect=5)
    assert f"{left} trials left, with a larger budget" in again.stdout


def test_a_time_limit_is_a_failure_that_teaches(place: Place) -> None:
    place.write(SLOW)
    place.run("launch", "small.yaml", "execution.timeout_seconds=0.5", "trials=2")
    assert {t["error"]["class"] for t in place.status()["trials"]} == {"timeout"}


def test_arguments_reach_a_program_unharmed_by_the_shell(place: Place) -> None:
    place.write(
        """\
sweep:
  metric: score
  goal: minimize
  parameters:
    x: {min: 0, max: 1}
    text: "a b'; echo $HOME `id` \\"quoted\\""
task:
  run: |
    printf '%s\\n' ${args} > seen
    echo 'PROTEIN_RESULT {"score": 1}'
trials: 1
"""
    )
    place.run("launch", "small.yaml")
    seen = (place.folder / "seen").read_text().splitlines()
    assert seen[1] == """--text=a b'; echo $HOME `id` "quoted\""""


def test_setup_runs_once_and_its_failure_stops_the_launch(place: Place) -> None:
    place.write(SWEEP.replace("task:\n", "task:\n  setup: echo set up >> setups\n"))
    place.run("launch", "small.yaml")
    assert (place.folder / "setups").read_text() == "set up\n"
    place.write(SWEEP.replace("task:\n", "task:\n  setup: echo no compiler; exit 3\n"), "b.yaml")
    refused = place.run("launch", "b.yaml", expect=1)
    assert "no compiler" in refused.stderr


def test_a_template_says_what_to_fill_in(place: Place) -> None:
    refused = place.run("launch", "empty", expect=2)
    assert "no parameter is tuned" in refused.stderr
    assert not (place.folder / "train_dir").exists()


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["lunch"], 2, "did you mean 'launch'?"),
        (["launch", "no_such_sweep"], 2, "no_such_sweep"),
        (["status"], 3, "no sweeps under"),
        (["status", "nope"], 3, "no sweep 'nope'"),
        (["launch", "small.yaml", "--cloud", "mars"], 2, "mars"),
        (["launch", "small.yaml", "--trials", "0"], 2, "trials"),
        (["launch"], 2, "CONFIG"),
    ],
)
def test_mistakes_are_named_and_start_nothing(
    place: Place, args: list[str], code: int, message: str
) -> None:
    assert message in place.run(*args, expect=code).stderr
    assert not (place.folder / "train_dir").exists()


def test_all_shipped_sweeps_are_valid(place: Place) -> None:
    names = sorted(
        path.stem for path in (Path(__file__).parents[2] / "configs" / "sweep").glob("*.yaml")
    )
    assert {"demo_sweep", "fast", "empty", "protein_simple", "protein_complex"} <= set(names)
    assert place.run("validate", *names).stdout.count(": ok") == len(names)
