"""A game by what its console remembers: the bytes of memory that matter, and how they change."""

from contextlib import suppress
from functools import partial
from typing import Any

import gymnasium
import numpy as np
from gymnasium.wrappers import FrameStackObservation, TransformObservation

from trainer.envs.base import Array
from trainer.errors import ConfigError

SIZE = 128


def make_ram(name: str, *, ram: Any, **kwargs: Any) -> "gymnasium.Env[Array, Any]":
    """The Atari game `name`, shown as the bytes `ram` of its memory; ConfigError for other bytes.

    They are a list, or in a sweep file a text such as "49, 54". What each byte means is listed by
    AtariARI (Anand et al. 2019).
    """
    if isinstance(ram, str):
        with suppress(ValueError):
            ram = [int(number) for number in ram.split(",")]
    known = isinstance(ram, list) and all(type(i) is int and 0 <= i < SIZE for i in ram)
    if not ram or not known:
        raise ConfigError(f"env.kwargs.ram: {ram!r} is no list of bytes, from 0 to {SIZE - 1}")
    env = FrameStackObservation(gymnasium.make(name, **kwargs | {"obs_type": "ram"}), stack_size=2)
    bounds = np.repeat([[0.0, -128.0], [255.0, 127.0]], len(ram), axis=1) / 255
    space = gymnasium.spaces.Box(*bounds.astype(np.float32))
    return TransformObservation(env, partial(bytes_and_changes, which=ram), space)


def bytes_and_changes(steps: Array, which: list[int]) -> Array:
    """(2·K,) in 255ths, of the last two steps' memory (2, SIZE): K bytes, and what each changed by.

    Differences wrap around as bytes do, from -128 to 127. An episode begins without change.
    """
    before, now = steps[:, which]
    change = (now - before).view(np.int8)
    return np.concatenate([now, change], dtype=np.float32) / np.float32(255)
