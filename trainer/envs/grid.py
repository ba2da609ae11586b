"""MiniGrid's view, where a network should tell the cells apart: what stands there is a name."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium.wrappers import TransformObservation

from trainer.envs.base import Array
from trainer.errors import ConfigError

GROUND = ("unseen", "empty", "wall")
THING = 3
"""Of a thing's marks, where the ground's are 1: a key among walls is seen at once."""


def make_grid(name: str, *, cells: str, **kwargs: Any) -> "gymnasium.Env[Array, Any]":
    """The MiniGrid task `name`, of whose observation direction and view are shown, one-hot.

    Each cell of the view is its object, its colour and its state; the last two are left out of the
    ground, where they tell nothing. `cells` must be "one_hot".
    """
    if cells != "one_hot":
        raise ConfigError(f"env.kwargs.cells: {cells!r} is not one_hot", hint="or leave it out")
    from minigrid.core.constants import COLOR_TO_IDX, OBJECT_TO_IDX, STATE_TO_IDX

    env = gymnasium.make(name, **kwargs)
    view = env.observation_space["image"]
    sizes = [len(OBJECT_TO_IDX), len(COLOR_TO_IDX), len(STATE_TO_IDX)]
    directions = int(env.observation_space["direction"].n)
    offsets = np.cumsum([0, directions, *sizes * int(np.prod(view.shape[:2]))])
    space = gymnasium.spaces.Box(0, THING, (int(offsets[-1]),), np.uint8)
    worth = np.full((len(OBJECT_TO_IDX), len(sizes)), THING, space.dtype)
    worth[[OBJECT_TO_IDX[kind] for kind in GROUND]] = 1, 0, 0

    def one_hot(seen: dict[str, Any]) -> Array:
        marks = np.zeros(space.shape, space.dtype)
        marks[seen["direction"]] = 1
        marks[offsets[1:-1] + seen["image"].ravel()] = worth[seen["image"][..., 0]].ravel()
        return marks

    return TransformObservation(env, one_hot, space)
