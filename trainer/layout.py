"""How many environments, how many steps each, how many parts: the shape of every batch."""

import math
from dataclasses import dataclass

import numpy as np

from trainer.config import Config
from trainer.envs.base import Array, Share


@dataclass(frozen=True, slots=True)
class Layout:
    """A batch is num_envs × horizon steps of all ranks together.

    batch_size is met as nearly as possible: num_envs is at most batch_size and at least the number
    of ranks; horizon is batch_size / num_envs, rounded to a multiple of `sequence`, the number of
    consecutive steps that stay together in a minibatch (1 without memory).
    """

    num_envs: int
    horizon: int
    sequence: int
    minibatches: int
    updates: int

    @classmethod
    def of(cls, config: Config, *, world: int = 1) -> "Layout":
        """The layout of every batch of a run. Every value of the parameters gives one."""
        cfg = config.trainer
        num_envs = config.env.num_envs or 2 ** round(math.log2(cfg.batch_size) / 2)
        num_envs = max(min(num_envs, cfg.batch_size), world)
        horizon = max(1, round(cfg.batch_size / num_envs))
        sequence = 1
        if config.model.recurrence != "none":
            sequence = min(cfg.bptt_horizon or horizon, horizon)
            horizon = sequence * round(horizon / sequence)
        size = num_envs * horizon
        minibatches = max(1, round(size / (cfg.minibatch_size or max(1, size // 4))))
        return cls(
            num_envs,
            horizon,
            sequence,
            minibatches=min(minibatches, size // sequence),
            updates=max(1, math.ceil(cfg.total_timesteps / size)),
        )

    @property
    def batch_size(self) -> int:
        """Steps per update, all ranks together."""
        return self.num_envs * self.horizon

    @property
    def num_sequences(self) -> int:
        """Sequences per update, all ranks together."""
        return self.batch_size // self.sequence

    def own(self, part: Array, share: Share) -> Array:
        """Which of a rank's sequences belong to a part of all ranks' sequences.

        Sequences are numbered through time first: number = chunk × environments + environment.
        """
        if share.count == share.total:
            return part
        chunk, env = np.divmod(part, self.num_envs)
        mine = (env >= share.start) & (env < share.start + share.count)
        own: Array = chunk[mine] * share.count + env[mine] - share.start
        return own
