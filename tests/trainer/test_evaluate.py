"""The score at the end, by itself."""

import pytest
import torch
from gymnasium.envs.classic_control import CartPoleEnv

from tests.trainer.training import config
from trainer.distributions import for_space
from trainer.envs import make_env
from trainer.envs.base import Share
from trainer.evaluate import evaluate
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
