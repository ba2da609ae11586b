"""Protein inside a W&B sweep: every agent's program asks here, W&B keeps what was learnt.

Each run's summary holds its part of the history, under the names of the system that this replaces:
`protein.state` ("running", "success" or "failure"), `protein.suggestion`,
`protein.suggestion_info`, `protein.suggestion_uuid`, `protein.objective`, `protein.cost` and
`protein.error`.

Agents know each other through W&B only, and W&B shows a run at once but its suggestion only
seconds later. So a run that is there and has no suggestion yet is asked for in its stead, with the
seed that it has itself (a hash of its id): what it got, or would have got, counts as pending. For
all to come to the same, each looks only at runs created before it; those after it look at it.
"""

import functools
import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from protein.ask_tell import Protein
from protein.observation import Observation, Suggestion, Value
from protein.suggest import seed_for, suggest

RUNNING, SUCCESS, FAILURE = "running", "success", "failure"
PAGE_SIZE = 500
TIMEOUT_SECONDS = 60


@dataclass(frozen=True, slots=True)
class SweepRun:
    """A run of the sweep as W&B shows it. `state` is W&B's own: running, finished, crashed …"""

    run_id: str
    created_at: str
    state: str
    summary: Mapping[str, Any] = field(default_factory=dict)


SweepRuns = Callable[[], Sequence[SweepRun]]
Suggest = Callable[..., tuple[dict[str, Any], dict[str, Any]]]


class WandbProtein:
    """Protein for one run of a W&B sweep.

    >>> def train():                                                          # doctest: +SKIP
    ...     protein = WandbProtein(Protein(space), wandb.init())
    ...     suggestion, metadata = protein.suggest()
    ...     protein.record_observation(score, cost=seconds)
    >>> wandb.agent(sweep_id, function=train, count=1)                        # doctest: +SKIP

    Subclasses may override `suggest` and `_transform_suggestion`; the first answer of `suggest` is
    what the run's config shows, and every later call gives it again. `runs` lists the sweep's runs;
    by default it asks W&B.
    """

    def __init__(
        self, protein: Protein, wandb_run: Any = None, *, runs: SweepRuns | None = None
    ) -> None:
        self._protein = protein
        self._wandb_run = wandb_run if wandb_run is not None else _current_run()
        self._runs = runs or functools.partial(_runs_of_sweep, self._wandb_run)
        self._published: tuple[dict[str, Any], dict[str, Any]] | None = None
        self._depth = 0
        self._ahead: list[SweepRun] = []
        self._pending: list[Mapping[str, Value]] = []
        self._load_runs_from_wandb()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "suggest" in vars(cls):
            cls.suggest = _published(vars(cls)["suggest"])  # type: ignore[method-assign]  # wrapped

    def suggest(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return this run's parameters, and why; they are in the run's config from then on."""
        pending: list[Mapping[str, Value]] = []
        for run in self._ahead:
            pending.append(_params(run) or self._suggest_for(run.run_id, pending).params)
        suggestion = self._suggest_for(str(self._wandb_run.id), pending)
        return dict(suggestion.params), dict(suggestion.info)

    def observe(
        self, suggestion_uuid: str, reward: float, context: Mapping[str, Any] | None = None
    ) -> None:
        """Tell what this run's suggestion scored. `context` may hold `cost` and `is_failure`.

        KeyError if the suggestion is another run's.
        """
        if suggestion_uuid != str(self._wandb_run.id):
            raise KeyError(
                f"suggestion {suggestion_uuid!r} is not that of run {self._wandb_run.id!r}"
            )
        known = context or {}
        if known.get("is_failure"):
            self.record_failure(str(known.get("error", "")))
        else:
            self.record_observation(reward, known.get("cost"), allow_update=True)

    def record_observation(
        self, objective: float, cost: float | None = None, allow_update: bool = False
    ) -> None:
        """Record the score, in the metric's own direction, and the cost (None: unknown).

        A score that is no finite number is a failure. Raises ValueError if the run has one already,
        unless `allow_update`.
        """
        state = self._wandb_run.summary.get("protein.state")
        if state in (SUCCESS, FAILURE) and not allow_update:
            raise ValueError(f"run {self._wandb_run.id} is recorded already: {state}")
        if not math.isfinite(objective):
            self.record_failure(f"the score is {objective}")
            return
        known = {} if cost is None else {"protein.cost": float(cost)}
        result = {"protein.objective": float(objective), "protein.state": SUCCESS}
        self._wandb_run.summary.update({**known, **result})

    def record_failure(self, error_message: str = "") -> None:
        """Record that these parameters fail."""
        self._wandb_run.summary.update({"protein.state": FAILURE, "protein.error": error_message})

    def update_wandb_config(self, values: Mapping[str, Any]) -> None:
        """Put values into the run's config, over those that a W&B agent locked there.

        `config.update(…, allow_val_change=True)` is ignored for swept keys, with a warning only;
        the client's way around its own lock is `update_locked`, and what it did is checked.
        Raises RuntimeError if a value did not get there.
        """
        config = self._wandb_run.config
        config.update_locked(dict(values), user="protein", _allow_val_change=True)
        lost = sorted(name for name, value in values.items() if config.get(name) != value)
        if lost:
            raise RuntimeError(f"the W&B run kept its own values of {', '.join(lost)}")

    @property
    def observations(self) -> tuple[Observation, ...]:
        """What the sweep's earlier runs taught."""
        return self._protein.observations

    @property
    def pending(self) -> tuple[Mapping[str, Value], ...]:
        """The parameters of the sweep's other runs that are known and not over."""
        return tuple(self._pending)

    def _transform_suggestion(self, suggestion: dict[str, Any]) -> dict[str, Any]:
        """Turn a point of the space into what the program and the config get: here, nothing."""
        return suggestion

    def _suggest_for(self, run_id: str, pending: Sequence[Mapping[str, Value]]) -> Suggestion:
        protein = self._protein
        digest = hashlib.blake2b(run_id.encode(), digest_size=7).digest()
        seed = seed_for(protein.seed, int.from_bytes(digest, "big"))
        return suggest(protein.space, protein.settings, protein.observations, pending, seed)

    def _load_runs_from_wandb(self) -> None:
        """Sort the sweep's other runs: observed, pending, and those of them that came first."""
        own, before_own = str(self._wandb_run.id), True
        for run in sorted(self._runs(), key=lambda run: (run.created_at, run.run_id)):
            if run.run_id == own:
                before_own = False
                continue
            observation = _observation(run)
            if observation is not None:
                self._protein.observe(
                    observation.params,
                    observation.score,
                    observation.cost,
                    is_failure=observation.is_failure,
                )
            elif run.state == RUNNING:
                self._pending += [_params(run)] if _params(run) else []
                self._ahead += [run] if before_own else []

    def _publish(self, params: dict[str, Any], info: dict[str, Any]) -> None:
        uuid = str(self._wandb_run.id)
        self._published = (
            self._transform_suggestion(dict(params)),
            {**info, "suggestion_uuid": uuid},
        )
        self.update_wandb_config(self._published[0])
        self._wandb_run.summary.update(
            {
                "protein.state": RUNNING,
                "protein.suggestion": params,
                "protein.suggestion_info": info,
                "protein.suggestion_uuid": uuid,
            }
        )


def _published(method: Suggest) -> Suggest:
    """Make a `suggest` publish what it returned first, and return that ever after."""

    @functools.wraps(method)
    def suggest(self: WandbProtein, *args: Any, **kwargs: Any) -> Any:
        if self._published is None:
            self._depth += 1
            try:
                params, info = method(self, *args, **kwargs)
            finally:
                self._depth -= 1
            if self._depth > 0:  # asked by a subclass: what that makes of it counts
                return params, info
            self._publish(params, info)
        assert self._published is not None
        params, info = self._published
        return dict(params), dict(info)

    return suggest


WandbProtein.suggest = _published(WandbProtein.suggest)  # type: ignore[method-assign]  # as subclasses


def _observation(run: SweepRun) -> Observation | None:
    params, state = _params(run), _value(run.summary, "protein.state")
    cost = _value(run.summary, "protein.cost")
    cost = float(cost) if isinstance(cost, int | float) and cost > 0 else None
    objective = _value(run.summary, "protein.objective")
    if not params or state not in (SUCCESS, FAILURE):
        return None
    if state == FAILURE:
        return Observation(params, None, cost, is_failure=True)
    if not isinstance(objective, int | float) or not math.isfinite(objective):
        return None
    return Observation(params, float(objective), cost)


def _params(run: SweepRun) -> dict[str, Value]:
    found = _value(run.summary, "protein.suggestion")
    return _flat(found) if isinstance(found, Mapping) else {}


def _value(summary: Mapping[str, Any], name: str) -> Any:
    """Return a value by its dotted name; W&B may hand it over nested."""
    if name in summary:
        return summary[name]
    group, _, rest = name.partition(".")
    inner = summary.get(group)
    return inner.get(rest) if isinstance(inner, Mapping) else None


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Value]:
    flat: dict[str, Value] = {}
    for key, value in tree.items():
        flat |= (
            _flat(value, f"{prefix}{key}.")
            if isinstance(value, Mapping)
            else {f"{prefix}{key}": value}
        )
    return flat


def _current_run() -> Any:
    import wandb

    if wandb.run is None:
        raise ValueError("there is no W&B run: call wandb.init() first, or pass it")
    return wandb.run


def _runs_of_sweep(wandb_run: Any) -> Sequence[SweepRun]:
    """Ask W&B for all runs of a run's sweep. Outside of a sweep, and offline, there are none."""
    import wandb

    if not wandb_run.sweep_id or wandb_run.settings._offline:
        return []
    runs = wandb.Api(timeout=TIMEOUT_SECONDS).runs(
        f"{wandb_run.entity}/{wandb_run.project}",
        filters={"sweep": wandb_run.sweep_id},
        per_page=PAGE_SIZE,
        include_sweeps=False,
        lazy=False,
    )
    return [SweepRun(run.id, str(run.created_at), run.state, _plain(run.summary)) for run in runs]


def _plain(summary: Any) -> dict[str, Any]:
    return {key: _plain(v) if hasattr(v, "items") else v for key, v in summary.items()}
