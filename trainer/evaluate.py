"""The score of a policy: whole episodes, separate from training, the same for the same seed."""

from dataclasses import dataclass

import numpy as np
import torch

from trainer.config import Config
from trainer.envs import make_env
from trainer.envs.base import Array, Share
from trainer.policy import Policy

EVALUATION_SEED = 1_000_003  # added to the run's seed: not the episodes that it trained on


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Returns and lengths of the episodes played, both (episodes,)."""

    returns: Array
    lengths: Array

    def metrics(self) -> dict[str, float]:
        """Mean return with its 95 % confidence half-width, and the mean length."""
        spread = float(np.std(self.returns, ddof=1)) if len(self.returns) > 1 else float("nan")
        return {
            "reward": float(self.returns.mean()),
            "reward_ci95": 1.96 * spread / len(self.returns) ** 0.5,
            "episode_length": float(self.lengths.mean()),
        }


@torch.inference_mode()
def evaluate(policy: Policy, config: Config, *, device: torch.device) -> Evaluation:
    """Plays the first episode of each of `num_episodes` environments: no bias to short ones."""
    count = config.evaluation.num_episodes
    env = make_env(config, Share(0, count, count))
    generator = torch.Generator().manual_seed(config.seed + EVALUATION_SEED)
    observation = env.reset(config.seed + EVALUATION_SEED)
    memory, starts = policy.initial_memory(count), torch.zeros((1, count), device=device)
    returns, lengths = np.zeros(count), np.zeros(count)
    playing = np.ones(count, dtype=bool)
    while playing.any():
        seen = torch.from_numpy(observation).to(device).unsqueeze(0)
        features, memory = policy.features(seen, memory=memory, starts=starts)
        noise = policy.distribution.noise((count,), generator).to(device)
        if config.evaluation.deterministic:
            noise.zero_()
        action = policy.distribution.sample(policy.act(features[0]), noise)
        step = env.step(action.cpu().numpy())
        returns[playing] += step.reward[playing]
        lengths[playing] += 1
        over = step.terminated | step.truncated
        playing &= ~over
        starts[0] = torch.from_numpy(over)
        observation = step.observation
    return Evaluation(returns, lengths)
