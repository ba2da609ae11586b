import gymnasium
import numpy as np
import pytest
import torch
from torch.distributions import Categorical as TorchCategorical
from torch.distributions import Normal

from trainer.distributions import Categorical, Gaussian, MultiCategorical, for_space
from trainer.errors import ConfigError


def rows(count, width):
    return torch.randn(count, width, generator=torch.Generator().manual_seed(0))


def test_categorical_agrees_with_torch():
    logits, actions = rows(7, 4), torch.arange(7) % 4
    log_prob, entropy, _ = Categorical(4).log_prob_and_entropy(logits, actions)
    reference = TorchCategorical(logits=logits)
    torch.testing.assert_close(log_prob, reference.log_prob(actions))
    torch.testing.assert_close(entropy, reference.entropy())


def test_several_choices_agree_with_torch():
    logits, actions = rows(7, 5), torch.stack([torch.arange(7) % 2, torch.arange(7) % 3], -1)
    log_prob, entropy, _ = MultiCategorical((2, 3)).log_prob_and_entropy(logits, actions)
    first, second = TorchCategorical(logits=logits[:, :2]), TorchCategorical(logits=logits[:, 2:])
    torch.testing.assert_close(
        log_prob, first.log_prob(actions[:, 0]) + second.log_prob(actions[:, 1])
    )
    torch.testing.assert_close(entropy, first.entropy() + second.entropy())


def test_gaussian_agrees_with_torch():
    outputs, actions = rows(7, 4), rows(7, 2)
    log_prob, entropy, _ = Gaussian(2).log_prob_and_entropy(outputs, actions)
    reference = Normal(outputs[:, :2], outputs[:, 2:].exp())
    torch.testing.assert_close(log_prob, reference.log_prob(actions).sum(-1))
    torch.testing.assert_close(entropy, reference.entropy().sum(-1))


@pytest.mark.parametrize(
    ("distribution", "actions"),
    [
        (Categorical(4), torch.arange(7) % 4),
        (MultiCategorical((2, 3)), torch.stack([torch.arange(7) % 2, torch.arange(7) % 3], -1)),
        (Gaussian(2), rows(7, 2)),
    ],
)
def test_the_pullback_is_autograds(distribution, actions):
    outputs = (4 * rows(7, distribution.num_outputs)).requires_grad_()  # some beyond bounds
    log_prob, entropy, pull_back = distribution.log_prob_and_entropy(outputs, actions)
    gradient = rows(7, 1).squeeze(-1)
    (expected,) = torch.autograd.grad((log_prob * gradient).sum() + 0.3 * entropy.sum(), outputs)
    torch.testing.assert_close(pull_back(gradient, 0.3).detach(), expected)


def test_samples_come_as_often_as_they_are_likely():
    logits = torch.log(torch.tensor([0.1, 0.2, 0.7]))
    distribution, generator = Categorical(3), torch.Generator().manual_seed(1)
    actions = distribution.sample(logits, distribution.noise((20_000,), generator))
    shares = np.bincount(actions.numpy(), minlength=3) / 20_000
    np.testing.assert_allclose(shares, [0.1, 0.2, 0.7], atol=0.02)


@pytest.mark.parametrize("distribution", [Categorical(3), MultiCategorical((2, 3)), Gaussian(2)])
def test_noise_and_actions_have_the_promised_shapes(distribution):
    noise = distribution.noise((5, 7), torch.Generator().manual_seed(0))
    outputs = torch.zeros(5, 7, distribution.num_outputs)
    assert distribution.sample(outputs, noise).shape == (5, 7, *distribution.action_shape)


def test_without_noise_the_likeliest_action_is_taken():
    outputs = rows(1, 5)
    multi = MultiCategorical((2, 3)).sample(outputs, torch.zeros(1, 5))[0].tolist()
    assert multi == [outputs[0, :2].argmax().item(), outputs[0, 2:].argmax().item()]
    assert Gaussian(2).sample(outputs[:, :4], torch.zeros(1, 2)).equal(outputs[:, :2])


def test_every_action_space_has_its_distribution_or_a_clear_error():
    spaces = gymnasium.spaces
    assert for_space(spaces.Discrete(3)) == Categorical(3)
    assert for_space(spaces.MultiDiscrete([2, 3])) == MultiCategorical((2, 3))
    assert for_space(spaces.Box(-1, 1, (2,))) == Gaussian(2)
    with pytest.raises(ConfigError, match="Discrete, MultiDiscrete"):
        for_space(spaces.Text(3))
