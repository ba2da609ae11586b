import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainer.normalize import Moments, ReturnScale
from trainer.ranks import Place, Ranks

ALONE = Ranks(Place(), run_id="", device=torch.device("cpu"))


@given(st.lists(st.integers(1, 20), min_size=1, max_size=5), st.integers(0, 1000))
def test_moments_of_parts_are_those_of_the_whole(sizes, seed):
    random = np.random.default_rng(seed)
    parts = [random.normal(3, 2, (size, 2)) for size in sizes]
    moments = Moments((2,), ALONE)
    for part in parts:
        moments.update(torch.from_numpy(part))
    whole = np.concatenate(parts)
    np.testing.assert_allclose(moments.mean.numpy(), whole.mean(0))
    expected = whole.std(0) if len(whole) > 1 else np.ones(2)
    np.testing.assert_allclose(moments.deviation.numpy(), expected)


def test_where_nothing_varies_nothing_is_scaled():
    moments = Moments((1,), ALONE)
    assert moments.deviation.item() == 1
    moments.update(torch.full((5, 1), 3.0))
    assert moments.deviation.item() == 1


def test_rewards_are_divided_by_the_deviation_of_the_discounted_return():
    random = np.random.default_rng(0)
    rewards = random.normal(size=(50, 3)).astype(np.float32)
    ended = (random.random((50, 3)) < 0.1).astype(np.float32)
    returns = np.zeros((50, 3))
    for n in range(3):
        running = 0.0
        for t in range(50):
            running = 0.9 * running + rewards[t, n]
            returns[t, n] = running
            running = 0.0 if ended[t, n] else running
    scaled = ReturnScale(3, 0.9, ranks=ALONE)(rewards, ended)
    np.testing.assert_allclose(scaled, rewards / returns.std(), rtol=1e-4)
