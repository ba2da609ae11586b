"""What the training loop asks of a task."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import gymnasium
import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Share:
    """Which of the `total` environments this rank steps: `count` from `start` on."""

    start: int
    count: int
    total: int

    @property
    def slice(self) -> slice:
        """The share as an index into something that has a row per environment."""
        return slice(self.start, self.start + self.count)


@dataclass(frozen=True, slots=True)
class Step:
    """One step of N environments. Where an episode ends, the next has begun already.

    `observation` (N, …) is what to act on next, `final_observation` (N, …) what this step led to:
    they differ where an episode ended. `terminated`: the task ended it, nothing comes after.
    `truncated`: only the clock did, and the value of `final_observation` still counts.
    """

    observation: Array
    reward: Array
    terminated: Array
    truncated: Array
    final_observation: Array


class VectorEnv(Protocol):
    """N environments stepped together.

    Their random numbers depend on the seed and on an environment's number among all ranks', not
    on how the ranks share them. `state` and `restore` let a resumed run go on in mid-episode. One
    that holds processes, files or windows lets them go in a method `close`.
    """

    observation_space: gymnasium.Space[Any]
    action_space: gymnasium.Space[Any]

    def reset(self, seed: int) -> Array:
        """Begins all episodes anew; returns observations (N, …)."""

    def step(self, actions: Array) -> Step:
        """Takes one action (N, …) in each environment."""

    def state(self) -> dict[str, Any]:
        """All that a later `restore` needs, of plain values and arrays."""

    def restore(self, state: dict[str, Any]) -> Array:
        """Goes on where `state` was taken; returns the observations (N, …) to act on."""


def tasks_of(env: VectorEnv, count: int, *, name: str) -> tuple[tuple[str, ...], Array]:
    """The tasks' names, and which of them each of `count` environments plays; one unless mixed."""
    names: tuple[str, ...] = getattr(env, "task_names", (name,))
    return names, getattr(env, "task_of", np.zeros(count, dtype=int))


@contextmanager
def opened(env: VectorEnv) -> Iterator[VectorEnv]:
    """The environment, closed in the end where it has something to close."""
    try:
        yield env
    finally:
        close = getattr(env, "close", None)
        if close is not None:
            close()


class SharedRandom:
    """Random numbers for a share of the environments.

    Draws for all environments and keeps the share's rows, so that environment i sees the same
    numbers however many ranks there are.
    """

    def __init__(self, share: Share, seed: int) -> None:
        self.share = share
        self.generator = np.random.Generator(np.random.PCG64(seed))

    def uniform(self, low: float, high: float, *shape: int) -> Array:
        """(count, *shape) numbers from [low, high)."""
        return self.generator.uniform(low, high, (self.share.total, *shape))[self.share.slice]

    def integers(self, high: int, *shape: int) -> Array:
        """(count, *shape) whole numbers from 0 to high - 1."""
        return self.generator.integers(high, size=(self.share.total, *shape))[self.share.slice]

    @property
    def state(self) -> dict[str, Any]:
        """The generator's state."""
        return dict(self.generator.bit_generator.state)

    @state.setter
    def state(self, state: dict[str, Any]) -> None:
        self.generator.bit_generator.state = state
