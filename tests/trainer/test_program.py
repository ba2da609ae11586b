"""The program as others start it: its own process, its exit codes, its ranks."""

import json
import os
import signal
import subprocess
import sys

import psutil
import pytest

from tests.launcher.waiting import eventually
from tests.trainer.training import ROOT, SMALL, metrics, result, run_in
from trainer import parse
from trainer.__main__ import main
from trainer.checkpoint import Checkpoints
from trainer.output import NoLog
from trainer.ranks import listens
from trainer.run import Writer, run


def start(folder, *overrides, **variables):
    """The trainer as its own process, in a group of its own, with its output piped."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("WANDB_", "PROTEIN_"))}
    environment = {
        **clean,
        "PROTEIN_RUN_DIR": str(folder),
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        **{name: str(value) for name, value in variables.items()},
    }
    command = [sys.executable, "-m", "trainer", *SMALL, *overrides]
    return subprocess.Popen(
        command, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def finish(process):
    """Its exit code and what it said."""
    said = process.communicate(timeout=100)[1]
    return process.returncode, said


def wait_until(reached, process):
    """Until `reached()`, as long as the process lives."""
    while not reached():
        try:
            process.wait(timeout=0.02)
        except subprocess.TimeoutExpired:
            continue
        pytest.fail(f"it ended too early: {process.communicate()[1]}")


def ranks(folder, world, *overrides, port, run_ids=None):
    """`world` ranks that meet; returns their exit codes and what they said."""
    place = {"NUM_NODES": world, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    shared = {"PROTEIN_CHECKPOINT_DIR": folder / "shared"}
    processes = [
        start(
            folder / f"{i}",
            *overrides,
            NODE_INDEX=i,
            PROTEIN_RUN_ID=run_ids[i] if run_ids else "same",
            **place,
            **shared,
        )
        for i in range(world)
    ]
    codes, said = zip(*(finish(process) for process in processes), strict=True)
    return list(codes), said


def test_a_file_is_checked_without_training(tmp_path, capsys):
    file = tmp_path / "c.yaml"
    file.write_text("trainer:\n  gamma: 0.9\n")
    assert main(["--check", str(file)]) == 0
    assert "is valid" in capsys.readouterr().out
    file.write_text("trainer:\n  gama: 0.9\n")
    assert main(["--check", str(file)]) == 2
    assert "c.yaml:2:3" in capsys.readouterr().err


def test_help_names_every_key_and_its_sentence(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    for option in parse.options():
        assert option.key in text
        assert option.rule.sentence in text


def test_a_mistake_in_the_config_is_exit_code_2_without_a_traceback(tmp_path):
    code, said = finish(start(tmp_path, "trainer.gama=1"))
    assert code == 2
    assert "did you mean trainer.gamma?" in said
    assert "Traceback" not in said


def test_a_missing_gpu_is_told_at_once_with_the_file_to_use(tmp_path):
    code, said = finish(start(tmp_path, "device=cuda", CUDA_VISIBLE_DEVICES=""))
    assert code == 2
    assert "+hardware=macbook" in said


@pytest.mark.parametrize("package", ["torch", "gymnasium"])
def test_a_package_without_which_nothing_trains_is_named_with_its_extra(
    package, monkeypatch, capsys
):
    monkeypatch.setitem(sys.modules, package, None)
    assert main(["seed=1"]) == 2
    said = capsys.readouterr().err
    assert f"the trainer needs {package}, not installed" in said
    assert "pip install 'protein-sky[trainer]'" in said


@pytest.mark.parametrize(
    ("mistake", "said"),
    [
        ("evaluation.metrics=tests.trainer.countdown:Nothing", "cannot be imported"),
        ("env.kwargs.colour=red", "unexpected keyword argument 'colour'"),
    ],
)
def test_a_mistake_of_any_kind_is_told_before_the_training(
    tmp_path, mistake, said, monkeypatch, capsys
):
    assert run_in(tmp_path, "env.name=CartPole-v1", mistake, monkeypatch=monkeypatch) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "metrics.jsonl").exists()


def test_a_folder_that_cannot_be_made_is_no_fault_of_the_parameters(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").touch()
    assert run_in(tmp_path / "file" / "run", monkeypatch=monkeypatch) == 75
    assert "file/run: cannot be written" in capsys.readouterr().err


def test_a_second_ctrl_c_ends_it_at_once_without_a_traceback(tmp_path, monkeypatch, capsys):
    def report_and_press(writer, step, values):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Writer, "report", report_and_press)
    assert run_in(tmp_path, monkeypatch=monkeypatch) == 128 + signal.SIGINT
    assert "ended by Ctrl-C" in capsys.readouterr().err


WORKERS = (
    "env.name=CartPole-v1",
    "vectorization=multiprocessing",
    "trainer.num_workers=2",
    "trainer.total_timesteps=100000000",
)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_all_of_its_processes_leaves_a_checkpoint_and_none_of_them(tmp_path, number):
    """As the launcher sends SIGTERM, and a terminal Ctrl-C."""
    process = start(tmp_path, *WORKERS)
    wait_until((tmp_path / "metrics.jsonl").exists, process)
    os.killpg(process.pid, number)
    code, said = finish(process)
    assert code == 75, said
    assert f"{number.name} after" in said
    assert "Traceback" not in said
    assert Checkpoints(tmp_path / "checkpoints", keep=2).load() is not None
    assert eventually(lambda: is_gone(process.pid))


def test_processes_of_a_trainer_that_is_killed_end_by_themselves(tmp_path):
    process = start(tmp_path, *WORKERS)
    wait_until((tmp_path / "metrics.jsonl").exists, process)
    process.kill()
    assert "Traceback" not in finish(process)[1]
    assert eventually(lambda: is_gone(process.pid))


def is_gone(group):
    """Whether no process of the group is at work; zombies of a machine that reaps none are not."""
    return not any(
        process.info["status"] != psutil.STATUS_ZOMBIE and group_of(process.pid) == group
        for process in psutil.process_iter(["status"])
    )


def group_of(pid):
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return None


def test_training_does_not_import_what_costs_seconds(tmp_path):
    code = (
        "import sys\n"
        "from trainer.__main__ import main\n"
        f"assert main({list(SMALL)!r}) == 0\n"
        "print([m for m in ('torch._dynamo', 'wandb', 'launcher', 'protein') if m in sys.modules])"
    )
    environment = {**os.environ, "PROTEIN_RUN_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    environment.pop("WANDB_MODE", None)
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_two_ranks_give_what_one_gives(tmp_path, port):
    settings = ("env.name=cogeval", "model.recurrence=gru", "env.num_envs=7", "device=cpu")
    codes, said = ranks(tmp_path, 2, *settings, port=port)
    assert codes == [0, 0], said
    alone = start(tmp_path / "alone", *settings)
    assert finish(alone)[0] == 0
    one = Checkpoints(tmp_path / "alone" / "checkpoints", keep=2).load()["weights"]
    two = Checkpoints(tmp_path / "shared", keep=2).load()["weights"]
    assert (one - two).abs().max() < 1e-5
    assert result(tmp_path / "0")["metrics"]["reward"] == pytest.approx(
        result(tmp_path / "alone")["metrics"]["reward"], abs=1e-4
    )
    told, told_alone = (episodes(tmp_path / folder) for folder in ("0", "alone"))
    assert told == pytest.approx(told_alone)
    assert "episode/return/recall" in {name for _, name in told}
    assert not (tmp_path / "1" / "result.json").exists()


def episodes(folder):
    """What each line of metrics.jsonl tells of episodes, by step and name."""
    return {
        (line["step"], name): value
        for line in metrics(folder)
        for name, value in line.items()
        if name.startswith("episode/")
    }


@pytest.mark.slow
def test_ranks_of_different_runs_refuse_to_train_together(tmp_path, port):
    codes, said = ranks(tmp_path, 2, port=port, run_ids=["one", "other"])
    assert codes == [1, 1]
    assert all("one, other" in text for text in said)


def test_wandb_has_started_before_ranks_wait_for_each_other(tmp_path, monkeypatch):
    """It may take longer than they do."""
    began = []
    monkeypatch.setattr("trainer.output.wandb_log", lambda *_: began.append("wandb") or NoLog())
    monkeypatch.setattr("trainer.ranks.Ranks._join", lambda *_: began.append("join"))
    monkeypatch.setattr("trainer.train.train", lambda *_: {})
    config = parse.load(None)
    monkeypatch.setenv("PROTEIN_RUN_DIR", str(tmp_path))
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert run(config, started=0.0, stop=lambda: "") == 0
    assert began == ["wandb", "join"]


def test_a_rank_that_dies_ends_the_others_with_a_clear_message(tmp_path, port):
    place = {"NUM_NODES": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    long = ("trainer.total_timesteps=100000000",)
    first, second = (start(tmp_path / f"{i}", *long, NODE_INDEX=i, **place) for i in range(2))
    wait_until((tmp_path / "0" / "metrics.jsonl").exists, first)
    second.kill()
    assert finish(second)[0] == -signal.SIGKILL
    code, said = finish(first)
    assert code == 75
    assert "rank 0 of 2 lost the others" in said


def test_a_rank_that_is_stopped_while_it_waits_for_others_says_so(tmp_path, port):
    place = {"NODE_INDEX": 0, "NUM_NODES": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    process = start(tmp_path, **place)
    wait_until(lambda: listens("127.0.0.1", port), process)
    process.terminate()
    code, said = finish(process)
    assert code == 75
    assert "SIGTERM before all ranks were there" in said
    assert "Traceback" not in said


@pytest.mark.slow
def test_a_machine_with_two_ranks_starts_them_and_passes_signals_on(tmp_path):
    long = ("num_processes=2", "trainer.total_timesteps=100000000")
    process = start(tmp_path, *long)
    wait_until((tmp_path / "metrics.jsonl").exists, process)
    process.terminate()
    code, said = finish(process)
    assert code == 75
    assert "SIGTERM after" in said
    stopped = Checkpoints(tmp_path / "checkpoints", keep=2).load()
    assert len(stopped["ranks"]) == 2


def test_a_run_that_is_stopped_while_it_is_scored_has_only_that_left_to_do(tmp_path, monkeypatch):
    """The episodes of the scoring end when the file is there: not before the signal."""
    gate = tmp_path / "gate"
    settings = ("env.name=tests.trainer.countdown:Held", f"env.kwargs.until={gate}")
    stopped = start(tmp_path / "stopped", *settings)
    wait_until(lambda: steps_so_far(tmp_path / "stopped") == 256, stopped)
    stopped.terminate()
    code, said = finish(stopped)
    assert code == 75
    assert "SIGTERM while the policy was scored" in said
    assert not (tmp_path / "stopped" / "result.json").exists()

    report = Writer.report

    def report_and_open(writer, step, values):
        report(writer, step, values)
        if step == 256:
            gate.touch()

    monkeypatch.setattr(Writer, "report", report_and_open)
    assert run_in(tmp_path / "whole", *settings, monkeypatch=monkeypatch) == 0
    lines = (tmp_path / "stopped" / "metrics.jsonl").read_text()
    assert run_in(tmp_path / "stopped", *settings, monkeypatch=monkeypatch) == 0
    assert (tmp_path / "stopped" / "metrics.jsonl").read_text() == lines
    names = ("reward", "steps", "losses/value_loss")
    one, other = (result(tmp_path / folder)["metrics"] for folder in ("whole", "stopped"))
    assert [one[name] for name in names] == [other[name] for name in names]


@pytest.mark.slow
def test_four_ranks_give_what_one_gives(tmp_path, port):
    settings = ("env.name=swingup", "env.num_envs=8", "model.normalize_observation=true")
    codes, said = ranks(tmp_path, 4, *settings, port=port)
    assert codes == [0] * 4, said
    alone = start(tmp_path / "alone", *settings)
    assert finish(alone)[0] == 0
    one = Checkpoints(tmp_path / "alone" / "checkpoints", keep=2).load()["weights"]
    four = Checkpoints(tmp_path / "shared", keep=2).load()["weights"]
    assert (one - four).abs().max() < 1e-4


@pytest.mark.slow
@pytest.mark.timeout(600)  # twelve starts of Python and torch
def test_a_run_that_is_killed_ten_times_ends_as_an_undisturbed_one(tmp_path):
    """It never comes to its end before it is killed, however late that is."""
    whole, killed, allowed = tmp_path / "whole", tmp_path / "killed", tmp_path / "allowed"
    settings = (
        "trainer.total_timesteps=6400",
        "checkpoint.interval_seconds=0",
        "evaluation.metrics=tests.trainer.countdown:once_allowed",
    )
    for kill in range(10):
        process = start(killed, *settings, ALLOWED=allowed)
        wait_until(lambda goal=640 * kill + 64: steps_so_far(killed) >= goal, process)
        process.kill()
        assert finish(process)[0] == -signal.SIGKILL
    allowed.touch()
    for folder in (killed, whole):
        assert finish(start(folder, *settings, ALLOWED=allowed))[0] == 0
    assert [m["step"] for m in metrics(killed)] == [m["step"] for m in metrics(whole)]
    assert result(killed)["metrics"]["reward"] == result(whole)["metrics"]["reward"]
    assert len(list((killed / "checkpoints").glob("checkpoint-*"))) == 2


def steps_so_far(folder):
    file = folder / "metrics.jsonl"
    if not file.exists():
        return 0
    lines = file.read_text().splitlines()
    try:
        return json.loads(lines[-1])["step"] if lines else 0
    except ValueError:
        return 0


@pytest.mark.slow
def test_torchrun_starts_the_ranks_of_a_machine(tmp_path):
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("WANDB_", "PROTEIN_"))}
    environment = {**clean, "PROTEIN_RUN_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    run = ["torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "trainer"]
    done = subprocess.run(
        [sys.executable, "-m", *run, *SMALL], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert result(tmp_path)["metrics"]["steps"] == 256


@pytest.mark.slow
def test_wandb_gets_what_the_run_logs(tmp_path):
    pytest.importorskip("wandb")
    process = start(tmp_path, WANDB_MODE="offline", WANDB_DIR=tmp_path, WANDB_RUN_ID="abc")
    code, said = finish(process)
    assert code == 0, said
    (log,) = tmp_path.glob("wandb/offline-run-*-abc/run-abc.wandb")
    assert b"losses/entropy" in log.read_bytes()
    assert b"reward_ci95" in log.read_bytes()
