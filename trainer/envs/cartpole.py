"""CartPole-v1 (Barto, Sutton, Anderson 1983; constants of Gymnasium), N at a time in NumPy."""

from typing import Any

import gymnasium
import numpy as np

from trainer.envs.base import Array, Share, SharedRandom, Step

GRAVITY = 9.8
CART_MASS = 1.0
POLE_MASS = 0.1
FORCE = 10.0
TIME_STEP = 0.02
MAX_POSITION = 2.4
MAX_ANGLE = 12 * np.pi / 180
MAX_STEPS = 500


class CartPole:
    """Balance a pole on a cart: 1 point a step, until it falls or 500 steps have passed.

    `difficulty` 0.5 is CartPole-v1. Less lengthens the pole, up to twice its length at 0, so that
    it falls more slowly; more lets gusts push the cart, at 1 as hard as the policy itself.
    """

    def __init__(self, share: Share, *, difficulty: float = 0.5) -> None:
        self.share = share
        self.half_length = 0.5 * 2 ** max(0.0, 1 - 2 * difficulty)
        self.gust = FORCE * max(0.0, 2 * difficulty - 1)
        limit = np.array([2 * MAX_POSITION, np.inf, 2 * MAX_ANGLE, np.inf], dtype=np.float32)
        self.observation_space = gymnasium.spaces.Box(-limit, limit)
        self.action_space = gymnasium.spaces.Discrete(2)
        self.reset(0)

    def reset(self, seed: int) -> Array:
        """Begins all episodes anew."""
        self.random = SharedRandom(self.share, seed)
        self.physics = self.random.uniform(-0.05, 0.05, 4)
        self.steps = np.zeros(self.share.count, dtype=np.int64)
        return self.physics.astype(np.float32)

    def step(self, actions: Array) -> Step:
        """Pushes each cart to the left (0) or to the right (1)."""
        force = np.where(actions == 1, FORCE, -FORCE)
        if self.gust:
            force = force + self.random.uniform(-self.gust, self.gust)
        self.physics = push_cart(self.physics, force, self.half_length)
        self.steps += 1
        terminated = (np.abs(self.physics[:, 0]) > MAX_POSITION) | (
            np.abs(self.physics[:, 2]) > MAX_ANGLE
        )
        truncated = (self.steps >= MAX_STEPS) & ~terminated
        final = self.physics.astype(np.float32)
        ended = terminated | truncated
        start = self.random.uniform(-0.05, 0.05, 4)  # drawn in every step: ranks stay in step
        if not ended.any():
            return Step(final, np.ones(len(final), np.float32), terminated, truncated, final)
        self.physics[ended] = start[ended]
        self.steps[ended] = 0
        observation = self.physics.astype(np.float32)
        return Step(observation, np.ones(len(final), np.float32), terminated, truncated, final)

    def state(self) -> dict[str, Any]:
        """Physics, clocks and random numbers."""
        return {
            "physics": self.physics.copy(),
            "steps": self.steps.copy(),
            "random": self.random.state,
        }

    def restore(self, state: dict[str, Any]) -> Array:
        """Goes on where `state` was taken."""
        self.physics, self.steps = state["physics"].copy(), state["steps"].copy()
        self.random.state = state["random"]
        return self.physics.astype(np.float32)


def push_cart(physics: Array, force: Array, half_length: float) -> Array:
    """One Euler step of Barto et al.'s equations of motion; physics (N, 4), force (N,)."""
    x, x_dot, angle, angle_dot = physics.T
    cos, sin = np.cos(angle), np.sin(angle)
    total_mass = CART_MASS + POLE_MASS
    moment = POLE_MASS * half_length
    push = (force + moment * angle_dot**2 * sin) / total_mass
    angle_acc = (GRAVITY * sin - cos * push) / (
        half_length * (4.0 / 3.0 - POLE_MASS * cos**2 / total_mass)
    )
    x_acc = push - moment * angle_acc * cos / total_mass
    return np.stack(
        [
            x + TIME_STEP * x_dot,
            x_dot + TIME_STEP * x_acc,
            angle + TIME_STEP * angle_dot,
            angle_dot + TIME_STEP * angle_acc,
        ],
        axis=1,
    )
