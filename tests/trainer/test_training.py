"""Whole runs in this process: they learn, end as they should, and go on where they stopped."""

import os
import shutil
import signal

import numpy as np
import pytest
import torch

from tests.trainer.countdown import Brittle
from tests.trainer.training import config, is_number, metrics, result, run_in
from trainer.advantage import gae
from trainer.checkpoint import Checkpoints
from trainer.output import read_cost
from trainer.train import as_sequences, episode_metrics, schedule

LEARN = ("trainer.total_timesteps=4096", "trainer.batch_size=512", "trainer.learning_rate=0.02")

REMEMBER = ("env.difficulty=0", "model.num_layers=1", "trainer.total_timesteps=20000")


@pytest.fixture
def train(tmp_path, monkeypatch):
    def run(*overrides, folder="run"):
        code = run_in(tmp_path / folder, *overrides, monkeypatch=monkeypatch)
        return code, tmp_path / folder

    return run


def test_a_run_hands_back_metrics_and_a_result(train):
    code, folder = train()
    assert code == 0
    document = result(folder)
    assert document["schema_version"] == 1
    assert document["status"] == "completed"
    assert document["cost_seconds"] > 0
    assert document["metrics"]["steps"] == 256
    assert is_number(document["metrics"]["reward"])
    assert [line["step"] for line in metrics(folder)] == [64, 128, 192, 256]
    assert all(is_number(line["time"]) for line in metrics(folder))


def test_every_line_tells_what_the_documentation_promises(train, capsys):
    _, folder = train("trainer.total_timesteps=640")
    promised = {
        "step", "time", "learning_rate", "steps_per_second", "cost_seconds",
        "seconds/env", "seconds/forward", "seconds/train",
        "losses/policy_loss", "losses/value_loss", "losses/entropy", "losses/kl",
        "losses/clip_fraction", "losses/grad_norm", "losses/explained_variance",
    }  # fmt: skip
    lines = metrics(folder)
    assert all(promised <= line.keys() for line in lines)
    assert any({"episode/return", "episode/length"} <= line.keys() for line in lines)
    last = capsys.readouterr().err.splitlines()[-1]
    assert "640 of 640 steps" in last
    assert "0 s left" in last
    assert not any("episode/return/cartpole" in line for line in lines)  # there is one task only


def test_where_no_episode_ended_the_progress_shows_none(train, capsys):
    endless = ("env.kwargs.length=1000", "env.kwargs.limit=300")
    _, folder = train("env.name=tests.trainer.countdown:Countdown", *endless)
    assert [line["episode/count"] for line in metrics(folder)] == [0, 0, 0, 0]
    assert not any("episode/return" in line for line in metrics(folder))
    assert "256 of 256 steps  return –  " in capsys.readouterr().err


def test_the_same_seed_gives_the_same_run_and_another_gives_another(train):
    scores = [
        result(train(*LEARN, f"seed={seed}", folder=f"{i}")[1])["metrics"]["losses/value_loss"]
        for i, seed in enumerate([1, 1, 2])
    ]
    assert scores[0] == scores[1] != scores[2]


@pytest.mark.parametrize(
    ("name", "best", "extra"),
    [
        ("tests.trainer.countdown:Pair", 2.0, ()),
        ("tests.trainer.countdown:Spot", 1.0, ()),
        ("tests.trainer.countdown:Steer", 0.0, ("trainer.total_timesteps=8192",)),
        ("tests.trainer.countdown:Pair", 2.0, ("trainer.precision=bfloat16",)),
        ("recall", 1.0, (*REMEMBER, "model.recurrence=gru")),
        pytest.param("recall", 1.0, (*REMEMBER, "model.recurrence=lstm"), marks=pytest.mark.slow),
    ],
)
def test_every_kind_of_action_and_observation_learns(train, name, best, extra):
    _, folder = train(*LEARN, f"env.name={name}", "evaluation.num_episodes=32", *extra)
    assert result(folder)["metrics"]["reward"] > best - 0.25


@pytest.mark.parametrize(
    "overrides",
    [
        ("trainer.batch_size=1", "trainer.total_timesteps=3"),
        ("trainer.batch_size=33", "trainer.minibatch_size=1000"),
        ("trainer.batch_size=50", "trainer.minibatch_size=1"),
        ("env.num_envs=1",),
        ("env.num_envs=1000",),
        ("model.num_layers=0", "model.hidden_size=1"),
        ("trainer.gamma=0", "trainer.gae_lambda=0", "trainer.entropy_coeff=0"),
        ("trainer.gamma=1", "trainer.gae_lambda=1", "trainer.value_coeff=0"),
        ("trainer.optimizer.type=sgd", "trainer.learning_rate_schedule=cosine"),
        ("trainer.precision=bfloat16", "trainer.value_clip=0.2", "trainer.target_kl=1e-9"),
        ("model.recurrence=lstm", "trainer.bptt_horizon=3", "env.num_envs=5"),
        ("model.normalize_observation=true", "trainer.normalize_reward=true"),
        ("env.name=cogeval", "env.num_envs=2", "evaluation.num_episodes=3"),
        ("trainer.normalize_advantage=false", "evaluation.deterministic=false"),
    ],
)
def test_every_sensible_setting_trains(train, overrides):
    code, folder = train(*overrides)
    assert code == 0
    assert is_number(result(folder)["metrics"]["reward"])


def test_a_loss_that_is_no_number_ends_the_run_as_diverged(train, capsys):
    settings = (
        "trainer.learning_rate=10",
        "trainer.optimizer.type=sgd",
        "trainer.max_grad_norm=1e30",
    )
    code, folder = train(*settings, "trainer.total_timesteps=64000", "trainer.value_coeff=100")
    assert code == 3
    assert result(folder)["status"] == "diverged"
    assert "not a number" in capsys.readouterr().err


def test_smoke_is_short_whatever_is_asked_for_and_the_whole_run_goes_on_from_it(train):
    asked = ("trainer.total_timesteps=4096", "trainer.batch_size=1024", "evaluation.num_episodes=9")
    measure = "evaluation.metrics=tests.trainer.countdown:episodes"
    for smoke, steps, episodes in (("true", 2048, 4), ("false", 4096, 9)):
        code, folder = train(*asked, measure, f"smoke={smoke}")
        assert code == 0
        values = result(folder)["metrics"]
        assert (values["steps"], values["episodes"]) == (steps, episodes)
    assert [line["step"] for line in metrics(folder)] == [1024, 2048, 3072, 4096]


def test_smoke_makes_nothing_longer():
    little = config("smoke=true", "trainer.total_timesteps=64", "evaluation.num_episodes=1")
    assert little.as_run() == little


def test_a_policy_that_moved_too_far_ends_the_update(train):
    """Any movement is too far here: what follows the first pass over a batch is left out."""
    _, stopped = train("trainer.target_kl=1e-12", "trainer.num_epochs=3", folder="stopped")
    _, once = train("trainer.num_epochs=1", folder="once")
    _, thrice = train("trainer.num_epochs=3", folder="thrice")
    assert weights(stopped).equal(weights(once))
    assert not weights(stopped).equal(weights(thrice))


def weights(folder):
    return Checkpoints(folder / "checkpoints", keep=2).load()["weights"]


RESUMABLE = [
    (),
    ("model.recurrence=lstm", "trainer.bptt_horizon=4", "env.name=cogeval"),
    ("model.normalize_observation=true", "trainer.normalize_reward=true", "env.name=swingup"),
]


@pytest.mark.parametrize("overrides", RESUMABLE)
def test_a_run_that_stopped_halfway_ends_as_one_that_did_not(train, overrides):
    """The same weights to the last bit, since the schedule is that of the whole run."""
    settings = (*overrides, "trainer.learning_rate_schedule=constant")
    _, whole = train(*settings, "trainer.total_timesteps=512", folder="whole")
    _, halves = train(*settings, "trainer.total_timesteps=192", folder="halves")  # mid-episode
    assert not weights(halves).equal(weights(whole))
    train(*settings, "trainer.total_timesteps=512", folder="halves")
    assert weights(halves).equal(weights(whole))
    assert [m["step"] for m in metrics(halves)] == [m["step"] for m in metrics(whole)]
    assert result(halves)["metrics"]["reward"] == result(whole)["metrics"]["reward"]


def test_the_cost_of_all_attempts_is_added_up(train):
    _, folder = train("trainer.total_timesteps=64")
    before = result(folder)["cost_seconds"]
    train("trainer.total_timesteps=128")
    assert result(folder)["cost_seconds"] > before


def test_dollars_are_those_of_each_attempts_own_price(train, monkeypatch):
    monkeypatch.setenv("PROTEIN_PRICE_USD_PER_HOUR", "36")
    _, folder = train("trainer.total_timesteps=64")
    first = result(folder)
    assert first["metrics"]["cost_usd"] == pytest.approx(first["cost_seconds"] / 100, rel=0.01)
    at_end = read_cost(folder)
    assert at_end["cost_seconds"] >= first["cost_seconds"]
    monkeypatch.setenv("PROTEIN_PRICE_USD_PER_HOUR", "3.6")
    train("trainer.total_timesteps=128")
    second = result(folder)
    seconds = second["cost_seconds"] - at_end["cost_seconds"]
    dollars = second["metrics"]["cost_usd"] - at_end["cost_usd"]
    assert dollars == pytest.approx(seconds / 1000, rel=0.01)


@pytest.mark.parametrize("price", ["", "0", "-1", "nan", "much"])
def test_without_a_price_there_are_no_dollars(train, monkeypatch, price):
    monkeypatch.setenv("PROTEIN_PRICE_USD_PER_HOUR", price)
    _, folder = train("trainer.total_timesteps=64")
    assert "cost_usd" not in result(folder)["metrics"]


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
@pytest.mark.filterwarnings("default")
def test_compiled_arithmetic_learns_the_same(train):
    runs = [train(f"trainer.compile={c}", folder=c)[1] for c in ("false", "true")]
    losses = [result(folder)["metrics"]["losses/value_loss"] for folder in runs]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


def test_a_finished_run_that_is_started_again_only_scores_again(train):
    _, folder = train()
    first = result(folder)["metrics"]["reward"]
    (folder / "result.json").unlink()
    train()
    assert result(folder)["metrics"]["reward"] == first
    assert len(metrics(folder)) == 4


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_leaves_a_checkpoint_and_no_result(train, monkeypatch, number):
    from trainer.run import Writer

    report = Writer.report

    def report_and_signal(writer, step, values):
        report(writer, step, values)
        if step == 128:
            os.kill(os.getpid(), number)

    monkeypatch.setattr(Writer, "report", report_and_signal)
    code, folder = train()
    assert code == 75
    assert not (folder / "result.json").exists()
    assert Checkpoints(folder / "checkpoints", keep=2).load()["step"] == 192
    code, _ = train()
    assert code == 0
    assert [line["step"] for line in metrics(folder)] == [64, 128, 192, 256]


def test_a_checkpoint_of_another_configuration_is_not_gone_on_from(train, capsys):
    train()
    code, _ = train("trainer.gamma=0.5")
    assert code == 2
    assert "of another run" in capsys.readouterr().err


def test_where_the_clock_ends_an_episode_the_value_is_that_of_its_last_state(train, monkeypatch):
    """Every step shows 0 and leads to 1, where the clock ends the episode."""
    seen = []

    def spy(rewards, values, **kept):
        seen.append((values, kept["next_values"], kept["terminated"]))
        return gae(rewards, values, **kept)

    monkeypatch.setattr("trainer.train.gae", spy)
    clock = ("env.kwargs.length=99", "env.kwargs.limit=1", "trainer.total_timesteps=64")
    assert train("env.name=tests.trainer.countdown:Countdown", *clock)[0] == 0
    values, next_values, terminated = seen[0]
    assert terminated.sum() == 0
    torch.testing.assert_close(values, values[0, 0].expand_as(values))
    assert ((next_values - values).abs() > 1e-3).all()


def test_a_users_environments_are_closed_however_the_run_ends(train, monkeypatch):
    closed = []
    monkeypatch.setattr(Brittle, "close", lambda env: closed.append(env))
    brittle = ("env.name=tests.trainer.countdown:Brittle", "env.num_envs=3")
    assert train(*brittle, "env.kwargs.holds=true")[0] == 0
    assert len(closed) == 3 + 4  # of the training, and of the scoring
    with pytest.raises(ZeroDivisionError):
        train(*brittle, "env.kwargs.holds=false", folder="broken")
    assert len(closed) == 3 + 4 + 3


def test_custom_metrics_are_reported_with_the_rest(train, monkeypatch):
    _, folder = train("evaluation.metrics=tests.trainer.countdown:worst_return")
    values = result(folder)["metrics"]
    assert values["worst_return"] <= values["reward"]


def test_each_task_of_a_mixture_is_scored_and_the_reward_is_their_mean(train):
    _, folder = train("env.name=cogeval", "evaluation.num_episodes=50")
    values = result(folder)["metrics"]
    tasks = [values[f"tasks/{name}"] for name in ("recall", "nback", "bandit", "match", "maze")]
    assert values["reward"] == pytest.approx(np.mean(tasks))


def test_each_task_of_a_mixture_tells_what_its_own_episodes_return(train, capsys):
    """Two environments each: one task's episodes last 2 steps, the other's 8, a point a step."""
    tasks = "tests.trainer.countdown:two_points,tests.trainer.countdown:eight_points"
    _, folder = train("env.name=cogeval", f"env.tasks={tasks}", "env.num_envs=4")
    two, eight = (f"episode/return/{name}" for name in tasks.split(","))
    for line in metrics(folder):
        assert (line["episode/count"], line[two], line[eight]) == (20, 2, 8)
        assert line["episode/return"] == pytest.approx(64 / 20)
    last = capsys.readouterr().err.splitlines()[-1]
    assert f"return 3.20  {tasks.replace(',', ' 2.00  ')} 8.00  " in last


def test_a_task_of_which_no_episode_ended_has_no_return():
    finished = np.array([[0, 2], [0, 3], [0, 8]])
    assert episode_metrics(finished, ("long", "short")) == {
        "episode/count": 2,
        "episode/return": 1.5,
        "episode/length": 4,
        "episode/return/short": 1.5,
    }
    assert episode_metrics(np.zeros((3, 2)), ("long", "short")) == {"episode/count": 0}


def test_sequences_keep_each_environments_steps_together():
    x = torch.arange(12).view(6, 2)  # T = 6, N = 2
    assert as_sequences(x, 3).T.tolist() == [[0, 2, 4], [1, 3, 5], [6, 8, 10], [7, 9, 11]]
    assert as_sequences(x, 1).equal(x.view(1, 12))


def test_schedules_fall_from_one():
    for name, half in (("constant", 1.0), ("linear", 0.5), ("cosine", 0.5)):
        assert schedule(name, 0.0) == 1.0
        assert schedule(name, 0.5) == pytest.approx(half)
