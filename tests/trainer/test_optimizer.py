import pytest
import torch

from trainer.config import OptimizerConfig
from trainer.optimizer import Adam, Sgd, make_optimizer


def gradients(count=20, size=5):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(count, size, generator=generator)


def descend(optimizer, weights):
    for gradient in gradients():
        optimizer.step(gradient, learning_rate=0.1)
    return weights


def reference(make):
    weights = torch.nn.Parameter(torch.ones(5))
    optimizer = make([weights])
    for gradient in gradients():
        weights.grad = gradient.clone()
        optimizer.step()
    return weights.detach()


def test_adam_takes_the_steps_of_torch():
    weights = torch.ones(5)
    config = OptimizerConfig(beta1=0.8, beta2=0.99, eps=1e-4, weight_decay=0.02)
    expected = reference(
        lambda p: torch.optim.AdamW(p, lr=0.1, betas=(0.8, 0.99), eps=1e-4, weight_decay=0.02)
    )
    torch.testing.assert_close(descend(Adam(weights, config), weights), expected)


def test_sgd_takes_the_steps_of_torch():
    weights = torch.ones(5)
    expected = reference(lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.7))
    actual = descend(Sgd(weights, OptimizerConfig(type="sgd", beta1=0.7)), weights)
    torch.testing.assert_close(actual, expected)


@pytest.mark.parametrize("kind", ["adam", "sgd"])
def test_weights_lose_their_share_whatever_the_gradient(kind):
    weights = torch.ones(5)
    optimizer = make_optimizer(weights, OptimizerConfig(type=kind, weight_decay=0.5))
    for _ in range(3):
        optimizer.step(torch.zeros(5), learning_rate=0.1)
    torch.testing.assert_close(weights, torch.full((5,), 0.95**3))


@pytest.mark.parametrize("kind", ["adam", "sgd"])
def test_a_restored_optimiser_goes_on_as_if_nothing_had_happened(kind):
    config = OptimizerConfig(type=kind)
    weights = torch.ones(5)
    whole = descend(make_optimizer(weights, config), weights)
    halves = torch.ones(5)
    optimizer = make_optimizer(halves, config)
    for i, gradient in enumerate(gradients()):
        if i == 10:
            state = optimizer.state()
            optimizer = make_optimizer(halves, config)
            optimizer.restore(state)
        optimizer.step(gradient, learning_rate=0.1)
    assert halves.equal(whole)
