"""Results from W&B's service, for trials whose folders are on other machines.

One query for all runs that are asked for, and one for the histories of those whose summaries lack
the metric, whatever the number of trials; how often, says `polling`.
"""

import os
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from launcher.config import SweepConfig
from launcher.metrics import RunFolderMetrics, is_whole
from launcher.ports import Metrics, Result, Run
from launcher.wandb.access import Ask, api_key, asking
from launcher.wandb.environment import entity, project, resolve_mode
from launcher.wandb.history import histories
from launcher.wandb.offline import as_result, over_what, wandb_sources, with_history
from launcher.wandb.polling import Polling, Work, in_background

PAGE_SIZE = 500
TIMEOUT_SECONDS = 20


@dataclass(frozen=True, slots=True)
class RemoteRun:
    """What W&B knows of a run. `state` is W&B's: running, finished, crashed, failed …

    `series` is all that it logged of the wanted metric, where its summary lacks that.
    """

    state: str
    summary: Mapping[str, Any] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    series: tuple[float, ...] = ()


Fetch = Callable[[Sequence[str]], Mapping[str, RemoteRun]]
"""Asks W&B for runs by id, all at once; it may raise anything. Unknown runs are missing."""


class WandbMetrics:
    """A Metrics that asks W&B until a run has all that is wanted: a summary may be late in parts.

    `now` is Unix seconds.
    """

    def __init__(
        self,
        fetch: Fetch,
        now: Callable[[], float],
        config: SweepConfig,
        *,
        start: Callable[[Work], None] = in_background,
        draw: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._fetch = fetch
        self._config = config
        self._polling = Polling[Mapping[str, RemoteRun]](now, start=start, draw=draw)
        self._known: dict[str, RemoteRun] = {}
        self._final: dict[str, RemoteRun] = {}

    @property
    def problem(self) -> str:
        """Why the last query failed, or that one is under way: it may take minutes to fail."""
        is_asking = "W&B has not answered yet" if self._polling.is_asking else ""
        return self._polling.problem or is_asking

    def read(self, runs: Sequence[Run]) -> Mapping[str, Result]:
        """Return what is known by now, and ask for the rest when it is time."""
        self._take_answers()
        missing = [r.run_id for r in runs if not is_whole(self._config, self._result(r))]
        if missing:
            self._polling.ask(lambda: self._fetch(missing))
            self._take_answers()
        results = {run.run_id: self._result(run) for run in runs}
        return {run_id: result for run_id, result in results.items() if result is not None}

    def _take_answers(self) -> None:
        for answer in self._polling.answers():
            self._learn(answer)

    def _learn(self, answer: Mapping[str, RemoteRun]) -> None:
        """Keep runs that are over, or that stand still: their end may not have reached W&B."""
        for run_id, found in answer.items():
            if found.state != "running" or self._known.get(run_id) == found:
                self._final[run_id] = found
            self._known[run_id] = found

    def _result(self, run: Run) -> Result | None:
        found = self._final.get(run.run_id)
        if found is None or not _is_of(found.config, run.attempt):
            return None
        result = as_result(found.summary, source="wandb")
        return with_history(result, self._config.sweep.metric, found.series)


def metrics_of(
    config: SweepConfig, now: Callable[[], float], environ: Mapping[str, str] = os.environ
) -> Metrics:
    """Return where a sweep's results come from: run folders, W&B's logs in them, W&B itself."""
    sources: list[Metrics] = [
        RunFolderMetrics(),
        RunFolderMetrics(wandb_sources(config.sweep.metric)),
    ]
    if resolve_mode(config, environ) == "online":
        sources.append(WandbMetrics(from_api(config, environ), now, config))
    return FirstOf(sources, config)


def _is_of(config: Mapping[str, Any], attempt: int) -> bool:
    """Whether a run's config does not say that another attempt wrote it."""
    provenance = config.get("protein")
    said = provenance.get("attempt") if isinstance(provenance, Mapping) else None
    return said is None or said == attempt


def from_api(
    config: SweepConfig,
    environ: Mapping[str, str] = os.environ,
    *,
    pause: Callable[[float], None] = time.sleep,
) -> Fetch:
    """Return a Fetch by W&B's public client, with the key and the server of this environment.

    What summaries lack of the sweep's metric is looked for in the histories: only our own question
    gets those of many runs at once, and only with a key. `pause` keeps such questions apart.
    """
    made: list[Any] = []
    named = entity(config, environ)
    ask = asking(environ) if api_key(environ) is not None else None

    def fetch(run_ids: Sequence[str]) -> Mapping[str, RemoteRun]:
        import wandb

        if not made:
            made.append(wandb.Api(timeout=TIMEOUT_SECONDS))
        api = made[0]
        api.flush()  # else it answers from its cache
        place = {"entity": named or api.default_entity, "project": project(config, environ)}
        runs = api.runs(
            f"{place['entity']}/{place['project']}",
            filters={"name": {"$in": sorted(run_ids)}},
            per_page=PAGE_SIZE,
            include_sweeps=False,  # else one query per sweep
            lazy=False,  # else one query per run for its summary
        )
        found = {run.id: RemoteRun(run.state, _plain(run.summary), run.config) for run in runs}
        if ask is None:
            return found
        return _with_series(ask, place, found, config.sweep.metric, pause=pause)

    return fetch


def _with_series(
    ask: Ask,
    place: Mapping[str, str | None],
    found: Mapping[str, RemoteRun],
    wanted: str,
    *,
    pause: Callable[[float], None],
) -> Mapping[str, RemoteRun]:
    results = {name: as_result(run.summary, source="wandb") for name, run in found.items()}
    lacking = [n for n, r in results.items() if r is None or wanted not in r.metrics]
    metric, _ = over_what(wanted)
    series = histories(ask, place, lacking, metric=metric, pause=pause) if lacking else {}
    return {name: replace(run, series=series.get(name, ())) for name, run in found.items()}


def _plain(summary: Any) -> dict[str, Any]:
    """Return the client's summary object as nested dicts."""
    return {key: _plain(v) if hasattr(v, "items") else v for key, v in summary.items()}


class FirstOf:
    """Asks several Metrics in turn, the cheap and certain first, until each run's result is whole.

    A later one is asked for the runs whose earlier answers lack something. A run that never reports
    the metric gets everything that was found, so that it can be said what there is instead.
    """

    def __init__(self, sources: Sequence[Metrics], config: SweepConfig) -> None:
        self._sources = tuple(sources)
        self._config = config

    @property
    def problem(self) -> str:
        """Why a source cannot tell now, empty if all can: what is missing may be late."""
        return next((source.problem for source in self._sources if source.problem), "")

    def read(self, runs: Sequence[Run]) -> Mapping[str, Result]:
        """Return results by run id."""
        found: dict[str, Result] = {}
        left = list(runs)
        for source in self._sources:
            answers = source.read(left) if left else {}
            for run_id, answer in answers.items():
                found[run_id] = _merged(found.get(run_id), answer)
            left = [run for run in left if not is_whole(self._config, found.get(run.run_id))]
        return found


def _merged(first: Result | None, then: Result) -> Result:
    """Return both results as one; what the first says counts."""
    if first is None:
        return then
    return Result(
        {**then.metrics, **first.metrics},
        first.cost_seconds if first.cost_seconds is not None else then.cost_seconds,
        then.source,
        first.diverged or then.diverged,
        first.runtime_seconds if first.runtime_seconds is not None else then.runtime_seconds,
    )
