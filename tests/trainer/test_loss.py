import math
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainer.config import TrainerConfig
from trainer.loss import LOSS_NAMES, Judgement, ppo_gradient, ppo_loss


def draw(seed, count=6):
    columns = torch.randn(7, count, generator=torch.Generator().manual_seed(seed)).double()
    columns[[0, 3]] /= 3  # log-probabilities that are near each other
    return Judgement(*columns)


def settings(clip=0.2, value_clip=None):
    return TrainerConfig(clip_param=clip, value_clip=value_clip, value_coeff=0.7, entropy_coeff=0.1)


def naive(j, clip, value_clip):
    policy = value = 0.0
    for i in range(len(j.log_prob)):
        ratio = math.exp(j.log_prob[i] - j.old_log_prob[i])
        kept = min(max(ratio, 1 - clip), 1 + clip)
        a, v, before, target = (
            float(x[i]) for x in (j.advantage, j.value, j.old_value, j.value_target)
        )
        policy -= min(ratio * a, kept * a)
        error = (v - target) ** 2
        if value_clip is not None:
            near = before + min(max(v - before, -value_clip), value_clip)
            error = max(error, (near - target) ** 2)
        value += 0.5 * error
    return policy / len(j.log_prob), value / len(j.log_prob)


seeds, clips = st.integers(0, 10_000), st.floats(0.01, 2)


@given(seed=seeds, clip=clips, value_clip=st.none() | clips)
def test_the_loss_equals_a_naive_loop(seed, clip, value_clip):
    judged = draw(seed)
    total, parts = ppo_loss(judged, settings(clip, value_clip))
    policy, value = naive(judged, clip, value_clip)
    expected = policy + 0.7 * value - 0.1 * float(judged.entropy.mean())
    assert total.item() == pytest.approx(expected)
    np.testing.assert_allclose(parts[:2].numpy(), [policy, value])


@given(seed=seeds, clip=clips, value_clip=st.none() | clips)
def test_the_gradient_is_autograds(seed, clip, value_clip):
    judged = draw(seed)
    moving = [judged.log_prob, judged.value, judged.entropy]
    for x in moving:
        x.requires_grad_()
    total, _ = ppo_loss(judged, settings(clip, value_clip))
    expected = torch.autograd.grad(total, moving)
    with torch.no_grad():
        log_prob, value, entropy = ppo_gradient(judged, settings(clip, value_clip), count=6)
    torch.testing.assert_close(log_prob, expected[0])
    torch.testing.assert_close(value, expected[1])
    torch.testing.assert_close(torch.full((6,), entropy).double(), expected[2])


def test_a_part_of_the_samples_has_its_part_of_the_gradient():
    whole = draw(0)
    halves = [
        Judgement(*(getattr(whole, f.name)[part] for f in fields(whole)))
        for part in (slice(4), slice(4, 6))
    ]
    expected = ppo_gradient(whole, settings(), count=6)[0]
    parts = [ppo_gradient(half, settings(), count=6)[0] for half in halves]
    torch.testing.assert_close(torch.cat(parts), expected)
    assert Judgement.of(halves).advantage.equal(whole.advantage)


def test_an_unchanged_policy_has_no_divergence_and_nothing_clipped():
    judged = draw(0)
    _, parts = ppo_loss(replace(judged, old_log_prob=judged.log_prob), settings())
    assert parts[LOSS_NAMES.index("kl")] == 0
    assert parts[LOSS_NAMES.index("clip_fraction")] == 0


def test_beyond_the_clip_range_the_gradient_is_gone():
    judged = replace(
        draw(0, 1),
        log_prob=torch.tensor([0.5]),
        old_log_prob=torch.zeros(1),
        advantage=torch.ones(1),
    )
    assert ppo_gradient(judged, settings(), count=1)[0].item() == 0
