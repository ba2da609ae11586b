"""Generalised advantage estimation (Schulman et al. 2015, arXiv:1506.02438, equations 11–16)."""

import torch
from torch import Tensor


def gae(
    rewards: Tensor,
    values: Tensor,
    *,
    next_values: Tensor,
    terminated: Tensor,
    ended: Tensor,
    gamma: float,
    gae_lambda: float,
) -> Tensor:
    """Advantages A (T, N) of T steps in N environments.

    δₜ = rₜ + γ·V(sₜ₊₁) − V(sₜ),  Aₜ = δₜ + γλ·Aₜ₊₁

    `next_values` (T, N): V of the state that step t led to, also where an episode ended there.
    `terminated` (T, N): nothing comes after, V(sₜ₊₁) counts as 0. `ended` (T, N): terminated or
    cut off by the clock; the sum over later steps stops here, the bootstrap does not.
    """
    delta = rewards + gamma * next_values * (1.0 - terminated) - values
    decay = gamma * gae_lambda * (1.0 - ended)
    advantages = torch.empty_like(delta)
    following = torch.zeros_like(delta[0])
    for t in range(len(delta) - 1, -1, -1):
        following = torch.addcmul(delta[t], decay[t], following, out=advantages[t])
    return advantages
