"""The score of a policy: whole episodes, separate from training, the same for the same seed."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from trainer.config import Config, EvaluationConfig
from trainer.envs import make_env
from trainer.envs.base import Array, Share, VectorEnv, opened, tasks_of
from trainer.envs.gymnasium_env import GymnasiumEnv
from trainer.envs.make import import_path
from trainer.envs.mixture import Mixture
from trainer.errors import InterruptedRunError, TrainerError
from trainer.policy import Policy

Measure = Callable[..., Any]
"""(policy, evaluation) -> dict[str, float]."""

EVALUATION_SEED = 1_000_003  # added to the run's seed: not the episodes that it trained on


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Returns and lengths of the episodes played, both (episodes,), and which task each was."""

    returns: Array
    lengths: Array
    task_names: tuple[str, ...]
    task_of: Array

    def metrics(self) -> dict[str, float]:
        """`reward`, the mean of the tasks' mean returns, with the half-width of its 95 % interval.

        With several tasks also `tasks/<name>` and its interval for each.
        """
        means: list[float] = []
        errors: list[float] = []
        result: dict[str, float] = {}
        for number, name in enumerate(self.task_names):
            returns = self.returns[self.task_of == number]
            if not len(returns):
                continue
            spread = float(np.std(returns, ddof=1)) if len(returns) > 1 else float("nan")
            means.append(float(returns.mean()))
            errors.append(spread / len(returns) ** 0.5)
            if len(self.task_names) > 1:
                result |= {f"tasks/{name}": means[-1], f"tasks/{name}_ci95": 1.96 * errors[-1]}
        return {
            "reward": float(np.mean(means)),
            "reward_ci95": 1.96 * float(np.linalg.norm(errors)) / len(errors),
            "episode_length": float(self.lengths.mean()),
            **result,
        }


def score(
    policy: Policy,
    config: Config,
    measure: Measure | None,
    *,
    device: torch.device,
    stop: Callable[[], str],
) -> dict[str, float]:
    """The evaluation's metrics, and what the user's own function makes of it where there is one.

    Raises InterruptedRunError where `stop` names a signal before the last episode is over.
    """
    evaluation = evaluate(policy, config, device=device, stop=stop)
    metrics = evaluation.metrics()
    if measure is not None:
        with torch.inference_mode():
            metrics |= custom(measure, policy, evaluation)
    return metrics


def find_measure(config: EvaluationConfig) -> Measure | None:
    """The user's function; ConfigError where there is none of that name."""
    return import_path(config.metrics, key="evaluation.metrics") if config.metrics else None


def custom(measure: Measure, policy: Policy, evaluation: Evaluation) -> dict[str, float]:
    """What a user's function returns, checked."""
    made = measure(policy, evaluation)
    if not isinstance(made, dict):
        raise TrainerError(f"evaluation.metrics must return a dict, not {type(made).__name__}")
    try:
        return {str(name): float(value) for name, value in made.items()}
    except (TypeError, ValueError) as error:
        raise TrainerError(f"evaluation.metrics must return numbers: {error}") from error


@torch.inference_mode()
def evaluate(
    policy: Policy, config: Config, *, device: torch.device, stop: Callable[[], str]
) -> Evaluation:
    """Plays the first episode of each of `num_episodes` environments: no bias to short ones.

    Of a mixture each task is played at least once.
    """
    tasks = len(config.env.tasks) if config.env.name == "cogeval" else 1
    count = max(config.evaluation.num_episodes, tasks)
    with opened(make_env(config.env, Share(0, count, count))) as env:
        return play(env, policy, config, device=device, stop=stop)


def play(
    env: VectorEnv, policy: Policy, config: Config, *, device: torch.device, stop: Callable[[], str]
) -> Evaluation:
    """The first episode of each of `env`."""
    if isinstance(env, GymnasiumEnv | Mixture):
        env.play_once()
    generator = torch.Generator().manual_seed(config.seed + EVALUATION_SEED)
    observation = env.reset(config.seed + EVALUATION_SEED)
    count = len(observation)
    memory, starts = policy.initial_memory(count), torch.zeros((1, count), device=device)
    returns, lengths = np.zeros(count), np.zeros(count)
    playing = np.ones(count, dtype=bool)
    while playing.any():
        if signal := stop():
            raise InterruptedRunError(f"{signal} while the policy was scored")
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
    return Evaluation(returns, lengths, *tasks_of(env, count, name=config.env.name))
