"""The sweep file as frozen values. Descriptions are the words of docs/sweep-file.md.

What exists is valid, wherever it comes from: a file, the command line, a journal.
"""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints

NAME_PATTERN = r"^[a-z0-9](?:[a-z0-9_.-]{0,61}[a-z0-9])?$"
"""Folders, jobs and W&B groups are named after a sweep: nothing else fits everywhere."""
POOL_PATTERN = r"^[a-z](?:[a-z0-9-]{0,38}[a-z0-9])?$"
DEFAULT_RUN = 'python -m trainer --config "$PROTEIN_RUN_DIR/train_config_overrides.yaml"'

Value = str | int | float | bool
"""A fixed value of a parameter."""
Finite = Annotated[float, Field(allow_inf_nan=False)]
Amount = Annotated[Finite, Field(gt=0)]
Fraction = Annotated[Finite, Field(gt=0, le=1)]
Line = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]{1,200}$")]
Text = Annotated[str, StringConstraints(pattern=r"^[^\x00]*$")]
Tag = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f,]{1,64}$")]
Variable = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,127}$")]


class Section(BaseModel):
    """What all sections share: frozen, strict, no unknown keys."""

    # defer_build: sections are built once, inside the whole, which halves the time to import
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, defer_build=True)


class EarlyStopping(Section):
    """When a running trial is ended because others did better by then; see launcher.early_stopping.

    `grace` and the rungs are in units of `resource`: seconds of the trial's own cost, or steps.
    """

    method: Literal["median", "asha", "forecast"] = Field(description="the rule")
    metric: Line | None = Field(
        default=None, description="what trials report on their way; default: the sweep's metric"
    )
    resource: Literal["cost_seconds", "step"] = Field(
        default="cost_seconds", description="what trials are compared by"
    )
    grace: Amount = Field(description="no trial is ended before; the first rung of asha")
    reduction_factor: int = Field(
        default=3, ge=2, le=100, description="asha: one in so many goes on from each rung"
    )
    min_trials: int = Field(default=4, ge=1, description="trials to compare with, at least")
    min_chance: Fraction = Field(
        default=0.05, description="forecast: the chance to become the best below which a trial ends"
    )


class SecondObjective(Section):
    """Another metric that matters, such as a model's latency; trials trade it against the first."""

    metric: Line = Field(description="what a trial reports")
    goal: Literal["maximize", "minimize"] = Field(description="which values are better")


class SweepSection(Section):
    """What is searched and how."""

    metric: Line = Field(description="what a trial reports as its score")
    goal: Literal["maximize", "minimize"] = Field(description="which scores are better")
    second_objective: SecondObjective | None = Field(
        default=None, description="another metric to trade against the first, beside cost"
    )
    method: Line = Field(default="protein", description="the optimizer")
    num_random_samples: int = Field(
        default=5, ge=1, le=100_000, description="trials of the first design"
    )
    seed: int = Field(default=0, ge=0, lt=2**63, description="of everything random in the search")
    cost: Literal["trial", "wandb", "machine"] = Field(
        default="trial",
        description="what measures a trial's cost: itself, W&B's run time, or the machine's clock",
    )
    cost_parameter: Line | None = Field(
        default=None, description="the parameter that sets the cost"
    )
    seeds: int = Field(
        default=1, ge=1, le=1000, description="runs of each suggestion, each with its own seed"
    )
    warm_start: tuple[Line, ...] = Field(
        default=(), description="earlier sweeps to learn from, by name"
    )
    constraints: tuple[Text, ...] = Field(
        default=(), description="conditions between parameters: a.b <= a.c"
    )
    early_stopping: EarlyStopping | None = Field(
        default=None, description="end running trials that fall behind; null: never"
    )
    parameters: dict[str, JsonValue] = Field(
        default_factory=dict, description="dotted names to a range, or to a fixed value"
    )

    @property
    def tuned(self) -> dict[str, dict[str, Any]]:
        """The parameters that are searched, with their ranges."""
        return {name: spec for name, spec in self.parameters.items() if isinstance(spec, dict)}

    @property
    def fixed(self) -> dict[str, Any]:
        """The parameters that have one value in all trials."""
        return {name: v for name, v in self.parameters.items() if not isinstance(v, dict)}


class TaskSection(Section):
    """What a trial runs: the keys of a SkyPilot task that concern it."""

    name: Line | None = Field(
        default=None, description="ignored: jobs are named after sweep and trial"
    )
    run: Text = Field(
        default=DEFAULT_RUN, min_length=1, description="bash, once per node and attempt"
    )
    setup: Text | None = Field(default=None, description="bash, once per machine")
    workdir: Text | None = Field(default=None, description="the folder it runs in")
    num_nodes: int = Field(default=1, ge=1, le=10_000, description="machines of one trial")
    envs: dict[Variable, Text] = Field(default_factory=dict, description="environment")
    secrets: tuple[Variable, ...] = Field(
        default=(), description="variables taken from the environment, never written anywhere"
    )
    resources: dict[str, JsonValue] = Field(default_factory=dict, description="as in SkyPilot")
    file_mounts: dict[str, JsonValue] = Field(default_factory=dict, description="as in SkyPilot")
    volumes: dict[str, JsonValue] = Field(default_factory=dict, description="as in SkyPilot")
    config: dict[str, JsonValue] = Field(default_factory=dict, description="as in SkyPilot")


Mode = Literal["auto", "managed_jobs", "reused_clusters", "cluster_per_trial"]


class ExecutionSection(Section):
    """Where and how patiently trials are run."""

    cloud: str = Field(default="local", description="local, simulated, or a cloud of SkyPilot")
    region: Line | None = Field(
        default=None, description="region, Kubernetes context or Slurm cluster; null: any"
    )
    infra: Line | None = Field(
        default=None, description="cloud/region/zone in one, as SkyPilot writes it"
    )
    gpus: Line | None = Field(
        default=None, description="accelerators of one machine; null: as the resources say"
    )
    use_spot: bool | None = Field(
        default=None, description="spot or on demand; null: as the resources say"
    )
    mode: Mode = Field(default="auto", description="how SkyPilot is used; auto suits the cloud")
    pool: Annotated[str, StringConstraints(pattern=POOL_PATTERN)] | None = Field(
        default=None, description="workers that managed jobs share; own: made for this sweep"
    )
    storage: Line | None = Field(
        default=None, description="what all machines share; null: run folders stay on the machine"
    )
    idle_minutes: int = Field(
        default=10, ge=1, le=10_000, description="a machine without a job goes after so long"
    )
    timeout_seconds: Amount | None = Field(default=None, description="longest run of one attempt")
    stall_seconds: Amount | None = Field(
        default=None, description="longest time in which neither log nor metrics grow"
    )
    price_usd_per_hour: Annotated[Finite, Field(ge=0)] | None = Field(
        default=None, description="of one trial, where SkyPilot knows no price; null: not known"
    )
    max_attempts: int = Field(
        default=3, ge=1, le=1000, description="starts of a trial that machines fail"
    )
    retry_delay_seconds: Annotated[Finite, Field(ge=0)] = Field(
        default=5.0, description="pause before another attempt; doubles each time"
    )
    max_consecutive_failures: Annotated[int, Field(ge=1)] | None = Field(
        default=3, description="broken trials in a row that pause the sweep; null: no limit"
    )
    max_failure_rate: Fraction | None = Field(
        default=None, description="share of recent trials that may fail; null: no limit"
    )


class BudgetSection(Section):
    """Hard limits over the whole sweep. What is not given is not limited."""

    usd: Amount | None = Field(
        default=None, description="US dollars, running trials' worst case included"
    )
    trials: Annotated[int, Field(ge=1)] | None = Field(default=None, description="trials")
    hours: Amount | None = Field(default=None, description="hours at work since the launch")
    gpu_hours: Amount | None = Field(default=None, description="GPU hours of all trials")
    warn: tuple[Fraction, ...] = Field(default=(0.8,), description="shares at which to tell")


class WandbSection(Section):
    """How trials appear in Weights & Biases."""

    project: Line | None = Field(default=None, description="default: $WANDB_PROJECT, else metta")
    entity: Line | None = Field(default=None, description="default: $WANDB_ENTITY")
    group: Line | None = Field(default=None, description="default: the sweep's name")
    tags: tuple[Tag, ...] = Field(default=(), description="further tags of each run")
    mode: Literal["auto", "online", "offline", "disabled"] = Field(
        default="auto", description="auto: $WANDB_MODE, else online with a key, offline without"
    )


class NotifySection(Section):
    """Whom to tell, through Apprise. Its addresses are secrets: only variables are named here."""

    to: tuple[Variable, ...] = Field(
        default=(), description="environment variables that hold Apprise addresses"
    )
    on: tuple[Literal["ended", "paused", "budget", "best"], ...] = Field(
        default=("ended", "paused", "budget"), description="occasions"
    )


class SweepConfig(Section):
    """A whole sweep. `source` says where it was read, "" if it was not a file."""

    name: Annotated[str, StringConstraints(pattern=NAME_PATTERN)] = Field(
        description="default: the file's name"
    )
    sweep: SweepSection
    task: TaskSection = Field(default_factory=TaskSection)
    trials: int = Field(default=20, ge=1, le=1_000_000, description="trials in all")
    parallel: Annotated[int, Field(ge=1, le=100_000)] | None = Field(
        default=None, description="trials at once; null: as many as the machine takes"
    )
    hardware: dict[str, JsonValue] = Field(
        default_factory=dict, description="a file of configs/hardware, a path, or values"
    )
    execution: ExecutionSection = Field(default_factory=ExecutionSection)
    budget: BudgetSection = Field(default_factory=BudgetSection)
    wandb: WandbSection = Field(default_factory=WandbSection)
    notify: NotifySection = Field(default_factory=NotifySection)
    source: str = ""

    @property
    def total_trials(self) -> int:
        """How many trials the sweep may have."""
        limit = self.budget.trials
        return self.trials if limit is None else min(self.trials, limit)

    def to_mapping(self) -> dict[str, Any]:
        """Give a JSON-able mapping that `config.from_mapping` reads back to an equal config."""
        return self.model_dump(mode="json")


LAUNCHER_KEYS = ("resources",)
"""What a hardware file tells the launcher, not the trial."""


def section_fields() -> Iterator[tuple[str, type[Section]]]:
    """Give the sections of a sweep file by name."""
    for name, field in SweepConfig.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            yield name, field.annotation
