"""MiniGrid's view, where a network should tell the cells apart: what stands there is a name."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium.wrappers import TransformObservation

from trainer.envs.base import Array
from trainer.errors import ConfigError


def make_grid(name: str, *, cells: str, **kwargs: Any) -> "gymnasium.Env[Array, Any]":
    """The MiniGrid task `name`, of whose observation direction and view are shown, one-hot.

    Each cell of the view is its object, its colour and its state. `cells` must be "one_hot".
    """
    if cells != "one_hot":
        raise ConfigError(f"env.kwargs.cells: {cells!r} is not one_hot", hint="or leave it out")
    from minigrid.core.constants import COLOR_TO_IDX, OBJECT_TO_IDX, STATE_TO_IDX

    env = gymnasium.make(name, **kwargs)
    view = env.observation_space["image"]
    sizes = [len(OBJECT_TO_IDX), len(COLOR_TO_IDX), len(STATE_TO_IDX)]
    directions = int(env.observation_space["direction"].n)
    offsets = np.cumsum([0, directions, *sizes * int(np.prod(view.shape[:2]))])
    space = gymnasium.spaces.Box(0, 1, (int(offsets[-1]),), np.uint8)

    def one_hot(seen: dict[str, Any]) -> Array:
        marks = np.zeros(space.shape, space.dtype)
        names = np.concatenate([[seen["direction"]], seen["image"].ravel()])
        marks[offsets[:-1] + names] = 1
        return marks

    return TransformObservation(env, one_hot, space)
