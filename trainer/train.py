"""PPO, read from top to bottom: act, estimate advantages, improve, report; then the score.

Shapes: T steps (the horizon) in each of N environments (this rank's); K = T / L sequences of L
steps in each environment, S = K·N sequences in all.
"""

import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainer.advantage import gae
from trainer.checkpoint import Checkpoints, check_same
from trainer.config import Config
from trainer.distributions import for_space
from trainer.envs import VectorEnv, make_env
from trainer.envs.base import Array, opened, tasks_of
from trainer.errors import DivergedError, InterruptedRunError
from trainer.evaluate import find_measure, score
from trainer.layout import Layout
from trainer.loss import LOSS_NAMES, Judgement, ppo_gradient, ppo_loss
from trainer.normalize import Moments, ReturnScale
from trainer.optimizer import make_optimizer
from trainer.parse import as_mapping
from trainer.policy import Policy, flatten_parameters
from trainer.ranks import Ranks


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a run needs of the world. `stop` names the signal that asks it to go, or is empty."""

    device: torch.device
    ranks: Ranks
    checkpoints: Checkpoints
    report: Callable[[int, dict[str, float]], None]
    stop: Callable[[], str]


def train(config: Config, around: Surroundings) -> dict[str, float]:
    """Trains and scores a policy, from its newest checkpoint where there is one.

    Returns the final metrics; the score only on rank 0. Raises DivergedError where the loss is not
    a number, InterruptedRunError where a signal came, after a checkpoint: that of all the training
    where the signal came while the policy was scored.
    """
    ranks = around.ranks
    measure = find_measure(config.evaluation)  # a mistake shows now, not after the training
    share = ranks.share(Layout.of(config, world=ranks.place.world).num_envs)
    workers = config.trainer.num_workers if config.vectorization == "multiprocessing" else 1
    with opened(make_env(config.env, share, workers=workers)) as env:
        policy, metrics = learn(env, config, around)
    if ranks.place.rank == 0:
        metrics |= score(policy, config, measure, device=around.device, stop=around.stop)
    return metrics


def learn(env: VectorEnv, config: Config, around: Surroundings) -> tuple[Policy, dict[str, float]]:
    """The policy that is there after `total_timesteps`, and the metrics of the last update."""
    device, ranks = around.device, around.ranks
    cfg = config.trainer
    layout = Layout.of(config, world=ranks.place.world)
    share = ranks.share(layout.num_envs)
    task_names, task_of = tasks_of(env, share.count, name=config.env.name)
    plays = np.eye(len(task_names))[task_of]  # (N, tasks), one-hot
    T, N, L = layout.horizon, share.count, layout.sequence

    torch.manual_seed(config.seed)
    noise_generator = torch.Generator().manual_seed(config.seed)
    shuffle = np.random.default_rng([config.seed, 1])  # not the stream of the environments
    distribution = for_space(env.action_space)
    policy = Policy(env.observation_space, distribution, config=config.model).to(device)
    weights = flatten_parameters(policy)
    gradient = weights.grad
    assert gradient is not None
    optimizer = make_optimizer(weights, cfg.optimizer)
    moments = Moments(env.observation_space.shape or (), ranks)
    return_scale = ReturnScale(N, cfg.gamma, ranks=ranks)
    arithmetic = (
        torch.autocast(device.type, torch.bfloat16)
        if cfg.precision == "bfloat16"
        else nullcontext()
    )

    def improve(obs: Tensor, acts: Tensor, numbers: Tensor, first: Tensor, count: int) -> Judgement:
        """Adds the gradient of the loss over `count` samples, of which these are some."""
        start, old_log_prob, old_value, advantage, target = numbers.unbind(-1)
        with arithmetic:
            features, _ = policy.features(obs, memory=first, starts=start)
        with torch.no_grad():
            with arithmetic:
                outputs, value, pull_back = policy.act_and_value(features)
            log_prob, entropy, to_outputs = distribution.log_prob_and_entropy(outputs.float(), acts)
            judged = Judgement(
                log_prob, entropy, value.float(), old_log_prob, old_value, advantage, target
            )
            log_prob_gradient, value_gradient, entropy_gradient = ppo_gradient(
                judged, cfg, count=count
            )
            with arithmetic:
                pull_back(to_outputs(log_prob_gradient, entropy_gradient), value_gradient)
        return judged

    def measure(judged: list[Judgement]) -> Tensor:
        """The loss's parts over the samples of all ranks."""
        whole = Judgement.of(judged)
        mine = torch.ones(1 + len(LOSS_NAMES), device=device)
        mine[1:] = ppo_loss(whole, cfg)[1]
        total = ranks.sum_(mine * len(whole.value))
        return total[1:] / total[0]

    if cfg.compile:
        improve = torch.compile(improve)

    observation = env.reset(config.seed)
    observations = torch.zeros(
        (T + 1, *observation.shape), dtype=torch.from_numpy(observation).dtype, device=device
    )
    starts = torch.ones((T + 1, N), device=device)
    rewards, terminated, ended = (np.zeros((T, N), dtype=np.float32) for _ in range(3))
    memory = policy.initial_memory(N)
    episode_return, episode_length = np.zeros(N), np.zeros(N)
    step = update = 0
    metrics: dict[str, float] = {}

    def state() -> dict[str, Any]:
        own = {
            "env": env.state(),
            "episode_return": episode_return,
            "episode_length": episode_length,
            "running_return": return_scale.running,
            "memory": memory.cpu(),
            "starts": starts[T].cpu(),
        }
        return {
            "config": as_mapping(config),
            "step": step,
            "update": update,
            "metrics": metrics,
            "weights": weights.data,
            "optimizer": optimizer.state(),
            "noise": noise_generator.get_state(),
            "shuffle": shuffle.bit_generator.state,
            "observation_moments": moments.state(),
            "return_moments": return_scale.moments.state(),
            "ranks": ranks.gather(own),
        }

    # Go on where an earlier attempt stopped.
    saved = ranks.from_first(around.checkpoints.load() if ranks.place.rank == 0 else None)
    if saved is not None:
        check_same(saved["config"], as_mapping(config), around.checkpoints.folder)
        step, update, metrics = saved["step"], saved["update"], saved["metrics"]
        weights.data.copy_(saved["weights"])
        optimizer.restore(saved["optimizer"])
        noise_generator.set_state(saved["noise"])
        shuffle.bit_generator.state = saved["shuffle"]
        moments.restore(saved["observation_moments"])
        return_scale.moments.restore(saved["return_moments"])
        if len(saved["ranks"]) == ranks.place.world:
            own = saved["ranks"][ranks.place.rank]
            observation = env.restore(own["env"])
            episode_return, episode_length = own["episode_return"], own["episode_length"]
            return_scale.running = own["running_return"]
            memory, starts[T] = own["memory"].to(device), own["starts"].to(device)
        else:  # another number of ranks: the weights go on, the episodes begin anew
            observation = env.reset(config.seed + step)
        policy.set_normalization(moments)
    first_step, started, saved_at = step, time.perf_counter(), time.perf_counter()

    while update < layout.updates:
        progress = update / layout.updates
        learning_rate = cfg.learning_rate * schedule(cfg.learning_rate_schedule, progress)
        update_started, env_seconds = time.perf_counter(), 0.0

        # Act. The policy alone is asked here; values and probabilities follow in one pass each.
        finished = np.zeros((3, len(task_names)))  # episodes, their returns, their lengths
        starts[0] = starts[T]
        start = starts[:1].clone()
        memories, taken, truncated_values = [], [], []
        with torch.inference_mode():
            noise = distribution.noise((T, layout.num_envs), noise_generator)
            noise = noise[:, share.slice].to(device)
            for t, step_noise in enumerate(noise):
                if t % L == 0:
                    memories.append(memory)
                observations[t] = torch.from_numpy(observation)  # a copy: it may change
                features, memory = policy.features(
                    observations[t : t + 1], memory=memory, starts=start
                )
                action = distribution.sample(policy.act(features[0]), step_noise)
                taken.append(action)
                action_array = action.cpu().numpy()
                before = time.perf_counter()
                outcome = env.step(action_array)
                env_seconds += time.perf_counter() - before
                observation = outcome.observation
                over = outcome.terminated | outcome.truncated
                rewards[t], terminated[t], ended[t] = outcome.reward, outcome.terminated, over
                start = torch.from_numpy(ended[t : t + 1]).to(device)
                episode_return += outcome.reward
                episode_length += 1
                if over.any():
                    ends = np.stack([over, episode_return, episode_length])[:, over]
                    finished += ends @ plays[over]
                    episode_return[over] = episode_length[over] = 0
                if outcome.truncated.any():
                    final = torch.from_numpy(outcome.final_observation).to(device).unsqueeze(0)
                    last, _ = policy.features(final, memory=memory, starts=torch.zeros_like(start))
                    where = torch.from_numpy(outcome.truncated).to(device)
                    truncated_values.append((t, where, policy.value(last[0])))
            observations[T] = torch.from_numpy(observation)
            starts[1:] = torch.from_numpy(ended)
        step += layout.batch_size
        acted = time.perf_counter()

        # Estimate.
        with torch.no_grad():
            actions = torch.stack(taken)
            memory_at = torch.stack(memories)
            features, _ = policy.features(observations, memory=memory_at[0], starts=starts)
            values = policy.value(features)
            old_log_prob, _, _ = distribution.log_prob_and_entropy(
                policy.act(features[:T]), actions
            )
            next_values = values[1:].clone()
            values = values[:T]
            for t, where, value in truncated_values:
                next_values[t] = torch.where(where, value, next_values[t])
            scaled = return_scale(rewards, ended) if cfg.normalize_reward else rewards
            advantages = gae(
                torch.from_numpy(scaled).to(device),
                values,
                next_values=next_values,
                terminated=torch.from_numpy(terminated).to(device),
                ended=starts[1:],
                gamma=cfg.gamma,
                gae_lambda=cfg.gae_lambda,
            )
            targets = advantages + values
            unexplained, spread = (ranks.mean_and_deviation(x)[1] for x in (advantages, targets))
            if cfg.normalize_advantage:
                mean, deviation = ranks.mean_and_deviation(advantages)
                advantages = (advantages - mean) / (deviation + 1e-8)

        # Improve.
        obs, acts = as_sequences(observations[:T], L), as_sequences(actions, L)
        numbers = torch.stack(
            [as_sequences(x, L) for x in (starts[:T], old_log_prob, values, advantages, targets)],
            -1,
        )
        memory_of = memory_at.flatten(0, 1)
        judged: list[Judgement] = []
        norms: list[Tensor] = []
        for _ in range(cfg.num_epochs):
            epoch_began = len(judged)
            order = shuffle.permutation(layout.num_sequences)
            for part in np.array_split(order, layout.minibatches):
                gradient.zero_()
                indices = torch.from_numpy(layout.own(part, share)).to(device)
                if len(indices):
                    judged.append(
                        improve(
                            obs.index_select(1, indices),
                            acts.index_select(1, indices),
                            numbers.index_select(1, indices),
                            memory_of.index_select(0, indices),
                            L * len(part),
                        )
                    )
                ranks.sum_(gradient)
                norms.append(torch.linalg.vector_norm(gradient))
                gradient.div_((norms[-1] / cfg.max_grad_norm).clamp_(min=1.0))
                optimizer.step(gradient, learning_rate=learning_rate)
            if cfg.target_kl is not None:
                parts = measure(judged[epoch_began:])
                if parts[LOSS_NAMES.index("kl")] > cfg.target_kl:
                    break
        update += 1
        if config.model.normalize_observation:
            moments.update(observations[:T].flatten(0, 1))
            policy.set_normalization(moments)
        learned = time.perf_counter()

        # Report.
        means = measure(judged).tolist()
        means.append(float(torch.stack(norms).mean()))
        if not math.isfinite(sum(means)):
            raise DivergedError(f"the loss is not a number after {step:,} steps")
        names = (*LOSS_NAMES, "grad_norm")
        metrics = {f"losses/{name}": mean for name, mean in zip(names, means, strict=True)}
        metrics["losses/explained_variance"] = 1 - float((unexplained / (spread + 1e-8)) ** 2)
        metrics["learning_rate"] = learning_rate
        metrics["steps_per_second"] = (step - first_step) / (learned - started)
        metrics["seconds/env"] = env_seconds
        metrics["seconds/forward"] = acted - update_started - env_seconds
        metrics["seconds/train"] = learned - acted
        episodes = torch.tensor([*finished.flat, bool(around.stop())], dtype=torch.float32)
        *everywhere, stopping = ranks.sum_(episodes).tolist()
        metrics |= episode_metrics(np.reshape(everywhere, finished.shape), task_names)
        around.report(step, metrics)

        # Keep.
        due = learned - saved_at >= config.checkpoint.interval_seconds
        if ranks.from_first(due or bool(stopping) or update == layout.updates):
            saved_at = learned
            whole = state()
            if ranks.place.rank == 0:
                around.checkpoints.save(step, whole)
        if stopping and update < layout.updates:
            raise InterruptedRunError(f"{around.stop() or 'a signal'} after {step:,} steps")

    return policy, {**metrics, "steps": float(step)}


def episode_metrics(finished: Array, task_names: tuple[str, ...]) -> dict[str, float]:
    """How many episodes ended, their mean return and length; of several tasks, each one's return.

    `finished` (3, tasks): episodes, their returns, their lengths. What none ended of has no mean.
    """
    count, returns, lengths = finished.sum(1).tolist()
    metrics: dict[str, float] = {"episode/count": count}
    if count:
        metrics |= {"episode/return": returns / count, "episode/length": lengths / count}
    if len(task_names) > 1:
        for name, (count, returns, _) in zip(task_names, finished.T.tolist(), strict=True):
            if count:
                metrics[f"episode/return/{name}"] = returns / count
    return metrics


def as_sequences(x: torch.Tensor, length: int) -> torch.Tensor:
    """(T, N, …) as (L, K·N, …): each environment's steps cut into K sequences of L = `length`."""
    chunks = x.reshape(-1, length, *x.shape[1:])  # (K, L, N, …)
    return chunks.transpose(0, 1).flatten(1, 2)


def schedule(name: str, progress: float) -> float:
    """The learning rate's share at `progress` in [0, 1)."""
    match name:
        case "linear":
            return 1.0 - progress
        case "cosine":
            return 0.5 * (1.0 + math.cos(math.pi * progress))
        case _:
            return 1.0
