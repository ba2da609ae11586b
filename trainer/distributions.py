"""Probability distributions over actions, as functions of a network's outputs.

`torch.distributions` checks and wraps at every call, which doubles or triples the time of a small
policy's step; here a distribution is a description, and its noise is drawn ahead for many steps.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import gymnasium
import torch
from torch import Tensor

from trainer.errors import ConfigError


class Distribution(Protocol):
    """A family of distributions; one member per row of outputs (…, num_outputs)."""

    @property
    def num_outputs(self) -> int:
        """How many numbers the network gives per row."""

    @property
    def action_shape(self) -> tuple[int, ...]:
        """The shape of one action."""

    def noise(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """Random numbers for `sample`, (*shape, …)."""

    def sample(self, outputs: Tensor, noise: Tensor) -> Tensor:
        """Actions drawn from each row's distribution; zero noise gives the likeliest."""

    def log_prob_and_entropy(self, outputs: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """log p(action) and the entropy of each row, both (…)."""


@dataclass(frozen=True, slots=True)
class Categorical:
    """One of `num_outputs` actions, by logits."""

    num_outputs: int
    action_shape: tuple[int, ...] = ()

    def noise(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """Gumbel noise: argmax(logits + noise) is a sample (Maddison et al. 2014)."""
        exponential = torch.empty((*shape, self.num_outputs), device=generator.device)
        return -exponential.exponential_(generator=generator).log()

    def sample(self, outputs: Tensor, noise: Tensor) -> Tensor:
        """Actions (…) as whole numbers."""
        return (outputs + noise).argmax(-1)

    def log_prob_and_entropy(self, outputs: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """log p(action) and entropy, both (…)."""
        log_probs = outputs.log_softmax(-1)
        log_prob = log_probs.gather(-1, actions.unsqueeze(-1)).squeeze(-1)
        return log_prob, -(log_probs.exp() * log_probs).sum(-1)


def for_space(space: "gymnasium.Space[Any]") -> Distribution:
    """The distribution for an action space. Raises ConfigError for one that PPO cannot act in."""
    match space:
        case gymnasium.spaces.Discrete():
            return Categorical(int(space.n))
        case _:
            raise ConfigError(f"env.name: its actions are {space}, which this trainer lacks")
