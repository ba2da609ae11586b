import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainer.advantage import gae


def naive(rewards, values, next_values, terminated, ended, gamma, lam):
    """The sum in equation 16 of the paper, written out per step."""
    T, N = rewards.shape
    result = np.zeros((T, N))
    for n in range(N):
        for t in range(T):
            weight = 1.0
            for later in range(t, T):
                after = 0.0 if terminated[later, n] else next_values[later, n]
                delta = rewards[later, n] + gamma * after - values[later, n]
                result[t, n] += weight * delta
                weight *= gamma * lam
                if ended[later, n]:
                    break
    return result


@given(
    seed=st.integers(0, 10_000),
    steps=st.integers(1, 12),
    gamma=st.floats(0, 1),
    lam=st.floats(0, 1),
)
def test_the_recursion_equals_the_sum_of_the_paper(seed, steps, gamma, lam):
    random = np.random.default_rng(seed)
    rewards, values, next_values = random.normal(size=(3, steps, 3))
    terminated = random.random((steps, 3)) < 0.2
    ended = terminated | (random.random((steps, 3)) < 0.2)
    tensors = [
        torch.tensor(x, dtype=torch.float64)
        for x in (rewards, values, next_values, terminated, ended)
    ]
    actual = gae(
        *tensors[:2],
        next_values=tensors[2],
        terminated=tensors[3],
        ended=tensors[4],
        gamma=gamma,
        gae_lambda=lam,
    )
    expected = naive(rewards, values, next_values, terminated, ended, gamma, lam)
    np.testing.assert_allclose(actual.numpy(), expected, atol=1e-9)


def one_step(*, terminated, ended):
    one = torch.ones(1, 1)
    return gae(
        one,
        0 * one,
        next_values=10 * one,
        terminated=terminated * one,
        ended=ended * one,
        gamma=0.5,
        gae_lambda=1.0,
    ).item()


def test_a_time_limit_still_counts_the_value_of_what_would_have_come():
    assert one_step(terminated=0, ended=1) == 6.0


def test_a_true_end_counts_nothing_after_it():
    assert one_step(terminated=1, ended=1) == 1.0
