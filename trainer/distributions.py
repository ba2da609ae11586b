"""Probability distributions over actions, as functions of a network's outputs.

`torch.distributions` checks and wraps at every call, which doubles or triples the time of a small
policy's step; here a distribution is a description, and its noise is drawn ahead for many steps.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import gymnasium
import torch
from torch import Tensor

from trainer.errors import ConfigError

LOG_TWO_PI = math.log(2 * math.pi)

Judged = tuple[Tensor, Tensor, Callable[[Tensor, float], Tensor]]
"""log p(action) (…), entropy (…), and their pullback.

The pullback takes dL/d(log p) (…), and dL/d(entropy), the same for all rows, to dL/d(outputs).
"""


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

    def log_prob_and_entropy(self, outputs: Tensor, actions: Tensor) -> Judged:
        """log p(action) and the entropy of each row, both (…), and their pullback."""


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

    def log_prob_and_entropy(self, outputs: Tensor, actions: Tensor) -> Judged:
        """With p of the logits: ∂log p(a)/∂logit = 1ₐ − p and ∂H/∂logit = −p·(log p + H)."""
        log_probs = outputs.log_softmax(-1)
        probs, index = log_probs.exp(), actions.unsqueeze(-1)
        entropy = -(probs * log_probs).sum(-1)

        def pull_back(log_prob_gradient: Tensor, entropy_gradient: float) -> Tensor:
            direct = log_prob_gradient.unsqueeze(-1)
            through_entropy = (log_probs + entropy.unsqueeze(-1)) * entropy_gradient
            return (-probs * (direct + through_entropy)).scatter_add_(-1, index, direct)

        return log_probs.gather(-1, index).squeeze(-1), entropy, pull_back


@dataclass(frozen=True, slots=True)
class MultiCategorical:
    """Several independent choices at once, one of `sizes[i]` each; logits stand side by side."""

    sizes: tuple[int, ...]

    @property
    def num_outputs(self) -> int:
        """All logits together."""
        return sum(self.sizes)

    @property
    def action_shape(self) -> tuple[int, ...]:
        """One whole number per choice."""
        return (len(self.sizes),)

    def noise(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """Gumbel noise for every logit."""
        return Categorical(self.num_outputs).noise(shape, generator)

    def sample(self, outputs: Tensor, noise: Tensor) -> Tensor:
        """Actions (…, choices) as whole numbers."""
        parts = torch.split(outputs + noise, list(self.sizes), -1)
        return torch.stack([part.argmax(-1) for part in parts], -1)

    def log_prob_and_entropy(self, outputs: Tensor, actions: Tensor) -> Judged:
        """Sums over the choices."""
        parts = torch.split(outputs, list(self.sizes), -1)
        log_probs, entropies, pullbacks = zip(
            *(
                Categorical(size).log_prob_and_entropy(logits, actions[..., i])
                for i, (size, logits) in enumerate(zip(self.sizes, parts, strict=True))
            ),
            strict=True,
        )

        def pull_back(log_prob_gradient: Tensor, entropy_gradient: float) -> Tensor:
            return torch.cat([part(log_prob_gradient, entropy_gradient) for part in pullbacks], -1)

        return torch.stack(log_probs).sum(0), torch.stack(entropies).sum(0), pull_back


@dataclass(frozen=True, slots=True)
class Gaussian:
    """Real actions, independent normal; the outputs are means, then logs of deviations."""

    size: int

    @property
    def num_outputs(self) -> int:
        """A mean and a log deviation per action."""
        return 2 * self.size

    @property
    def action_shape(self) -> tuple[int, ...]:
        """One real number per dimension."""
        return (self.size,)

    def noise(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """Standard normal numbers."""
        return torch.randn((*shape, self.size), generator=generator, device=generator.device)

    def sample(self, outputs: Tensor, noise: Tensor) -> Tensor:
        """Actions (…, size), not yet within the space's bounds."""
        mean, log_deviation = self._split(outputs)
        return mean + log_deviation.exp() * noise

    def log_prob_and_entropy(self, outputs: Tensor, actions: Tensor) -> Judged:
        """Sums over the dimensions; the logs of deviations have no gradient beyond their bounds."""
        mean, log_deviation = self._split(outputs)
        deviation = log_deviation.exp()
        z = (actions - mean) / deviation
        log_prob = -0.5 * z.square() - log_deviation - 0.5 * LOG_TWO_PI
        entropy = log_deviation + 0.5 * (1 + LOG_TWO_PI)

        def pull_back(log_prob_gradient: Tensor, entropy_gradient: float) -> Tensor:
            direct = log_prob_gradient.unsqueeze(-1)
            inside = log_deviation == outputs[..., self.size :]
            deviations = (direct * (z.square() - 1) + entropy_gradient) * inside
            return torch.cat([direct * z / deviation, deviations], -1)

        return log_prob.sum(-1), entropy.sum(-1), pull_back

    def _split(self, outputs: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_deviation = torch.split(outputs, self.size, -1)
        return mean, log_deviation.clamp(-5.0, 2.0)  # a deviation of 0 has no log-probability


def for_space(space: "gymnasium.Space[Any]") -> Distribution:
    """The distribution for an action space. Raises ConfigError for one that PPO cannot act in."""
    match space:
        case gymnasium.spaces.Discrete():
            return Categorical(int(space.n))
        case gymnasium.spaces.MultiDiscrete() if space.nvec.ndim == 1:
            return MultiCategorical(tuple(int(n) for n in space.nvec))
        case gymnasium.spaces.Box() if len(space.shape) == 1:
            return Gaussian(space.shape[0])
        case _:
            raise ConfigError(
                f"env.name: its actions are {space}",
                hint="this trainer acts in Discrete, MultiDiscrete and one-dimensional Box spaces",
            )
