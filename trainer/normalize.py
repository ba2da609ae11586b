"""Running means and deviations of observations and of discounted returns, over all ranks."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainer.envs.base import Array
from trainer.ranks import Ranks


class Moments:
    """Mean and variance of all rows seen (Chan, Golub & LeVeque 1979, parallel form)."""

    def __init__(self, shape: tuple[int, ...], ranks: Ranks) -> None:
        self.ranks = ranks
        self.count = torch.zeros((), dtype=torch.float64)
        self.mean = torch.zeros(shape, dtype=torch.float64)
        self.squares = torch.zeros(shape, dtype=torch.float64)

    def update(self, rows: Tensor) -> None:
        """Adds rows (B, …) of every rank."""
        rows = rows.to("cpu", torch.float64)
        count = self.ranks.sum_(torch.tensor(float(len(rows)), dtype=torch.float64))
        mean = self.ranks.sum_(rows.sum(0)) / count
        squares = self.ranks.sum_((rows - mean).square().sum(0))
        total = self.count + count
        difference = mean - self.mean
        self.mean += difference * count / total
        self.squares += squares + difference.square() * self.count * count / total
        self.count = total

    @property
    def deviation(self) -> Tensor:
        """Standard deviations; 1 where nothing varies or nothing was seen."""
        deviation = (self.squares / self.count.clamp(min=1)).sqrt()
        return torch.where(deviation > 1e-6, deviation, torch.ones_like(deviation))

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"count": self.count, "mean": self.mean, "squares": self.squares}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Goes on where `state` was taken."""
        self.count, self.mean, self.squares = state["count"], state["mean"], state["squares"]


class ReturnScale:
    """Divides rewards by the deviation of the running discounted return (Engstrom et al. 2020)."""

    def __init__(self, count: int, gamma: float, *, ranks: Ranks) -> None:
        self.gamma = gamma
        self.running = np.zeros(count)
        self.moments = Moments((), ranks)

    def __call__(self, rewards: Array, ended: Array) -> Array:
        """Scaled rewards (T, N), of rewards (T, N) and the ends of episodes (T, N)."""
        returns = np.empty(rewards.shape)
        for t in range(len(rewards)):
            self.running = self.running * self.gamma + rewards[t]
            returns[t] = self.running
            self.running = self.running * (1.0 - ended[t])
        self.moments.update(torch.from_numpy(returns.reshape(-1)))
        scaled: Array = rewards / np.float32(self.moments.deviation)
        return scaled
