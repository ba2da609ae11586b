import gymnasium
import numpy as np
import pytest
import torch

from tests.trainer.autograd import by_torch
from trainer.config import ModelConfig
from trainer.distributions import Categorical, Gaussian
from trainer.normalize import Moments
from trainer.policy import Policy, flatten_parameters
from trainer.ranks import Place, Ranks


def policy(shape=(3,), distribution=None, **model):
    torch.manual_seed(0)
    space = gymnasium.spaces.Box(-1, 1, shape, np.float32)
    config = ModelConfig(**{"hidden_size": 8, **model})
    return Policy(space, distribution or Categorical(2), config=config)


def alone():
    return Ranks(Place(), run_id="", device=torch.device("cpu"))


@pytest.mark.parametrize("recurrence", ["gru", "lstm"])
def test_a_whole_sequence_gives_what_single_steps_give(recurrence):
    net = policy(recurrence=recurrence)
    observations = torch.randn(9, 4, 3)
    starts = (torch.rand(9, 4) < 0.3).float()
    first = torch.randn(4, net.memory_size)
    together, last = net.features(observations, memory=first, starts=starts)
    memory, steps = first, []
    for t in range(9):
        features, memory = net.features(
            observations[t : t + 1], memory=memory, starts=starts[t : t + 1]
        )
        steps.append(features)
    torch.testing.assert_close(together, torch.cat(steps))
    torch.testing.assert_close(last, memory)


@pytest.mark.parametrize("recurrence", ["gru", "lstm"])
def test_memory_is_emptied_where_an_episode_starts(recurrence):
    net = policy(recurrence=recurrence)
    observation, starts = torch.randn(1, 2, 3), torch.tensor([[1.0, 0.0]])
    fresh, _ = net.features(observation, memory=torch.zeros(2, net.memory_size), starts=starts)
    used, _ = net.features(observation, memory=torch.ones(2, net.memory_size), starts=starts)
    assert used[0, 0].equal(fresh[0, 0])
    assert not used[0, 1].equal(fresh[0, 1])


@pytest.mark.parametrize("shape", [(8, 8, 3), (3, 8, 8), (84, 84, 4), (4, 84, 84), (2, 5)])
def test_pictures_become_features(shape):
    net = policy(shape)
    pictures = torch.zeros(2, 3, *shape, dtype=torch.uint8)
    features, _ = net.features(pictures, memory=torch.zeros(3, 0), starts=torch.zeros(2, 3))
    with torch.no_grad():
        assert net.act(features).shape == (2, 3, 2)
        assert net.value(features).shape == (2, 3)


def test_a_picture_is_the_same_whichever_axis_has_the_colours():
    last, first = policy((8, 6, 3)), policy((3, 8, 6))
    picture = torch.randint(0, 256, (1, 1, 8, 6, 3)).float()
    settings = {"memory": torch.zeros(1, 0), "starts": torch.zeros(1, 1)}
    expected, _ = last.features(picture, **settings)
    actual, _ = first.features(picture.permute(0, 1, 4, 2, 3), **settings)
    torch.testing.assert_close(actual, expected)


def test_real_actions_have_deviations_that_learn():
    net = policy(distribution=Gaussian(2))
    with torch.no_grad():
        outputs = net.act(torch.zeros(5, 3))
    assert outputs.shape == (5, 4)
    assert any(p is net.log_deviation for p in net.parameters())


def test_flattened_parameters_and_gradients_are_views():
    net = policy()
    weights = flatten_parameters(net)
    with torch.no_grad():
        weights.fill_(0.5)
        _, _, pull_back = net.act_and_value(torch.ones(1, 3))
        pull_back(torch.ones(1, 2), torch.ones(1))
    assert all((p == 0.5).all() for p in net.parameters())
    expected = torch.cat([p.grad.flatten() for p in net.parameters()])
    assert weights.grad.equal(expected)
    assert weights.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ("shape", "distribution", "model"),
    [
        ((3,), Categorical(2), {}),
        ((3,), Gaussian(2), {}),
        ((3,), Categorical(2), {"recurrence": "gru"}),
        ((3,), Gaussian(2), {"recurrence": "lstm"}),
        ((8, 8, 3), Categorical(2), {}),
    ],
)
def test_the_gradient_of_the_whole_policy_is_autograds(shape, distribution, model):
    net = policy(shape, distribution, **model)
    weights = flatten_parameters(net)
    settings = {"memory": torch.zeros(4, net.memory_size), "starts": torch.zeros(6, 4)}
    observations = torch.rand(6, 4, *shape)

    features, _ = net.features(observations, **settings)
    with torch.no_grad():
        outputs, values, pull_back = net.act_and_value(features)
        pull_back(2 * outputs, 2 * values)
    written_out = weights.grad.clone()

    weights.grad.zero_()
    features, _ = net.features(observations, **settings)
    means = by_torch(net.actor, features)
    parts = [means, by_torch(net.critic, features)]
    if net.log_deviation is not None:
        parts.append(net.log_deviation.expand_as(means))
    sum(part.square().sum() for part in parts).backward()
    torch.testing.assert_close(written_out, weights.grad)


def test_observations_are_seen_relative_to_the_moments():
    net, moments = policy(normalize_observation=True), Moments((3,), alone())
    rows = torch.randn(500, 3) * 4 + 7
    moments.update(rows)
    net.set_normalization(moments)
    seen, _ = net.features(
        rows.unsqueeze(0), memory=torch.zeros(500, 0), starts=torch.zeros(1, 500)
    )
    torch.testing.assert_close(seen[0].mean(0), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(seen[0].std(0), torch.ones(3), atol=1e-2, rtol=0)
