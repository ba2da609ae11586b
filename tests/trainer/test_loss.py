import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainer.loss import LOSS_NAMES, ppo_loss


def draw(seed, count=6):
    generator = torch.Generator().manual_seed(seed)
    names = ("advantage", "value", "old_value", "value_target", "entropy")
    columns = {name: torch.randn(count, generator=generator, dtype=torch.float64) for name in names}
    log_prob, old = torch.randn(2, count, generator=generator, dtype=torch.float64) / 3
    return log_prob, old, columns


def naive(log_prob, old, columns, clip, value_clip):
    policy = value = 0.0
    for i in range(len(log_prob)):
        ratio = math.exp(log_prob[i] - old[i])
        kept = min(max(ratio, 1 - clip), 1 + clip)
        a, v, before, target = (
            float(columns[k][i]) for k in ("advantage", "value", "old_value", "value_target")
        )
        policy -= min(ratio * a, kept * a)
        error = (v - target) ** 2
        if value_clip is not None:
            near = before + min(max(v - before, -value_clip), value_clip)
            error = max(error, (near - target) ** 2)
        value += 0.5 * error
    return policy / len(log_prob), value / len(log_prob)


@given(
    seed=st.integers(0, 10_000),
    clip=st.floats(0.01, 2),
    value_clip=st.none() | st.floats(0.01, 2),
)
def test_the_loss_equals_a_naive_loop(seed, clip, value_clip):
    log_prob, old, columns = draw(seed)
    loss = ppo_loss(
        log_prob,
        old,
        **columns,
        clip_param=clip,
        value_clip=value_clip,
        value_coeff=0.7,
        entropy_coeff=0.1,
    )
    policy, value = naive(log_prob, old, columns, clip, value_clip)
    expected = policy + 0.7 * value - 0.1 * float(columns["entropy"].mean())
    assert loss.total.item() == pytest.approx(expected)
    np.testing.assert_allclose(loss.parts[:2].numpy(), [policy, value])


def test_an_unchanged_policy_has_no_divergence_and_nothing_clipped():
    log_prob, _, columns = draw(0)
    settings = {"clip_param": 0.2, "value_clip": None, "value_coeff": 1.0, "entropy_coeff": 0.0}
    parts = ppo_loss(log_prob, log_prob, **columns, **settings).parts
    assert parts[LOSS_NAMES.index("kl")] == 0
    assert parts[LOSS_NAMES.index("clip_fraction")] == 0


def test_beyond_the_clip_range_the_gradient_is_gone():
    log_prob = torch.tensor([0.5], requires_grad=True)
    zero = torch.zeros(1)
    settings = {"clip_param": 0.2, "value_clip": None, "value_coeff": 0.0, "entropy_coeff": 0.0}
    loss = ppo_loss(
        log_prob,
        zero,
        advantage=torch.ones(1),
        value=zero,
        old_value=zero,
        value_target=zero,
        entropy=zero,
        **settings,
    )
    loss.total.backward()
    assert log_prob.grad.item() == 0
