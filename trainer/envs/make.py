"""From `env.name` to environments."""

import difflib
from collections.abc import Callable

from trainer.config import Config
from trainer.envs.base import Share, VectorEnv
from trainer.envs.cartpole import CartPole
from trainer.envs.swingup import SwingUp
from trainer.errors import ConfigError

OURS: dict[str, Callable[..., VectorEnv]] = {"cartpole": CartPole, "swingup": SwingUp}


def make_env(whole: Config, share: Share) -> VectorEnv:
    """This rank's share of the environments. Raises ConfigError for a name that means nothing."""
    config = whole.env
    if config.name not in OURS:
        close = difflib.get_close_matches(config.name, OURS, n=1)
        raise ConfigError(
            f"env.name: there is no environment {config.name!r}",
            hint=f"did you mean {close[0]}?" if close else f"there are {', '.join(OURS)}",
        )
    difficulty = {} if config.difficulty is None else {"difficulty": config.difficulty}
    return OURS[config.name](share, **difficulty)
