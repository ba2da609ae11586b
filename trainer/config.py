"""Everything that a training run can be told: one dataclass per section, one sentence per field.

The sentences are the documentation: `python -m trainer --help` prints them.
"""

from dataclasses import dataclass, field, replace
from typing import Any, Literal

SMOKE_STEPS, SMOKE_EPISODES = 2048, 4


@dataclass(frozen=True, slots=True)
class Rule:
    """What a field means and which values it takes; `inf` bounds are open."""

    sentence: str
    low: float = float("-inf")
    high: float = float("inf")
    exclusive_low: bool = False
    aliases: tuple[str, ...] = ()


def option(
    default: Any,
    sentence: str,
    *,
    low: float = float("-inf"),
    high: float = float("inf"),
    above: float | None = None,
    aliases: tuple[str, ...] = (),
) -> Any:
    """A dataclass field with its sentence and its bounds; `above` is an open lower bound."""
    rule = Rule(sentence, low if above is None else above, high, above is not None, aliases=aliases)
    return field(default=default, metadata={"rule": rule})


@dataclass(frozen=True, slots=True)
class OptimizerConfig:
    """The optimiser and its parameters."""

    type: Literal["adam", "sgd"] = option(
        "adam", "Adam with decoupled weight decay, or SGD whose momentum is beta1."
    )
    beta1: float = option(0.9, "Decay of the gradient's running mean.", low=0, high=0.9999)
    beta2: float = option(0.999, "Decay of the squared gradient's mean.", low=0, high=0.999999)
    eps: float = option(1e-5, "Added to Adam's denominator.", above=0, high=1)
    weight_decay: float = option(0.0, "Share of each weight lost per step, × learning rate.", low=0)


@dataclass(frozen=True, slots=True)
class TrainerConfig:
    """PPO and its schedule."""

    learning_rate: float = option(
        3e-3, "Step size of the optimiser at the start.", above=0, high=10,
        aliases=("trainer.optimizer.learning_rate",),
    )  # fmt: skip
    learning_rate_schedule: Literal["constant", "linear", "cosine"] = option(
        "linear", "How the step size falls towards 0 at total_timesteps."
    )
    total_timesteps: int = option(
        100_000, "Environment steps to train for, all ranks together.", low=1
    )
    batch_size: int = option(
        1024, "Environment steps per update, all ranks together: num_envs × horizon.", low=1
    )
    minibatch_size: int | None = option(
        None,
        "Steps per gradient step: batch_size / minibatch_size, rounded, gives their number;"
        " empty: a quarter of the batch.",
        low=1,
    )
    num_epochs: int = option(
        4, "Passes over each batch.", low=1, high=1000, aliases=("update_epochs",)
    )
    gamma: float = option(0.99, "Discount of future rewards.", low=0, high=1)
    gae_lambda: float = option(0.95, "Bias against variance of the advantage.", low=0, high=1)
    clip_param: float = option(
        0.2, "How far the new policy may move from the old.", above=0, high=100,
        aliases=("clip_coef",),
    )  # fmt: skip
    value_clip: float | None = option(
        None, "How far a value may move from the old one; empty: not clipped.", above=0
    )
    entropy_coeff: float = option(
        0.01, "Weight of the entropy bonus.", low=0, high=100, aliases=("ent_coef",)
    )
    value_coeff: float = option(
        0.5, "Weight of the value loss.", low=0, high=100, aliases=("vf_coef",)
    )
    max_grad_norm: float = option(0.5, "Norm to which a gradient is cut.", above=0)
    target_kl: float | None = option(
        None, "Ends an update early beyond this divergence; empty: never.", above=0
    )
    normalize_advantage: bool = option(True, "Whether advantages have mean 0 and deviation 1.")
    normalize_reward: bool = option(
        False, "Whether rewards are divided by the deviation of their discounted sum."
    )
    bptt_horizon: int | None = option(
        None,
        "Steps through which gradients of a recurrent policy flow; the horizon becomes a multiple"
        " of it; empty: the whole horizon.",
        low=1,
    )
    precision: Literal["float32", "bfloat16"] = option(
        "float32", "Of the networks' arithmetic while improving; weights stay float32."
    )
    compile: bool = option(
        False,
        "Whether the gradient's arithmetic is compiled (torch.compile): a minute at the start, for"
        " large networks on GPUs.",
    )
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    num_workers: int = option(
        1,
        "Processes that step environments, where vectorization is multiprocessing.",
        low=1,
        high=1024,
    )


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """The policy and value networks."""

    hidden_size: int = option(64, "Width of each hidden layer.", low=1, high=65536)
    num_layers: int = option(2, "Hidden layers.", low=0, high=32)
    activation: Literal["tanh", "relu", "silu", "elu"] = option("tanh", "Between the layers.")
    recurrence: Literal["none", "gru", "lstm"] = option(
        "none", "Memory of hidden_size before the layers, emptied when an episode starts."
    )
    normalize_observation: bool = option(
        False, "Whether observations get mean 0 and deviation 1, as seen so far."
    )


@dataclass(frozen=True, slots=True)
class EnvConfig:
    """The task."""

    name: str = option(
        "cartpole",
        "cartpole, swingup, pong, cogeval (the tasks below as one), recall, nback, bandit, match,"
        " maze; an id of Gymnasium; or package.module:function.",
    )
    tasks: tuple[str, ...] = option(
        ("recall", "nback", "bandit", "match", "maze"), "What cogeval is made of: names as above."
    )
    kwargs: dict[str, Any] = field(
        default_factory=dict,
        metadata={"rule": Rule("Passed on to an environment that is not ours.")},
    )
    difficulty: float | None = option(
        None, "From 0, easy, to 1, hard; empty: as the environment is known.", low=0, high=1
    )
    num_envs: int | None = option(
        None,
        "Environments stepped together, all ranks; at most batch_size;"
        " empty: a power of two near √batch_size.",
        low=1,
        high=65536,
    )


@dataclass(frozen=True, slots=True)
class EvaluationConfig:
    """The score at the end."""

    num_episodes: int = option(64, "Episodes of the final score.", low=1, high=100_000)
    deterministic: bool = option(True, "The policy's best action, or one drawn from it.")
    metrics: str = option(
        "",
        "package.module:function of yours; (policy, evaluation) -> dict[str, float] is called on"
        " the final score.",
    )


@dataclass(frozen=True, slots=True)
class CheckpointConfig:
    """What survives a preemption."""

    interval_seconds: float = option(60.0, "Time between checkpoints; 0: after each batch.", low=0)
    keep: int = option(2, "The newest ones that are kept.", low=1, high=1000)


@dataclass(frozen=True, slots=True)
class Config:
    """A whole training run."""

    run: str = option("", "A name for people.")
    seed: int = option(0, "Of everything random.", low=0, high=2**63 - 1)
    device: Literal["auto", "cpu", "cuda", "mps"] = option(
        "auto", "auto: cuda where there is one, else cpu."
    )
    num_processes: int | None = option(
        None,
        "Ranks on this machine, unless torchrun starts them; empty: one per GPU, or one.",
        low=1,
        high=1024,
    )
    vectorization: Literal["serial", "multiprocessing"] = option(
        "serial", "multiprocessing: num_workers processes step environments that are not ours."
    )
    smoke: bool = option(
        False,
        f"Only shows that it runs: at most {SMOKE_STEPS} steps, in whole batches, and"
        f" {SMOKE_EPISODES} episodes of the final score, whatever else is asked for.",
    )
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    env: EnvConfig = field(default_factory=EnvConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)

    def as_run(self) -> "Config":
        """The config of what is really done: shorter where only smoke is asked for."""
        if not self.smoke:
            return self
        steps, episodes = self.trainer.total_timesteps, self.evaluation.num_episodes
        return replace(
            self,
            trainer=replace(self.trainer, total_timesteps=min(steps, SMOKE_STEPS)),
            evaluation=replace(self.evaluation, num_episodes=min(episodes, SMOKE_EPISODES)),
        )
