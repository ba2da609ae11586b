"""Swing a pole up and keep it there: CartPole's physics from hanging down, N at a time."""

from typing import Any

import gymnasium
import numpy as np

from trainer.envs.base import Array, Share, SharedRandom, Step
from trainer.envs.cartpole import FORCE, MAX_POSITION, MAX_STEPS, push_cart


class SwingUp:
    """Up to 1 point a step for an upright pole, 0 for a hanging one; ends where the cart leaves.

    `difficulty` from 0 to 1 lengthens the pole from 0.5 to 1.5 of CartPole's: it takes more swings.
    """

    def __init__(self, share: Share, *, difficulty: float = 0.5) -> None:
        self.share = share
        self.half_length = 0.5 * (0.5 + difficulty)
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (5,), np.float32)
        self.action_space = gymnasium.spaces.Discrete(2)
        self.reset(0)

    def reset(self, seed: int) -> Array:
        """Begins all episodes anew."""
        self.random = SharedRandom(self.share, seed)
        self.physics = self._start()
        self.steps = np.zeros(self.share.count, dtype=np.int64)
        return self._observe()

    def step(self, actions: Array) -> Step:
        """Pushes each cart to the left (0) or to the right (1)."""
        force = np.where(actions == 1, FORCE, -FORCE)
        self.physics = push_cart(self.physics, force, self.half_length)
        self.steps += 1
        terminated = np.abs(self.physics[:, 0]) > MAX_POSITION
        truncated = (self.steps >= MAX_STEPS) & ~terminated
        centre = 1 - (self.physics[:, 0] / MAX_POSITION) ** 2
        reward = ((1 + np.cos(self.physics[:, 2])) / 2 * centre).astype(np.float32)
        reward[terminated] = 0
        final = self._observe()
        start = self._start()
        ended = terminated | truncated
        if not ended.any():
            return Step(final, reward, terminated, truncated, final)
        self.physics[ended] = start[ended]
        self.steps[ended] = 0
        return Step(self._observe(), reward, terminated, truncated, final)

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
        return self._observe()

    def _start(self) -> Array:
        start = self.random.uniform(-0.05, 0.05, 4)
        start[:, 2] += np.pi
        return start

    def _observe(self) -> Array:
        x, x_dot, angle, angle_dot = self.physics.T
        return np.stack([x, x_dot, np.cos(angle), np.sin(angle), angle_dot / 4], axis=1).astype(
            np.float32
        )
