"""From `env.name` to environments."""

import difflib
import importlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import gymnasium
from gymnasium.vector import AutoresetMode

from trainer.config import EnvConfig
from trainer.envs import cognitive
from trainer.envs.base import Share, VectorEnv, opened
from trainer.envs.cartpole import CartPole
from trainer.envs.cognitive import CognitiveTask, Maze
from trainer.envs.grid import make_grid
from trainer.envs.gymnasium_env import GymnasiumEnv
from trainer.envs.mixture import Mixture
from trainer.envs.pong import Pong
from trainer.envs.ram import make_ram
from trainer.envs.swingup import SwingUp
from trainer.envs.workers import Workers
from trainer.errors import ConfigError

COGNITIVE: dict[str, Callable[..., VectorEnv]] = {
    "recall": partial(CognitiveTask, plan=cognitive.recall),
    "nback": partial(CognitiveTask, plan=cognitive.nback),
    "bandit": partial(CognitiveTask, plan=cognitive.bandit),
    "match": partial(CognitiveTask, plan=cognitive.match),
    "maze": Maze,
}
GAMES: dict[str, Callable[..., VectorEnv]] = {
    "cartpole": CartPole,
    "swingup": SwingUp,
    "pong": Pong,
}
OURS = GAMES | COGNITIVE
PACKAGES = {
    "ale": ("ale_py", "atari"),
    "minigrid": ("minigrid", "grid"),
    "babyai": ("minigrid", "grid"),
}
"""Module and extra of ids that begin so."""


def make_env(config: EnvConfig, share: Share, *, workers: int = 1) -> VectorEnv:
    """This rank's share of the environments; ConfigError where the name leads to none.

    A name is one of ours, `cogeval` for a mixture of several, an id of Gymnasium, or
    `package.module:function`, the import path of what makes one. Those that are not ours, which
    step one by one, are spread over `workers` processes.
    """
    if config.name == "cogeval":
        return mixture(config, share, workers=workers)
    if config.name in OURS:
        difficulty = 0.5 if config.difficulty is None else config.difficulty
        return OURS[config.name](share, difficulty=difficulty)
    if config.difficulty is not None:
        raise ConfigError(f"env.difficulty: {config.name} has none", hint="leave it out")
    workers = min(workers, share.count)
    if workers <= 1:
        return foreign(config, share)
    with opened(foreign(config, Share(share.start, 1, share.total))):
        pass  # a mistake shows here, not in a process
    return Workers(partial(foreign, config), share, count=workers)


def mixture(config: EnvConfig, share: Share, *, workers: int) -> VectorEnv:
    """The environments of `env.tasks` as one. Raises ConfigError where they do not fit together."""
    names = config.tasks
    if "cogeval" in names or len(set(names)) < len(names):
        raise ConfigError("env.tasks: each task once, and cogeval is none of them")
    if share.count < len(names) and not set(names) <= set(OURS):
        raise ConfigError(
            f"{share.count} environments cannot play {len(names)} tasks",
            hint=f"env.num_envs={len(names)} and evaluation.num_episodes={len(names)}, at least",
        )
    each = max(1, workers // len(names))
    made = Mixture(
        share, {name: partial(make_env, replace(config, name=name), workers=each) for name in names}
    )
    spaces = [(part.observation_space.shape, part.action_space) for part in made.parts]
    for name, (shape, actions) in zip(names, spaces, strict=True):
        if shape is None or len(shape) != 1 or (shape, actions) != spaces[0]:
            made.close()
            raise ConfigError(
                f"env.tasks: {name} shows {shape} and takes {actions}",
                hint="one policy plays all tasks: they show vectors of one length"
                " and take the same actions",
            )
    return made


def foreign(config: EnvConfig, share: Share) -> VectorEnv:
    """Environments of others."""
    return imported(config, share) if ":" in config.name else registered(config, share)


def registered(config: EnvConfig, share: Share) -> VectorEnv:
    """Environments by their id in Gymnasium's registry."""
    namespace = config.name.partition("/")[0].partition("-")[0].lower()
    if namespace in PACKAGES:
        package, extra = PACKAGES[namespace]
        try:
            module = importlib.import_module(package)
        except ImportError as error:
            raise ConfigError(
                f"env.name: {config.name} needs {package}, which is not installed",
                hint=f"pip install 'protein-sky[{extra}]'",
            ) from error
        gymnasium.register_envs(module)
    try:
        gymnasium.spec(config.name)
    except gymnasium.error.Error as error:
        close = difflib.get_close_matches(config.name, [*OURS, *gymnasium.registry], n=3)
        raise ConfigError(
            f"env.name: there is no environment {config.name!r}",
            hint=f"did you mean {' or '.join(close)}?" if close else f"ours: {', '.join(OURS)}",
        ) from error
    kwargs = config.kwargs
    try:
        if namespace == "ale" and not ("ram" in kwargs or kwargs.get("obs_type") == "ram"):
            return atari(config, share)
        make = constructor(namespace, kwargs)
        return GymnasiumEnv.of(partial(make, config.name, **kwargs), share)
    except ConfigError:
        raise
    except Exception as error:
        raise ConfigError(
            f"env.name: {config.name} cannot be made with env.kwargs {kwargs}:"
            f" {type(error).__name__}: {error}"
        ) from error


def constructor(namespace: str, kwargs: Mapping[str, Any]) -> Callable[..., Any]:
    """What makes one environment, of its id and `kwargs`."""
    match namespace:
        case "ale" if "ram" in kwargs:
            return make_ram
        case "minigrid" | "babyai" if "cells" in kwargs:
            return make_grid
        case _:
            make: Callable[..., Any] = gymnasium.make
            return make


def atari(config: EnvConfig, share: Share) -> VectorEnv:
    """84 × 84 pictures, four in a row, by ale-py's own vector environment."""
    spec = gymnasium.spec(config.name)
    envs = gymnasium.make_vec(
        spec,
        num_envs=share.count,
        vectorization_mode=gymnasium.VectorizeMode.VECTOR_ENTRY_POINT,
        autoreset_mode=AutoresetMode.SAME_STEP,
        **config.kwargs,
    )
    return GymnasiumEnv(envs, share)


def imported(config: EnvConfig, share: Share) -> VectorEnv:
    """What a user's function makes: one `gymnasium.Env`, or, given a `share`, a VectorEnv."""
    function = import_path(config.name, key="env.name")
    signature = inspect.signature(function)
    steps_many = "share" in signature.parameters
    arguments = config.kwargs | ({"share": share} if steps_many else {})
    try:
        signature.bind(**arguments)
    except TypeError as error:
        raise ConfigError(f"env.kwargs: {config.name} takes other arguments: {error}") from error
    if not steps_many:
        return GymnasiumEnv.of(partial(function, **arguments), share)
    made: VectorEnv = function(**arguments)
    return made


def import_path(path: str, *, key: str) -> Callable[..., Any]:
    """The function at `package.module:name`; ConfigError says what is missing."""
    module_name, _, name = path.partition(":")
    try:
        function = getattr(importlib.import_module(module_name), name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            f"{key}: {path} cannot be imported: {error}",
            hint="write package.module:function; the package must be on PYTHONPATH",
        ) from error
    if not callable(function):
        raise ConfigError(f"{key}: {path} is not a function")
    result: Callable[..., Any] = function
    return result
