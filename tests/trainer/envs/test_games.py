import gymnasium
import numpy as np
import pytest

from trainer.envs.base import Share
from trainer.envs.cartpole import CartPole
from trainer.envs.pong import POINTS, Pong
from trainer.envs.swingup import SwingUp


def share(count):
    return Share(0, count, count)


def test_cartpole_moves_as_gymnasiums_does():
    reference = gymnasium.make("CartPole-v1").unwrapped
    reference.reset(seed=0)
    ours = CartPole(share(1))
    ours.physics[0] = reference.state
    for action in [0, 1, 1, 0, 1, 1, 1, 0]:
        expected, reward, terminated, _, _ = reference.step(action)
        step = ours.step(np.array([action]))
        np.testing.assert_allclose(step.final_observation[0], expected, rtol=1e-5)
        assert (step.reward[0], step.terminated[0]) == (reward, terminated)


def test_a_balanced_pole_is_cut_off_by_the_clock_after_500_steps():
    env = CartPole(share(1))
    env.reset(0)
    env.steps[0] = 499
    step = env.step(np.array([1]))
    assert step.truncated[0]
    assert not step.terminated[0]


@pytest.mark.parametrize(("difficulty", "survivors"), [(0.0, "more"), (1.0, "fewer")])
def test_difficulty_makes_poles_fall_sooner(difficulty, survivors):
    def mean_length(d):
        env, random = CartPole(share(256), difficulty=d), np.random.default_rng(0)
        env.reset(0)
        falls = sum(env.step(random.integers(2, size=256)).terminated.sum() for _ in range(200))
        return 256 * 200 / falls

    easier = mean_length(difficulty) > mean_length(0.5)
    assert easier == (survivors == "more")


def test_a_hanging_pole_earns_nothing_and_an_upright_one_a_point():
    env = SwingUp(share(2))
    env.physics[:] = [[0, 0, np.pi, 0], [0, 0, 0, 0]]
    reward = env.step(np.array([0, 1])).reward
    np.testing.assert_allclose(reward, [0, 1], atol=0.01)


def test_a_cart_that_leaves_ends_the_swing_up():
    env = SwingUp(share(1))
    env.physics[:] = [[2.39, 5, 0, 0]]
    step = env.step(np.array([1]))
    assert step.terminated[0]
    assert step.reward[0] == 0


def pong_return(policy, difficulty, games=32):
    env = Pong(share(games), difficulty=difficulty)
    observation, total = env.reset(0), np.zeros(games)
    playing = np.ones(games, dtype=bool)
    while playing.any():
        step = env.step(policy(observation))
        total[playing] += step.reward[playing]
        playing &= ~(step.terminated | step.truncated)
        observation = step.observation
    return total


def follow(observation):
    """Goes where the ball is."""
    gap = observation[:, 1] - observation[:, 4]
    return np.where(gap > 0.1, 1, np.where(gap < -0.1, 2, 0))


def stay(observation):
    return np.zeros(len(observation), dtype=int)


def test_pong_is_lost_by_standing_still():
    assert pong_return(stay, difficulty=1.0).mean() < -15


def test_following_the_ball_beats_standing_still():
    assert pong_return(follow, 0.5).mean() > pong_return(stay, 0.5).mean() + 10


def test_a_stronger_rival_costs_points():
    assert pong_return(follow, 0.0).mean() > pong_return(follow, 1.0).mean()


def test_a_game_ends_with_21_points_for_one_side():
    env = Pong(share(4), difficulty=1.0)
    env.reset(0)
    won, lost = np.zeros(4), np.zeros(4)
    while True:
        step = env.step(np.zeros(4, dtype=int))
        won += step.reward > 0
        lost += step.reward < 0
        if step.terminated.any():
            break
    assert max(won.max(), lost.max()) == POINTS
