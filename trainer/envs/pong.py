"""Pong by its state, not its pixels: two paddles, a ball, first to 21, N games at a time.

The court is 2 wide (x from -1 to 1) and 1.2 high (y from -0.6 to 0.6). Each step is `FRAMES`
frames, as in the Atari environments' frame skip.
"""

from typing import Any

import gymnasium
import numpy as np

from trainer.envs.base import Array, Share, SharedRandom, Step

FRAMES = 8
HEIGHT = 0.6
PADDLE = 0.12  # half of a paddle's length
PADDLE_SPEED = 0.02
BALL_SPEED = 0.02  # to the side, per frame; grows with each hit
SPEED_UP = 1.05
MAX_SPEED = 0.05
STEEPEST = 0.03  # vertical speed off a paddle's edge
POINTS = 21
MAX_STEPS = 2000


class Pong:
    """+1 for a point won, −1 for one lost, until one side has 21: returns from −21 to 21.

    The policy is the right paddle: 0 stays, 1 goes up, 2 goes down. The left one follows the ball,
    at `difficulty` 0 with a third of the policy's speed, at 1 with all of it.
    """

    def __init__(self, share: Share, *, difficulty: float = 0.5) -> None:
        self.share = share
        self.rival_speed = PADDLE_SPEED * (1 + 2 * difficulty) / 3
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (8,), np.float32)
        self.action_space = gymnasium.spaces.Discrete(3)
        self.reset(0)

    def reset(self, seed: int) -> Array:
        """Begins all games anew."""
        self.random = SharedRandom(self.share, seed)
        count = self.share.count
        self.ball = np.zeros((count, 4))  # x, y and their speeds per frame
        self.paddle = np.zeros(count)
        self.rival = np.zeros(count)
        self.points = np.zeros((count, 2), dtype=np.int64)  # won, lost
        self.steps = np.zeros(count, dtype=np.int64)
        self._serve(np.ones(count, dtype=bool), self.random.uniform(-1, 1, 2))
        return self._observe()

    def step(self, actions: Array) -> Step:
        """Moves the paddle for `FRAMES` frames."""
        reward = np.zeros(self.share.count, dtype=np.float32)
        serves = self.random.uniform(-1, 1, FRAMES, 2)
        move = PADDLE_SPEED * ((actions == 1).astype(float) - (actions == 2))
        limit = HEIGHT - PADDLE
        for frame in range(FRAMES):
            self.paddle = np.clip(self.paddle + move, -limit, limit)
            chase = np.clip(self.ball[:, 1] - self.rival, -self.rival_speed, self.rival_speed)
            self.rival = np.clip(self.rival + chase, -limit, limit)
            reward += self._fly(serves[:, frame])
        self.steps += 1
        terminated = self.points.max(axis=1) >= POINTS
        truncated = (self.steps >= MAX_STEPS) & ~terminated
        final = self._observe()
        ended = terminated | truncated
        if not ended.any():
            return Step(final, reward, terminated, truncated, final)
        self.points[ended] = self.steps[ended] = self.paddle[ended] = self.rival[ended] = 0
        self._serve(ended, serves[:, -1])
        return Step(self._observe(), reward, terminated, truncated, final)

    def state(self) -> dict[str, Any]:
        """The games and the random numbers."""
        names = ("ball", "paddle", "rival", "points", "steps")
        games = {name: getattr(self, name).copy() for name in names}
        return {"games": games, "random": self.random.state}

    def restore(self, state: dict[str, Any]) -> Array:
        """Goes on where `state` was taken."""
        for name, value in state["games"].items():
            setattr(self, name, value.copy())
        self.random.state = state["random"]
        return self._observe()

    def _serve(self, where: Array, draws: Array) -> None:
        """A ball from the centre, to a random side at a random slope; draws (N, 2) in [-1, 1)."""
        side = np.where(draws[:, 0] < 0, -BALL_SPEED, BALL_SPEED)
        slope = draws[:, 1] * STEEPEST / 2
        fresh = np.stack([np.zeros_like(side), np.zeros_like(side), side, slope], axis=1)
        self.ball[where] = fresh[where]

    def _fly(self, draws: Array) -> Array:
        """One frame of the ball; returns the points (N,) won or lost in it."""
        x, y, dx, dy = self.ball.T
        x, y = x + dx, y + dy
        wall = np.abs(y) > HEIGHT
        y = np.where(wall, np.sign(y) * 2 * HEIGHT - y, y)
        dy = np.where(wall, -dy, dy)
        at_right, at_left = x >= 1, x <= -1
        offset = y - np.where(at_right, self.paddle, self.rival)
        hit = (at_right | at_left) & (np.abs(offset) <= PADDLE + 0.02)
        speed = np.minimum(np.abs(dx) * SPEED_UP, MAX_SPEED)
        dx = np.where(hit, np.where(at_right, -speed, speed), dx)
        dy = np.where(hit, offset / PADDLE * STEEPEST, dy)
        x = np.where(hit, np.clip(x, -1, 1), x)
        self.ball = np.stack([x, y, dx, dy], axis=1)
        won, lost = at_left & ~hit, at_right & ~hit
        self.points += np.stack([won, lost], axis=1)
        if (won | lost).any():
            self._serve(won | lost, draws)
        return won.astype(np.float32) - lost

    def _observe(self) -> Array:
        """Ball, its speeds, paddles and points, all of about 1."""
        columns = [
            self.ball[:, 0],
            self.ball[:, 1] / HEIGHT,
            self.ball[:, 2] / MAX_SPEED,
            self.ball[:, 3] / STEEPEST,
            self.paddle / HEIGHT,
            self.rival / HEIGHT,
            *(self.points / POINTS).T,
        ]
        return np.stack(columns, axis=1).astype(np.float32)
