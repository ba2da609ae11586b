"""The networks: observations in, an action distribution's parameters and a value out."""

from typing import Any

import gymnasium
import numpy as np
import torch
from torch import Tensor, nn

from trainer.config import ModelConfig
from trainer.distributions import Distribution

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "silu": nn.SiLU,
    "elu": nn.ELU,
}


class Policy(nn.Module):
    """Separate policy and value networks; their scales of initialisation are CleanRL's."""

    def __init__(
        self,
        observation_space: "gymnasium.Space[Any]",
        distribution: Distribution,
        *,
        config: ModelConfig,
    ) -> None:
        super().__init__()
        assert observation_space.shape is not None
        size = int(np.prod(observation_space.shape))
        self.distribution = distribution
        self.actor = mlp(size, distribution.num_outputs, config=config, output_scale=0.01)
        self.critic = mlp(size, 1, config=config, output_scale=1.0)

    def act(self, observation: Tensor) -> Tensor:
        """Distribution parameters (…, num_outputs) for observations (…, size)."""
        outputs: Tensor = self.actor(observation)
        return outputs

    def value(self, observation: Tensor) -> Tensor:
        """Values (…) of observations (…, size)."""
        values: Tensor = self.critic(observation)
        return values.squeeze(-1)


def mlp(inputs: int, outputs: int, *, config: ModelConfig, output_scale: float) -> nn.Sequential:
    """Linear layers, orthogonal with gain √2 but for the last, with activations between them."""
    layers: list[nn.Module] = []
    for _ in range(config.num_layers):
        layers += [
            orthogonal(nn.Linear(inputs, config.hidden_size), 2**0.5),
            ACTIVATIONS[config.activation](),
        ]
        inputs = config.hidden_size
    return nn.Sequential(*layers, orthogonal(nn.Linear(inputs, outputs), output_scale))


def orthogonal(layer: nn.Linear, gain: float) -> nn.Linear:
    """The layer with orthogonal weights and no bias."""
    nn.init.orthogonal_(layer.weight, gain)
    nn.init.zeros_(layer.bias)
    return layer


def flatten_parameters(module: nn.Module) -> nn.Parameter:
    """All parameters as views into one vector, which is returned; so are their gradients.

    One vector makes an optimiser step, the clipping of the norm and the ranks' all-reduce one
    operation each, whatever the number of layers.
    """
    parameters = list(module.parameters())
    flat = nn.Parameter(torch.cat([p.detach().reshape(-1) for p in parameters]))
    flat.grad = torch.zeros_like(flat)
    offset = 0
    for parameter in parameters:
        span = slice(offset, offset + parameter.numel())
        parameter.data = flat.data[span].view_as(parameter)
        parameter.grad = flat.grad[span].view_as(parameter)
        offset = span.stop
    return flat
