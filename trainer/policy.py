"""The networks: observations in, an action distribution's parameters and a value out.

observation → normalised → encoder (images: convolutions) → memory (GRU or LSTM) → policy layers
                                                                                 → value layers
Without images and without memory the first steps are the identity, and policy and value share
nothing.

Shapes: T steps, N sequences, S numbers of memory per sequence (0 without memory).
"""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import gymnasium
import numpy as np
import torch
from torch import Tensor, nn

from trainer.config import ModelConfig
from trainer.distributions import Distribution, Gaussian
from trainer.mlp import Mlp, add_gradient, orthogonal
from trainer.normalize import Moments


class Policy(nn.Module):
    """Policy and value networks; the scales of initialisation are Andrychowicz et al.'s (2020)."""

    observation_mean: Tensor
    observation_deviation: Tensor

    def __init__(
        self,
        observation_space: "gymnasium.Space[Any]",
        distribution: Distribution,
        *,
        config: ModelConfig,
    ) -> None:
        super().__init__()
        shape = observation_space.shape
        assert shape is not None
        self.distribution = distribution
        self.encoder, size = make_encoder(shape, config)
        self.memory: nn.GRU | nn.LSTM | None = None
        self.memory_size = 0
        if config.recurrence != "none":
            kind = nn.GRU if config.recurrence == "gru" else nn.LSTM
            self.memory = kind(size, config.hidden_size)
            self.memory_size = config.hidden_size * (1 if config.recurrence == "gru" else 2)
            size = config.hidden_size
        means = distribution.size if isinstance(distribution, Gaussian) else None
        outputs = distribution.num_outputs if means is None else means
        self.actor = Mlp(size, outputs, config=config, output_scale=0.01)
        self.critic = Mlp(size, 1, config=config, output_scale=1.0)
        self.log_deviation = None if means is None else nn.Parameter(torch.zeros(means))
        self.normalize = config.normalize_observation
        self.register_buffer("observation_mean", torch.zeros(shape))
        self.register_buffer("observation_deviation", torch.ones(shape))

    def initial_memory(self, count: int) -> Tensor:
        """The memory (count, S) at an episode's start."""
        return torch.zeros((count, self.memory_size), device=next(self.parameters()).device)

    def features(
        self, observations: Tensor, *, memory: Tensor, starts: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Features (T, N, F) of observations (T, N, …), and the memory (N, S) after the last.

        `memory` (N, S) is that before the first; it is emptied where `starts` (T, N) is 1: there
        the observation is an episode's first.
        """
        x = self._prepare(observations)
        if self.memory is None:
            return x, memory
        # One call per stretch without an episode's start: many times faster than a call per step.
        cuts = [0, *(t for t in starts.any(1).nonzero().flatten().tolist() if t), len(x)]
        outputs = []
        for begin, end in pairwise(cuts):
            memory = memory * (1.0 - starts[begin]).unsqueeze(-1)
            output, memory = self._remember(x[begin:end], memory)
            outputs.append(output)
        return torch.cat(outputs), memory

    def act(self, features: Tensor) -> Tensor:
        """Distribution parameters (…, num_outputs) for features (…, F)."""
        return self._with_deviation(self.actor(features))

    def value(self, features: Tensor) -> Tensor:
        """Values (…) for features (…, F)."""
        values: Tensor = self.critic(features)
        return values.squeeze(-1)

    def act_and_value(
        self, features: Tensor
    ) -> tuple[Tensor, Tensor, Callable[[Tensor, Tensor], None]]:
        """`act`, `value`, and their pullback, which adds to all parameters' gradients.

        The pullback of the layers is written out; that of what is beneath them is autograd's.
        """
        outputs, pull_back_actor = self.actor.with_pullback(features)
        values, pull_back_critic = self.critic.with_pullback(features)

        def pull_back(outputs_gradient: Tensor, values_gradient: Tensor) -> None:
            if self.log_deviation is not None:
                outputs_gradient, deviations = outputs_gradient.chunk(2, -1)
                add_gradient(self.log_deviation, deviations.flatten(0, -2).sum(0))
            from_actor = pull_back_actor(outputs_gradient)
            from_critic = pull_back_critic(values_gradient.unsqueeze(-1))
            if from_actor is not None and from_critic is not None:
                features.backward(from_actor + from_critic)  # type: ignore[no-untyped-call]

        return self._with_deviation(outputs), values.squeeze(-1), pull_back

    def set_normalization(self, moments: Moments) -> None:
        """Sees observations from now on relative to these moments."""
        if self.normalize:
            self.observation_mean.copy_(moments.mean)
            self.observation_deviation.copy_(moments.deviation)

    def _with_deviation(self, outputs: Tensor) -> Tensor:
        if self.log_deviation is None:
            return outputs
        return torch.cat([outputs, self.log_deviation.expand_as(outputs)], -1)

    def _prepare(self, observations: Tensor) -> Tensor:
        x = observations.float()
        if self.normalize:
            x = (x - self.observation_mean) / self.observation_deviation
            x = x.clamp(-10.0, 10.0)
        if isinstance(self.encoder, nn.Identity):
            return x
        encoded: Tensor = self.encoder(x.flatten(0, 1))
        return encoded.view(*x.shape[:2], -1)

    def _remember(self, x: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        assert self.memory is not None
        if isinstance(self.memory, nn.GRU):
            output, hidden = self.memory(x, memory.unsqueeze(0))
            return output, hidden.squeeze(0)
        state = tuple(part.contiguous().unsqueeze(0) for part in memory.chunk(2, -1))
        output, (hidden, cell) = self.memory(x, state)
        return output, torch.cat([hidden, cell], -1).squeeze(0)


def make_encoder(shape: tuple[int, ...], config: ModelConfig) -> tuple[nn.Module, int]:
    """What comes before memory, and its number of features.

    Vectors pass as they are. Images (H, W, C) or (C, H, W), of bytes, go through the convolutions
    of Mnih et al. (2015); those too small for them, such as grids, through two of 3 × 3.
    """
    if len(shape) == 1:
        return nn.Identity(), shape[0]
    if len(shape) != 3:
        return nn.Flatten(), int(np.prod(shape))
    channels_last = shape[2] < shape[0]
    channels = shape[2] if channels_last else shape[0]
    height, width = shape[:2] if channels_last else shape[1:]
    plan = [(32, 8, 4), (64, 4, 2), (64, 3, 1)] if min(height, width) >= 36 else [(32, 3, 1)] * 2
    layers: list[nn.Module] = [ImageInput(channels_last=channels_last)]
    for filters, kernel, stride in plan:
        padding = 1 if kernel == 3 and min(height, width) < 36 else 0
        conv = orthogonal(nn.Conv2d(channels, filters, kernel, stride, padding), 2**0.5)
        layers += [conv, nn.ReLU()]
        channels = filters
    layers.append(nn.Flatten())
    with torch.no_grad():
        size = nn.Sequential(*layers)(torch.zeros((1, *shape))).shape[1]
    layers += [orthogonal(nn.Linear(size, config.hidden_size), 2**0.5), nn.ReLU()]
    return nn.Sequential(*layers), config.hidden_size


class ImageInput(nn.Module):
    """Bytes to [0, 1], channels first."""

    def __init__(self, *, channels_last: bool) -> None:
        super().__init__()
        self.channels_last = channels_last

    def forward(self, x: Tensor) -> Tensor:
        """(N, H, W, C) or (N, C, H, W) to (N, C, H, W)."""
        return (x.permute(0, 3, 1, 2) if self.channels_last else x) / 255.0


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
