"""The clipped objective of PPO (Schulman et al. 2017, arXiv:1707.06347, equations 7 and 9).

Every tensor of samples is (…), one number per sample; r = p/p_old, ε = clip_param.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from trainer.config import TrainerConfig

LOSS_NAMES = ("policy_loss", "value_loss", "entropy", "kl", "clip_fraction")


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the policy now thinks of samples, beside what it thought when it took them."""

    log_prob: Tensor
    entropy: Tensor
    value: Tensor
    old_log_prob: Tensor
    old_value: Tensor
    advantage: Tensor
    value_target: Tensor

    @classmethod
    def of(cls, parts: Sequence["Judgement"]) -> "Judgement":
        """All samples of many, one after the other."""
        columns = ([getattr(p, f.name).flatten() for p in parts] for f in fields(cls))
        return cls(*(torch.cat(column) for column in columns))


def ppo_loss(j: Judgement, cfg: TrainerConfig) -> tuple[Tensor, Tensor]:
    """L = −E[min(r·A, clip(r, 1 ± ε)·A)] + c₁·½E[(V − target)²] − c₂·E[H], and its parts (5,).

    With `value_clip` the value error is the larger of that of V and of V kept within ± value_clip
    of the old value. The parts are the three means and two measures, named by LOSS_NAMES. kl: an
    estimate of the old policy's divergence from the new, (r − 1) − log r (Schulman 2020,
    "Approximating KL divergence"); clip_fraction: the share of samples outside the clip range.
    """
    log_ratio = j.log_prob - j.old_log_prob
    ratio = log_ratio.exp()
    clipped = ratio.clamp(1 - cfg.clip_param, 1 + cfg.clip_param)
    error = (j.value - j.value_target).square()
    if cfg.value_clip is not None:
        near = j.old_value + (j.value - j.old_value).clamp(-cfg.value_clip, cfg.value_clip)
        error = torch.maximum(error, (near - j.value_target).square())
    terms = (
        -torch.minimum(ratio * j.advantage, clipped * j.advantage),
        0.5 * error,
        j.entropy,
        ratio - 1 - log_ratio,
        (ratio != clipped).float(),
    )
    parts = torch.stack([term.mean() for term in terms])
    return parts[0] + cfg.value_coeff * parts[1] - cfg.entropy_coeff * parts[2], parts


def ppo_gradient(j: Judgement, cfg: TrainerConfig, *, count: int) -> tuple[Tensor, Tensor, float]:
    """∂L/∂log_prob (…), ∂L/∂value (…), and ∂L/∂entropy of each sample, where `count` make the mean.

    Written out: autograd takes longer than all of these operations. Where the clipped term is the
    smaller one, or the clipped error the larger one, it is constant: there the gradient is 0.
    """
    ratio = (j.log_prob - j.old_log_prob).exp_()
    gain = ratio * j.advantage
    constant = gain > ratio.clamp_(1 - cfg.clip_param, 1 + cfg.clip_param).mul_(j.advantage)
    error = j.value - j.value_target
    if cfg.value_clip is not None:
        moved = j.value - j.old_value
        near = j.old_value + moved.clamp(-cfg.value_clip, cfg.value_clip) - j.value_target
        clipped = moved.abs() > cfg.value_clip
        error = error.masked_fill(clipped & (near.abs() > error.abs()), 0.0)
    return (
        gain.masked_fill_(constant, 0.0).mul_(-1 / count),
        error.mul_(cfg.value_coeff / count),
        -cfg.entropy_coeff / count,
    )
