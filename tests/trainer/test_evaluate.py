"""The score at the end, by itself."""

import pytest
import torch
from gymnasium.envs.classic_control import CartPoleEnv

from tests.trainer.training import config
from trainer.distributions import for_space
from trainer.envs import make_env
from trainer.envs.base import Share
from trainer.errors import TrainerError
from trainer.evaluate import custom, evaluate
from trainer.policy import Policy


def evaluation(settings):
    env = make_env(settings.env, Share(0, 2, 2))
    torch.manual_seed(0)
    distribution = for_space(env.action_space)
    policy = Policy(env.observation_space, distribution, config=settings.model)
    return evaluate(policy, settings, device=torch.device("cpu"), stop=lambda: "")


@pytest.mark.parametrize(
    "games",
    [
        ("env.name=CartPole-v1",),
        ("env.name=cogeval", "env.tasks=CartPole-v1,gymnasium.envs.classic_control:CartPoleEnv"),
    ],
)
def test_games_that_are_over_are_not_stepped_while_others_go_on(games, monkeypatch):
    steps, step = [], CartPoleEnv.step
    monkeypatch.setattr(CartPoleEnv, "step", lambda env, a: steps.append(a) or step(env, a))
    drawn = ("evaluation.num_episodes=20", "evaluation.deterministic=false")
    played = evaluation(config(*games, *drawn))
    assert len(set(played.lengths)) > 5
    assert len(steps) == played.lengths.sum() == played.returns.sum()


def test_every_task_is_played_also_where_fewer_episodes_were_asked_for():
    tasks = "env.tasks=CartPole-v1,gymnasium.envs.classic_control:CartPoleEnv"
    played = evaluation(config("env.name=cogeval", tasks, "evaluation.num_episodes=1"))
    assert played.task_of.tolist() == [0, 1]


def test_what_a_users_measure_makes_must_be_numbers():
    with pytest.raises(TrainerError, match="dict"):
        custom(lambda _policy, _evaluation: 3, None, None)
    with pytest.raises(TrainerError, match="numbers"):
        custom(lambda _policy, _evaluation: {"best": "all"}, None, None)
