"""Optimisers over one flat vector of weights.

Not `torch.optim`: building one of its optimisers imports torch._dynamo, more seconds of CPU than
a short trial trains for. Over one flat vector an optimiser is a handful of operations.
"""

from typing import Any

import torch
from torch import Tensor

from trainer.config import OptimizerConfig


class Adam:
    """Adam (Kingma & Ba 2015, algorithm 1), weight decay decoupled (Loshchilov & Hutter 2019)."""

    def __init__(self, weights: Tensor, config: OptimizerConfig) -> None:
        self.weights = weights
        self.config = config
        self.mean = torch.zeros_like(weights)
        self.mean_square = torch.zeros_like(weights)
        self.steps = 0

    @torch.no_grad()
    def step(self, gradient: Tensor, *, learning_rate: float) -> None:
        """One step downhill; all tensors have the shape of the weights."""
        c = self.config
        self.steps += 1
        self.mean.lerp_(gradient, 1 - c.beta1)
        self.mean_square.mul_(c.beta2).addcmul_(gradient, gradient, value=1 - c.beta2)
        correction = (1 - c.beta2**self.steps) ** 0.5
        denominator = self.mean_square.sqrt().add_(c.eps * correction)  # both × correction
        if c.weight_decay:
            self.weights.mul_(1 - learning_rate * c.weight_decay)
        self.weights.addcdiv_(
            self.mean, denominator, value=-learning_rate * correction / (1 - c.beta1**self.steps)
        )

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"mean": self.mean, "mean_square": self.mean_square, "steps": self.steps}

    def restore(self, state: dict[str, Any]) -> None:
        """Goes on where `state` was taken."""
        self.mean.copy_(state["mean"])
        self.mean_square.copy_(state["mean_square"])
        self.steps = state["steps"]


class Sgd:
    """Gradient descent with momentum beta1 (Polyak 1964, as in torch.optim.SGD)."""

    def __init__(self, weights: Tensor, config: OptimizerConfig) -> None:
        self.weights = weights
        self.config = config
        self.velocity = torch.zeros_like(weights)

    @torch.no_grad()
    def step(self, gradient: Tensor, *, learning_rate: float) -> None:
        """One step downhill; all tensors have the shape of the weights."""
        self.velocity.mul_(self.config.beta1).add_(gradient)
        if self.config.weight_decay:
            self.weights.mul_(1 - learning_rate * self.config.weight_decay)
        self.weights.add_(self.velocity, alpha=-learning_rate)

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"velocity": self.velocity}

    def restore(self, state: dict[str, Any]) -> None:
        """Goes on where `state` was taken."""
        self.velocity.copy_(state["velocity"])


def make_optimizer(weights: Tensor, config: OptimizerConfig) -> Adam | Sgd:
    """The optimiser that the config names."""
    return Adam(weights, config) if config.type == "adam" else Sgd(weights, config)
