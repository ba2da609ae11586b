"""The clipped objective of PPO (Schulman et al. 2017, arXiv:1707.06347, equations 7 and 9)."""

from dataclasses import dataclass

import torch
from torch import Tensor

LOSS_NAMES = ("policy_loss", "value_loss", "entropy", "kl", "clip_fraction")


@dataclass(frozen=True, slots=True)
class Loss:
    """`total`, a scalar, is what to descend; `parts` (5,) are its terms and two measures.

    They are named by LOSS_NAMES and carry no gradient. kl: an estimate of the old policy's
    divergence from the new, (r − 1) − log r (Schulman 2020, "Approximating KL divergence");
    clip_fraction: the share of samples outside the clip range.
    """

    total: Tensor
    parts: Tensor


def ppo_loss(
    log_prob: Tensor,
    old_log_prob: Tensor,
    *,
    advantage: Tensor,
    value: Tensor,
    old_value: Tensor,
    value_target: Tensor,
    entropy: Tensor,
    clip_param: float,
    value_clip: float | None,
    value_coeff: float,
    entropy_coeff: float,
) -> Loss:
    """−E[min(r·A, clip(r, 1 ± ε)·A)] + c₁·½E[(V − target)²] − c₂·E[H], over samples (B,).

    With `value_clip` the value error is the larger of that of V and of V kept within ± value_clip
    of the old value.
    """
    log_ratio = log_prob - old_log_prob
    ratio = log_ratio.exp()
    clipped_ratio = ratio.clamp(1.0 - clip_param, 1.0 + clip_param)
    policy = -torch.minimum(ratio * advantage, clipped_ratio * advantage).mean()
    error = (value - value_target).square()
    if value_clip is not None:
        near = old_value + (value - old_value).clamp(-value_clip, value_clip)
        error = torch.maximum(error, (near - value_target).square())
    value_loss = 0.5 * error.mean()
    mean_entropy = entropy.mean()
    total = policy + value_coeff * value_loss - entropy_coeff * mean_entropy
    with torch.no_grad():
        kl = (ratio - 1.0 - log_ratio).mean()
        clipped = (ratio != clipped_ratio).float().mean()
        parts = torch.stack((policy, value_loss, mean_entropy, kl, clipped))
    return Loss(total, parts)
