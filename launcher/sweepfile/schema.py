"""The sweep file as frozen values; docs/sweep-file.md tells users of them.

What exists is valid, wherever it comes from: a file, the command line, a journal.
"""

import json
import sys
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct, field

NAME_PATTERN = r"^[a-z0-9](?:[a-z0-9_.-]{0,61}[a-z0-9])?\Z"
"""Folders, jobs and W&B groups are named after a sweep: nothing else fits everywhere."""
POOL_PATTERN = r"^[a-z](?:[a-z0-9-]{0,38}[a-z0-9])?\Z"
DEFAULT_RUN = 'python -m trainer --config "$PROTEIN_RUN_DIR/train_config_overrides.yaml"'

Value = str | int | float | bool
"""A fixed value of a parameter."""
Json = dict[str, Any]
"""JSON values by name: YAML gives no others."""
Whole = Annotated[int, Meta(ge=1)]
NotNegative = Annotated[float, Meta(ge=0, le=sys.float_info.max)]
Amount = Annotated[float, Meta(gt=0, le=sys.float_info.max)]
Fraction = Annotated[float, Meta(gt=0, le=1)]
Line = Annotated[str, Meta(pattern=r"^[^\x00-\x1f\x7f]{1,200}\Z")]
Text = Annotated[str, Meta(pattern=r"^[^\x00]*\Z")]
Tag = Annotated[str, Meta(pattern=r"^[^\x00-\x1f\x7f,]{1,64}\Z")]
Variable = Annotated[str, Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,127}\Z")]


class Section(Struct, frozen=True, forbid_unknown_fields=True):
    """What all sections share: frozen, strict, no unknown keys."""


class EarlyStopping(Section, frozen=True):
    """When a running trial is ended because others did better by then; see launcher.early_stopping.

    `grace` and the rungs are in units of `resource`: seconds of the trial's own cost, or steps.
    """

    method: Literal["median", "asha", "forecast"]
    grace: Amount  # no trial is ended before; the first rung of asha
    metric: Line | None = None  # what trials report on their way; None: the sweep's metric
    resource: Literal["cost_seconds", "step"] = "cost_seconds"  # what trials are compared by
    reduction_factor: Annotated[int, Meta(ge=2, le=100)] = 3  # asha: one in so many goes on
    min_trials: Whole = 4  # trials to compare with, at least
    min_chance: Fraction = 0.05  # forecast: with less chance to become the best a trial ends


class SecondObjective(Section, frozen=True):
    """Another metric that matters, such as a model's latency; trials trade it against the first."""

    metric: Line
    goal: Literal["maximize", "minimize"]


class SweepSection(Section, frozen=True):
    """What is searched and how."""

    metric: Line  # what a trial reports as its score
    goal: Literal["maximize", "minimize"]
    second_objective: SecondObjective | None = None  # to trade against the first, beside cost
    method: Line = "protein"
    num_random_samples: Annotated[int, Meta(ge=1, le=100_000)] = 5  # trials of the first design
    seed: Annotated[int, Meta(ge=0, le=2**63 - 1)] = 0  # of everything random in the search
    cost: Literal["trial", "wandb", "machine"] = "trial"  # who measures it
    cost_parameter: Line | None = None  # the parameter that sets the cost
    seeds: Annotated[int, Meta(ge=1, le=1000)] = 1  # runs of each suggestion, each with its own
    warm_start: tuple[Line, ...] = ()  # earlier sweeps to learn from, by name
    constraints: tuple[Text, ...] = ()  # conditions between parameters: a.b <= a.c
    early_stopping: EarlyStopping | None = None
    parameters: Json = {}  # dotted names to a range, or to a fixed value

    @property
    def tuned(self) -> dict[str, dict[str, Any]]:
        """The parameters that are searched, with their ranges."""
        return {name: spec for name, spec in self.parameters.items() if isinstance(spec, dict)}

    @property
    def fixed(self) -> dict[str, Any]:
        """The parameters that have one value in all trials."""
        return {name: v for name, v in self.parameters.items() if not isinstance(v, dict)}


class TaskSection(Section, frozen=True):
    """What a trial runs: the keys of a SkyPilot task that concern it."""

    name: Line | None = None  # ignored: jobs are named after sweep and trial
    run: Annotated[Text, Meta(min_length=1)] = DEFAULT_RUN  # bash, once per node and attempt
    setup: Text | None = None  # bash, once per machine
    workdir: Text | None = None  # the folder it runs in
    num_nodes: Annotated[int, Meta(ge=1, le=10_000)] = 1  # machines of one trial
    envs: dict[Variable, Text] = {}
    secrets: tuple[Variable, ...] = ()  # taken from the environment, never written anywhere
    resources: Json = {}  # this and what follows as in SkyPilot
    file_mounts: Json = {}
    volumes: Json = {}
    config: Json = {}


Mode = Literal["auto", "managed_jobs", "reused_clusters", "cluster_per_trial"]


class ExecutionSection(Section, frozen=True):
    """Where and how patiently trials are run."""

    cloud: str = "local"  # local, simulated, or a cloud of SkyPilot
    region: Line | None = None  # region, Kubernetes context or Slurm cluster; None: any
    infra: Line | None = None  # cloud/region/zone in one, as SkyPilot writes it
    gpus: Line | None = None  # accelerators of one machine; None: as the resources say
    use_spot: bool | None = None  # spot or on demand; None: as the resources say
    mode: Mode = "auto"  # how SkyPilot is used; auto suits the cloud
    pool: Annotated[str, Meta(pattern=POOL_PATTERN)] | None = None  # workers that jobs share
    storage: Line | None = None  # what all machines share; None: run folders stay there
    idle_minutes: Annotated[int, Meta(ge=1, le=10_000)] = 10  # a machine without a job goes then
    timeout_seconds: Amount | None = None  # longest run of one attempt
    stall_seconds: Amount | None = None  # longest time in which neither log nor metrics grow
    price_usd_per_hour: NotNegative | None = None  # of one trial, where SkyPilot knows no price
    max_attempts: Annotated[int, Meta(ge=1, le=1000)] = 3  # starts of a trial that machines fail
    retry_delay_seconds: NotNegative = 5.0  # before another attempt; doubles each time
    max_consecutive_failures: Whole | None = 3  # broken trials in a row that pause the sweep
    max_failure_rate: Fraction | None = None  # share of recent trials that may fail


class BudgetSection(Section, frozen=True):
    """Hard limits over the whole sweep. What is not given is not limited."""

    usd: Amount | None = None  # running trials' worst case included
    trials: Whole | None = None
    hours: Amount | None = None  # at work since the launch
    gpu_hours: Amount | None = None  # of all trials
    warn: tuple[Fraction, ...] = (0.8,)  # shares at which to tell


class WandbSection(Section, frozen=True):
    """How trials appear in Weights & Biases."""

    project: Line | None = None  # None: $WANDB_PROJECT, else metta
    entity: Line | None = None  # None: $WANDB_ENTITY
    group: Line | None = None  # None: the sweep's name
    tags: tuple[Tag, ...] = ()  # further tags of each run
    mode: Literal["auto", "online", "offline", "disabled"] = "auto"


class NotifySection(Section, frozen=True):
    """Whom to tell, through Apprise. Its addresses are secrets: only variables are named here."""

    to: tuple[Variable, ...] = ()
    on: tuple[Literal["ended", "paused", "budget", "best"], ...] = ("ended", "paused", "budget")


class SweepConfig(Section, frozen=True):
    """A whole sweep. `source` says where it was read, "" if it was not a file."""

    name: Annotated[str, Meta(pattern=NAME_PATTERN)]
    sweep: SweepSection
    task: TaskSection = field(default_factory=TaskSection)
    trials: Annotated[int, Meta(ge=1, le=1_000_000)] = 20  # in all
    parallel: Annotated[int, Meta(ge=1, le=100_000)] | None = None  # None: what the machine takes
    hardware: Json = {}  # a file of configs/hardware, a path, or values
    execution: ExecutionSection = field(default_factory=ExecutionSection)
    budget: BudgetSection = field(default_factory=BudgetSection)
    wandb: WandbSection = field(default_factory=WandbSection)
    notify: NotifySection = field(default_factory=NotifySection)
    source: str = ""

    @property
    def total_trials(self) -> int:
        """How many trials the sweep may have."""
        limit = self.budget.trials
        return self.trials if limit is None else min(self.trials, limit)

    def to_mapping(self) -> dict[str, Any]:
        """Give a JSON-able mapping that `config.from_mapping` reads back to an equal config."""
        mapping: dict[str, Any] = json.loads(json.dumps(msgspec.to_builtins(self)))
        return mapping


LAUNCHER_KEYS = ("resources",)
"""What a hardware file tells the launcher, not the trial."""


def sections() -> Iterator[tuple[str, type[Section]]]:
    """Give the sections of a sweep file by name."""
    for one in msgspec.structs.fields(SweepConfig):
        if isinstance(one.type, type) and issubclass(one.type, Section):
            yield one.name, one.type


def keys(section: type[Section]) -> tuple[str, ...]:
    """Give the keys of a section, in order; the whole file's are those of SweepConfig."""
    return tuple(key for key in section.__struct_fields__ if key != "source")
