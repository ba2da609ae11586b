"""PPO, read from top to bottom: act, estimate advantages, improve, report; then the score."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from trainer.advantage import gae
from trainer.config import Config, TrainerConfig
from trainer.distributions import for_space
from trainer.envs import make_env
from trainer.envs.base import Share
from trainer.errors import ConfigError, DivergedError
from trainer.evaluate import evaluate
from trainer.loss import ppo_loss
from trainer.optimizer import make_optimizer
from trainer.policy import Policy, flatten_parameters

Report = Callable[[int, dict[str, float]], None]


@dataclass(frozen=True, slots=True)
class Layout:
    """How a batch is made up: num_envs × horizon steps, in `minibatches` parts.

    batch_size is met as nearly as num_envs allows: horizon = batch_size / num_envs, rounded, at
    least 1; num_envs is at most batch_size.
    """

    num_envs: int
    horizon: int
    minibatches: int
    updates: int

    @classmethod
    def of(cls, trainer: TrainerConfig, num_envs: int | None) -> "Layout":
        """The layout of every batch of a run."""
        if num_envs is None:
            num_envs = 2 ** round(math.log2(trainer.batch_size) / 2)
        num_envs = min(num_envs, trainer.batch_size)
        horizon = max(1, round(trainer.batch_size / num_envs))
        size = num_envs * horizon
        minibatch = trainer.minibatch_size or max(1, size // 4)
        return cls(
            num_envs,
            horizon,
            minibatches=max(1, round(size / minibatch)),
            updates=max(1, math.ceil(trainer.total_timesteps / size)),
        )

    @property
    def batch_size(self) -> int:
        """Steps per update."""
        return self.num_envs * self.horizon


def train(config: Config, report: Report) -> dict[str, float]:
    """Trains and scores a policy; returns the final metrics. Raises DivergedError."""
    device = find_device(config.device)
    cfg = config.trainer
    layout = Layout.of(cfg, config.env.num_envs)
    T, N = layout.horizon, layout.num_envs

    torch.manual_seed(config.seed)
    noise_generator = torch.Generator(device).manual_seed(config.seed)
    shuffle = np.random.default_rng(config.seed)
    env = make_env(config.env, Share(0, N, N))
    distribution = for_space(env.action_space)
    policy = Policy(env.observation_space, distribution, config=config.model).to(device)
    weights = flatten_parameters(policy)
    gradient = weights.grad
    assert gradient is not None
    optimizer = make_optimizer(weights, cfg.optimizer)

    observation = env.reset(config.seed)
    observations = torch.zeros((T + 1, *observation.shape), device=device)
    actions = torch.zeros((T, N, *distribution.action_shape), dtype=torch.int64, device=device)
    rewards, terminated, ended = (np.zeros((T, N), dtype=np.float32) for _ in range(3))
    episode_return, episode_length = np.zeros(N), np.zeros(N)
    step = 0
    started = time.perf_counter()

    for update in range(layout.updates):
        learning_rate = cfg.learning_rate * schedule(cfg, update / layout.updates)

        # Act. The policy alone is asked here; values and probabilities follow in one pass each.
        finished_returns: list[float] = []
        finished_lengths: list[float] = []
        truncated_values: list[tuple[int, torch.Tensor, torch.Tensor]] = []
        with torch.inference_mode():
            noise = distribution.noise((T, N), noise_generator)
            for t in range(T):
                observations[t] = torch.from_numpy(observation)
                actions[t] = distribution.sample(policy.act(observations[t]), noise[t])
                outcome = env.step(actions[t].cpu().numpy())
                observation = outcome.observation
                rewards[t], terminated[t] = outcome.reward, outcome.terminated
                over = outcome.terminated | outcome.truncated
                ended[t] = over
                episode_return += outcome.reward
                episode_length += 1
                if over.any():
                    finished_returns += episode_return[over].tolist()
                    finished_lengths += episode_length[over].tolist()
                    episode_return[over] = episode_length[over] = 0
                    if outcome.truncated.any():
                        final = torch.from_numpy(outcome.final_observation).to(device)
                        where = torch.from_numpy(outcome.truncated).to(device)
                        truncated_values.append((t, where, policy.value(final)))
            observations[T] = torch.from_numpy(observation)
        step += layout.batch_size

        # Estimate.
        with torch.no_grad():
            values = policy.value(observations)
            next_values = values[1:].clone()
            for t, where, value in truncated_values:
                next_values[t] = torch.where(where, value, next_values[t])
            old_log_prob, _ = distribution.log_prob_and_entropy(
                policy.act(observations[:T]), actions
            )
            values = values[:T]
            advantages = gae(
                torch.from_numpy(rewards).to(device),
                values,
                next_values=next_values,
                terminated=torch.from_numpy(terminated).to(device),
                ended=torch.from_numpy(ended).to(device),
                gamma=cfg.gamma,
                gae_lambda=cfg.gae_lambda,
            )
            targets = advantages + values
            if cfg.normalize_advantage and advantages.numel() > 1:
                advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)

        # Improve.
        flat = [
            each.flatten(0, 1)
            for each in (observations[:T], actions, old_log_prob, advantages, values, targets)
        ]
        sums = torch.zeros(6, device=device)
        gradient_steps = 0
        for _ in range(cfg.num_epochs):
            order = torch.from_numpy(shuffle.permutation(layout.batch_size)).to(device)
            for indices in order.tensor_split(layout.minibatches):
                obs, acts, old, advantage, old_value, target = (each[indices] for each in flat)
                log_prob, entropy = distribution.log_prob_and_entropy(policy.act(obs), acts)
                loss = ppo_loss(
                    log_prob,
                    old,
                    advantage=advantage,
                    value=policy.value(obs),
                    old_value=old_value,
                    value_target=target,
                    entropy=entropy,
                    clip_param=cfg.clip_param,
                    value_clip=cfg.value_clip,
                    value_coeff=cfg.value_coeff,
                    entropy_coeff=cfg.entropy_coeff,
                )
                gradient.zero_()
                loss.total.backward()  # type: ignore[no-untyped-call]
                norm = gradient.norm()
                gradient.mul_((cfg.max_grad_norm / (norm + 1e-6)).clamp(max=1.0))
                optimizer.step(gradient, learning_rate=learning_rate)
                sums += torch.stack(
                    (loss.policy, loss.value, loss.entropy, loss.kl, loss.clipped, norm)
                ).detach()
                gradient_steps += 1
            if cfg.target_kl is not None and sums[3] / gradient_steps > cfg.target_kl:
                break

        # Report.
        names = ("policy_loss", "value_loss", "entropy", "kl", "clip_fraction", "grad_norm")
        means = (sums / gradient_steps).tolist()
        metrics = {f"losses/{name}": mean for name, mean in zip(names, means, strict=True)}
        if not math.isfinite(sum(means)):
            raise DivergedError(f"the loss is not a number after {step} steps")
        metrics["losses/explained_variance"] = float(
            1 - (targets - values).var() / (targets.var() + 1e-8)
        )
        metrics["learning_rate"] = learning_rate
        metrics["steps_per_second"] = step / (time.perf_counter() - started)
        if finished_returns:
            metrics["episode/return"] = float(np.mean(finished_returns))
            metrics["episode/length"] = float(np.mean(finished_lengths))
        report(step, metrics)

    return {**metrics, "steps": float(step), **evaluate(policy, config, device=device).metrics()}


def schedule(cfg: TrainerConfig, progress: float) -> float:
    """The learning rate's share at `progress` in [0, 1)."""
    match cfg.learning_rate_schedule:
        case "constant":
            return 1.0
        case "linear":
            return 1.0 - progress
        case "cosine":
            return 0.5 * (1.0 + math.cos(math.pi * progress))


def find_device(wanted: str) -> torch.device:
    """The device; ConfigError at once where the machine lacks it."""
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if wanted == "cuda" and not torch.cuda.is_available():
        raise ConfigError(
            "device: cuda is asked for, and this machine has none",
            hint="+hardware=macbook, mac_parallel or github set device: cpu",
        )
    if wanted == "mps" and not torch.backends.mps.is_available():
        raise ConfigError("device: mps is asked for, and this machine has none", hint="device: cpu")
    return torch.device(wanted)
