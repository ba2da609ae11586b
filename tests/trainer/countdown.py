"""A user's environments, as the documentation shows them."""

import os
from pathlib import Path

import gymnasium
import numpy as np

from tests.launcher.waiting import eventually
from trainer.envs.cartpole import CartPole


class Countdown(gymnasium.Env):
    """Ends truly after `length` steps, or by its clock after `limit`; shows the steps taken."""

    observation_space = gymnasium.spaces.Box(0, 100, (1,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, length=3, limit=100):
        self.length, self.limit = length, limit

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.steps += 1
        observation = np.full(1, self.steps, np.float32)
        return observation, 1.0, self.steps >= self.length, self.steps >= self.limit, {}


def two_points():
    """An episode returns 2."""
    return Countdown(length=2)


def eight_points():
    """An episode returns 8."""
    return Countdown(length=8)


class Steer(gymnasium.Env):
    """One step: the nearer the two real actions are to (0.5, -0.5), the better."""

    observation_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)
    action_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(1, np.float32), {}

    def step(self, action):
        assert self.action_space.contains(action.astype(np.float32))
        reward = -float(np.abs(action - [0.5, -0.5]).sum())
        return np.zeros(1, np.float32), reward, True, False, {}


class Brittle(Countdown):
    """Breaks in its first step, unless it holds."""

    def __init__(self, holds):
        super().__init__()
        self.holds = holds

    def step(self, action):
        return super().step(1 // self.holds)


class Held(Steer):
    """Steer, but the episode goes on after that step, without a point, until a file is there."""

    def __init__(self, until):
        self.until = Path(until)

    def reset(self, *, seed=None, options=None):
        self.steps = 0
        return super().reset(seed=seed)

    def step(self, action):
        self.steps += 1
        observation, reward, _, _, info = super().step(action)
        return observation, reward * (self.steps == 1), self.until.exists(), False, info


class Pair(gymnasium.Env):
    """One step: a point for each of two choices that is right, 1 of 2 and 2 of 3."""

    observation_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)
    action_space = gymnasium.spaces.MultiDiscrete([2, 3])

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(1, np.float32), {}

    def step(self, action):
        return (
            np.zeros(1, np.float32),
            float(action[0] == 1) + float(action[1] == 2),
            True,
            False,
            {},
        )


class Spot(gymnasium.Env):
    """One step: is the bright half of the picture the left (0) or the right (1)?"""

    observation_space = gymnasium.spaces.Box(0, 255, (8, 8, 3), np.uint8)
    action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.side = int(self.np_random.integers(2))
        picture = np.zeros((8, 8, 3), np.uint8)
        picture[:, 4 * self.side : 4 * self.side + 4] = 255
        return picture, {}

    def step(self, action):
        return np.zeros((8, 8, 3), np.uint8), float(action == self.side), True, False, {}


def only_for_dogs():
    raise RuntimeError("never called")


not_a_function = 3


def worst_return(policy, evaluation):
    """Custom metrics: the lowest return of the evaluation."""
    return {"worst_return": evaluation.returns.min()}


def episodes(policy, evaluation):
    """Custom metrics: how many episodes were played."""
    return {"episodes": len(evaluation.returns)}


def once_allowed(policy, evaluation):
    """Custom metrics: none, and no end before the file that $ALLOWED names is there."""
    eventually(Path(os.environ["ALLOWED"]).exists, seconds=500.0)
    return {}


class Mission(gymnasium.Env):
    """A mapping of a picture, a number and a text, as MiniGrid shows."""

    observation_space = gymnasium.spaces.Dict(
        {
            "image": gymnasium.spaces.Box(0, 255, (2, 2), np.uint8),
            "direction": gymnasium.spaces.Discrete(4),
            "mission": gymnasium.spaces.Text(10),
        }
    )
    action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return {"image": np.full((2, 2), 7, np.uint8), "direction": 2, "mission": "go"}, {}


class Letters(gymnasium.Env):
    """Shows as many numbers as it likes."""

    observation_space = gymnasium.spaces.Sequence(gymnasium.spaces.Discrete(26))
    action_space = gymnasium.spaces.Discrete(2)


def poles(share, difficulty):
    """A VectorEnv for a whole share."""
    return CartPole(share, difficulty=difficulty)
