import pytest
import torch

from tests.trainer.autograd import by_torch
from trainer.config import ModelConfig
from trainer.mlp import ACTIVATIONS, Mlp, product, tanh


@pytest.mark.parametrize("num_layers", [0, 1, 3])
@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_the_pullback_is_autograds(name, num_layers):
    torch.manual_seed(0)
    config = ModelConfig(hidden_size=6, num_layers=num_layers, activation=name)
    mlp = Mlp(3, 2, config=config, output_scale=1.0)
    x, gradient = torch.randn(4, 5, 3, requires_grad=True), torch.randn(4, 5, 2)
    expected_outputs = by_torch(mlp, x, name)
    expected = torch.autograd.grad(expected_outputs, [x, *mlp.parameters()], gradient)
    with torch.no_grad():
        outputs, pull_back = mlp.with_pullback(x)
        actual = [pull_back(gradient), *(p.grad for p in mlp.parameters())]
    torch.testing.assert_close(outputs, expected_outputs.detach())
    for one, other in zip(actual, expected, strict=True):
        torch.testing.assert_close(one, other)


def test_a_second_pullback_adds_to_the_gradient():
    mlp = Mlp(3, 2, config=ModelConfig(hidden_size=4), output_scale=1.0)
    with torch.no_grad():
        _, pull_back = mlp.with_pullback(torch.ones(5, 3))
        assert pull_back(torch.ones(5, 2)) is None  # nothing beneath asks for a gradient
        once = [p.grad.clone() for p in mlp.parameters()]
        pull_back(torch.ones(5, 2))
    assert all(p.grad.equal(2 * g) for p, g in zip(mlp.parameters(), once, strict=True))


@pytest.mark.parametrize(("rows", "columns"), [(2, 5), (5, 2)])
def test_a_product_is_the_same_whichever_side_is_the_narrower(rows, columns):
    left, right = torch.randn(7, rows), torch.randn(7, columns)
    torch.testing.assert_close(product(left, right), left.t() @ right)


def test_numpys_tanh_is_torchs():
    z = torch.linspace(-12, 12, 1001)
    torch.testing.assert_close(tanh(z), z.tanh(), rtol=1e-5, atol=1e-7)
