"""Environments of Gymnasium and of those who follow it, through its vector API."""

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from trainer.envs.base import Array, Share, Step
from trainer.errors import ConfigError


class GymnasiumEnv:
    """A `gymnasium.vector.VectorEnv` that begins the next episode in the step that ends one.

    Environments of Gymnasium cannot be stopped in mid-episode: after `restore` they begin anew.
    """

    def __init__(self, envs: "gymnasium.vector.VectorEnv[Any, Any, Any]", share: Share) -> None:
        mode = envs.metadata.get("autoreset_mode")
        if mode != AutoresetMode.SAME_STEP:
            raise ValueError(f"its autoreset_mode must be SAME_STEP, not {mode}")
        self.envs = envs
        self.share = share
        self.observation_space = envs.single_observation_space
        self.action_space = envs.single_action_space
        self.seed = 0
        self.restores = 0

    @classmethod
    def of(cls, make: Callable[[], "gymnasium.Env[Any, Any]"], share: Share) -> "GymnasiumEnv":
        """`share.count` copies of one environment, stepped one after the other."""
        makers = [lambda: flat(make())] * share.count
        return cls(SyncVectorEnv(makers, autoreset_mode=AutoresetMode.SAME_STEP), share)

    def play_once(self) -> None:
        """Only the first episode of each environment counts: what follows it may be made up.

        Environments that only step together go on as they did.
        """
        if isinstance(self.envs, SyncVectorEnv):
            self.envs.envs = [OneEpisode(env) for env in self.envs.envs]

    def reset(self, seed: int) -> Array:
        """Begins all episodes anew; environment i of all ranks gets its own seed."""
        self.seed = seed
        first = seed * 1_000_003 % 2**30 + self.share.start  # environment i gets first + i
        observation, _ = self.envs.reset(seed=first)
        return np.asarray(observation)

    def step(self, actions: Array) -> Step:
        """Takes one action in each environment; real ones are kept within their bounds."""
        if isinstance(self.action_space, gymnasium.spaces.Box):
            actions = np.clip(actions, self.action_space.low, self.action_space.high)
        observation, reward, terminated, truncated, info = self.envs.step(actions)
        over = terminated | truncated
        final = observation
        if over.any() and "final_obs" in info:
            final = observation.copy()
            for i in np.flatnonzero(over):
                final[i] = info["final_obs"][i]
        return Step(
            observation, reward.astype(np.float32), terminated, truncated & ~terminated, final
        )

    def state(self) -> dict[str, Any]:
        """The seed, and how often the run was interrupted."""
        return {"seed": self.seed, "restores": self.restores}

    def restore(self, state: dict[str, Any]) -> Array:
        """Begins episodes that the run has not seen."""
        self.restores = state["restores"] + 1
        observation = self.reset(state["seed"] + 7919 * self.restores)
        self.seed = state["seed"]
        return observation

    def close(self) -> None:
        """Closes all of them."""
        self.envs.close()


class OneEpisode:
    """Plays an environment's first episode; then it stands still, without a point."""

    def __init__(self, env: "gymnasium.Env[Any, Any]") -> None:
        self.env = env
        self.observation: Any = None
        self.over = False

    def reset(self, *, seed: int | None = None, **options: Any) -> tuple[Any, dict[str, Any]]:
        """Begins the episode, but not another."""
        if self.over:
            return self.observation, {}
        self.observation, info = self.env.reset(seed=seed, **options)
        return self.observation, info

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Steps as long as the episode lasts."""
        if self.over:
            return self.observation, 0.0, False, False, {}
        self.observation, reward, terminated, truncated, info = self.env.step(action)
        self.over = terminated or truncated
        return self.observation, float(reward), terminated, truncated, info

    def close(self) -> None:
        """Closes the environment."""
        self.env.close()


def flat(env: "gymnasium.Env[Any, Any]") -> "gymnasium.Env[Any, Any]":
    """The environment with observations as one array: numbers one-hot, mappings side by side.

    What is no number in a mapping, such as MiniGrid's mission, is left out. Raises ConfigError
    where observations are no arrays of one size.
    """
    spaces = gymnasium.spaces
    space = env.observation_space
    if isinstance(space, spaces.Box) and space.shape:
        return env
    if isinstance(space, spaces.Dict):
        numbers = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)
        keys = [name for name, part in space.items() if isinstance(part, numbers)]
        if len(keys) < len(space):
            env = gymnasium.wrappers.FilterObservation(env, filter_keys=keys)
    if not env.observation_space.is_np_flattenable:
        raise ConfigError(f"env.name: it shows {space}", hint="observations must be of one size")
    return gymnasium.wrappers.FlattenObservation(env)
