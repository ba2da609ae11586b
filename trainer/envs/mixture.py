"""Several tasks at once: environment i plays task i modulo their number."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

import gymnasium
import numpy as np

from trainer.envs.base import Array, Share, Step, VectorEnv, opened
from trainer.envs.gymnasium_env import GymnasiumEnv


class Mixture:
    """Tasks with the same action space, whose observations get the task's number, one-hot, on end.

    `task_names` and `task_of` (N,) say who plays what: the evaluation scores each task by itself.
    """

    def __init__(self, share: Share, tasks: Mapping[str, Callable[[Share], VectorEnv]]) -> None:
        self.task_names = tuple(tasks)
        count = len(tasks)
        self.task_of = np.arange(share.start, share.start + share.count) % count
        self.parts: list[VectorEnv] = []
        with ExitStack() as stack:
            stack.callback(self.close)  # unless all of them can be made
            for number, make in enumerate(tasks.values()):
                start = len(range(number, share.start, count))
                total = len(range(number, share.total, count))
                own = int((self.task_of == number).sum())
                self.parts.append(make(Share(start=start, count=own, total=total)))
            stack.pop_all()
        first = self.parts[0]
        assert first.observation_space.shape is not None
        size = first.observation_space.shape[0] + count
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (size,), np.float32)
        self.action_space = first.action_space

    def reset(self, seed: int) -> Array:
        """Begins all episodes anew."""
        return self._join([part.reset(seed + i) for i, part in enumerate(self.parts)])

    def play_once(self) -> None:
        """Only first episodes count, as in `GymnasiumEnv.play_once`."""
        for part in self.parts:
            if isinstance(part, GymnasiumEnv):
                part.play_once()

    def step(self, actions: Array) -> Step:
        """Takes one action in each environment of each task."""
        steps = [part.step(actions[self.task_of == i]) for i, part in enumerate(self.parts)]
        return Step(
            observation=self._join([step.observation for step in steps]),
            reward=self._merge([step.reward for step in steps]),
            terminated=self._merge([step.terminated for step in steps]),
            truncated=self._merge([step.truncated for step in steps]),
            final_observation=self._join([step.final_observation for step in steps]),
        )

    def state(self) -> dict[str, Any]:
        """The state of each task."""
        return dict(zip(self.task_names, (part.state() for part in self.parts), strict=True))

    def restore(self, state: dict[str, Any]) -> Array:
        """Goes on where `state` was taken."""
        names = self.task_names
        return self._join(
            [part.restore(state[name]) for name, part in zip(names, self.parts, strict=True)]
        )

    def close(self) -> None:
        """Closes all parts."""
        with ExitStack() as stack:
            for part in self.parts:
                stack.enter_context(opened(part))

    def _join(self, observations: list[Array]) -> Array:
        which = np.eye(len(self.parts), dtype=np.float32)[self.task_of]
        return np.concatenate([self._merge(observations), which], axis=1, dtype=np.float32)

    def _merge(self, values: list[Array]) -> Array:
        result = np.empty((len(self.task_of), *values[0].shape[1:]), dtype=values[0].dtype)
        for number, value in enumerate(values):
            result[self.task_of == number] = value
        return result
