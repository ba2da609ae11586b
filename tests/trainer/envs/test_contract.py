"""What every environment promises to the training loop."""

import numpy as np
import pytest

from trainer.config import EnvConfig
from trainer.envs import make_env
from trainer.envs.base import Share

OURS = ["cartpole", "swingup", "pong", "recall", "nback", "bandit", "match", "maze", "cogeval"]


def play(env, steps, seed=1, start=0, total=6):
    """What the share of `total` environments sees when all take the same random actions."""
    random = np.random.default_rng(seed)
    mine = slice(start, start + env.share_count)
    seen = []
    for _ in range(steps):
        actions = random.integers(env.action_space.n, size=total)[mine]
        step = env.step(actions)
        seen.append((step.observation, step.reward, step.terminated, step.truncated))
    return [np.stack(column) for column in zip(*seen, strict=True)]


def environment(name, start=0, count=6, total=6):
    env = make_env(EnvConfig(name=name), Share(start, count, total))
    env.share_count = count
    return env


@pytest.mark.parametrize("name", OURS)
def test_observations_are_rows_of_the_space(name):
    env = environment(name)
    observation = env.reset(0)
    assert observation.shape == (6, *env.observation_space.shape)
    assert observation.dtype == env.observation_space.dtype
    step = env.step(np.zeros(6, dtype=int))
    assert step.observation.shape == step.final_observation.shape == observation.shape
    assert step.reward.shape == step.terminated.shape == step.truncated.shape == (6,)


@pytest.mark.parametrize("name", OURS)
def test_the_same_seed_gives_the_same_episodes(name):
    one, other = environment(name), environment(name)
    assert (one.reset(3) == other.reset(3)).all()
    for a, b in zip(play(one, 80), play(other, 80), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", OURS)
def test_another_seed_gives_other_episodes(name):
    one, other = environment(name), environment(name)
    one.reset(3), other.reset(4)
    assert any((a != b).any() for a, b in zip(play(one, 80), play(other, 80), strict=True))


@pytest.mark.parametrize("name", OURS)
def test_a_restored_environment_goes_on_in_mid_episode(name):
    one, other = environment(name), environment(name)
    one.reset(3)
    play(one, 41)
    state, before = one.state(), environment_view(one)
    np.testing.assert_array_equal(other.restore(state), before)
    for a, b in zip(play(one, 60, seed=2), play(other, 60, seed=2), strict=True):
        np.testing.assert_array_equal(a, b)


def environment_view(env):
    """The observation to act on, without a step."""
    return env.restore(env.state())


@pytest.mark.parametrize("name", OURS)
def test_an_environment_is_the_same_however_ranks_share_them(name):
    whole = environment(name)
    first, second = environment(name, 0, 4, 6), environment(name, 4, 2, 6)
    starts = np.concatenate([first.reset(5), second.reset(5)])
    np.testing.assert_array_equal(whole.reset(5), starts)
    all_seen = play(whole, 70)
    parts = zip(play(first, 70), play(second, 70, start=4), strict=True)
    for together, (a, b) in zip(all_seen, parts, strict=True):
        np.testing.assert_array_equal(together, np.concatenate([a, b], axis=1))


@pytest.mark.parametrize("name", OURS)
def test_a_step_tells_what_it_led_to_also_where_an_episode_ends(name):
    env = environment(name)
    env.reset(0)
    random, ends = np.random.default_rng(0), 0
    for _ in range(2100):
        step = env.step(random.integers(env.action_space.n, size=6))
        over = step.terminated | step.truncated
        ends += over.sum()
        same = (step.observation == step.final_observation).all(axis=1)
        assert same[~over].all()
        assert not same[over].any()
        assert not (step.terminated & step.truncated).any()
        if ends:
            return
    pytest.fail("no episode ended")
