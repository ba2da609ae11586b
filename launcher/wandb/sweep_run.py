"""The sweep itself in W&B: a run of its own, to be followed on a phone.

It shows the best so far, money, counts and the Pareto front. Like the sweep's page it is an extra:
where W&B does not answer, the sweep goes on without it.
"""

import contextlib
import os
import queue
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from launcher.config import SweepConfig
from launcher.events import AttemptEnded, Recorded, SweepEnded, TrialSuggested
from launcher.folder import SweepFolder
from launcher.optimizer import observation
from launcher.state import State, TrialState
from launcher.wandb.access import check_access
from launcher.wandb.environment import (
    MAX_NAME_LENGTH,
    entity,
    project,
    resolve_mode,
    shortened,
    tags,
)
from launcher.wandb.sweep_page import find_or_create_sweep
from protein.pareto import best, pareto_front

MAX_FRONT = 50
"""Points of the Pareto front that a summary shows, the best of them."""


@contextlib.contextmanager
def shown_in_wandb(
    folder: SweepFolder,
    config: SweepConfig,
    sweep_id: str,
    notice: Callable[[str], None],
    environ: Mapping[str, str] = os.environ,
    *,
    patience_seconds: float = 20.0,
) -> Iterator[Callable[[State, Recorded | None], None]]:
    """Show a sweep in W&B while its coordinator runs, if it is online: gives the watcher to call.

    What goes wrong on W&B's side is a notice; what it has not taken `patience_seconds` after the
    sweep is not waited for. Raises UsageError if the key is missing or wrong.
    """
    if resolve_mode(config, environ) != "online" or config.execution.cloud == "simulated":
        yield lambda _state, _record: None
        return
    trouble = check_access(environ)
    if not trouble:
        trouble = _why_no_sweep(folder, config, sweep_id, environ)
    if trouble:
        notice(f"W&B: {trouble}; the sweep goes on, `protein-sky sync {folder.name}` uploads later")
    shown = SweepRun(config, opener(folder, config, sweep_id, environ), notice)
    try:
        yield shown
    finally:
        shown.close(patience_seconds)
        if shown.problem:
            notice(shown.problem)


def _why_no_sweep(
    folder: SweepFolder, config: SweepConfig, sweep_id: str, environ: Mapping[str, str]
) -> str:
    try:
        find_or_create_sweep(folder, config, sweep_id, environ)
    except Exception as error:  # noqa: BLE001 - the client raises whatever broke inside it
        return f"{type(error).__name__}: {error}"
    return ""


def row(config: SweepConfig, state: State) -> dict[str, Any]:
    """Return the numbers of the sweep as it stands; what is not known is left out."""
    states = [trial.state for trial in state.ordered]
    observed = [o for o in map(observation, state.ordered) if o is not None]
    found = best(observed, config.sweep.goal)
    numbers: dict[str, Any] = {
        "trials/suggested": len(states),
        "trials/running": len(state.live),
        "trials/succeeded": states.count(TrialState.SUCCEEDED),
        "trials/failed": states.count(TrialState.FAILED),
        "spend/usd": state.settled_usd,
        "spend/wasted_usd": state.wasted_usd,
        "spend/machine_hours": state.machine_seconds / 3600,
        "pareto/size": len(pareto_front(observed, config.sweep.goal)),
    }
    if found is not None:
        numbers["best/score"] = found.score
        if found.cost is not None:
            numbers["best/cost_seconds"] = found.cost
    return numbers


def closing(config: SweepConfig, state: State) -> dict[str, Any]:
    """Return what a summary shows beside the numbers: the best parameters, the Pareto front."""
    observed = [o for o in map(observation, state.ordered) if o is not None]
    front = pareto_front(observed, config.sweep.goal)
    facts: dict[str, Any] = {
        "mode": state.mode.value,
        "pareto/front": [
            {"score": o.score, "cost_seconds": o.cost, "params": dict(o.params)}
            for o in front[-MAX_FRONT:]
        ],
    }
    if front:
        facts["best/params"] = dict(front[-1].params)
    return facts


class SweepRun:
    """Logs a sweep's own run: a `Watch` for the coordinator, which it never holds up.

    W&B is spoken to by a thread that does not keep the program alive; what it cannot deliver is
    lost, for the journal has it all. `open_run` gives the run; it may take long and raise anything.
    `notice` is told where the run is to be seen.
    """

    def __init__(
        self, config: SweepConfig, open_run: Callable[[], Any], notice: Callable[[str], None]
    ) -> None:
        self._config = config
        self._rows: queue.SimpleQueue[tuple[dict[str, Any], dict[str, Any]] | None] = (
            queue.SimpleQueue()
        )
        self._open_run = open_run
        self._notice = notice
        self.problem = ""
        self._thread = threading.Thread(target=self._deliver, name="wandb-sweep-run", daemon=True)
        self._thread.start()

    def __call__(self, state: State, record: Recorded | None) -> None:
        """Take a row when something changed that a row shows."""
        if record is not None and isinstance(
            record.event, TrialSuggested | AttemptEnded | SweepEnded
        ):
            self._rows.put((row(self._config, state), closing(self._config, state)))

    def close(self, patience_seconds: float) -> None:
        """Deliver what is waiting, and end the run; give up after `patience_seconds`."""
        self._rows.put(None)
        self._thread.join(patience_seconds)

    def _deliver(self) -> None:
        try:
            run = self._open_run()
            self._notice(f"W&B: follow the sweep at {run.url}")
            while (taken := self._rows.get()) is not None:
                numbers, facts = taken
                run.log(numbers)
                run.summary.update(facts)
            run.finish()
        except Exception as error:  # noqa: BLE001 - the client raises whatever broke inside it
            self.problem = f"W&B: {type(error).__name__}: {error}"


def opener(
    folder: SweepFolder,
    config: SweepConfig,
    sweep_id: str,
    environ: Mapping[str, str] = os.environ,
) -> Callable[[], Any]:
    """Return what opens the sweep's own run, the same run again after a resume."""

    def open_run() -> Any:
        import wandb

        run_id = f"{config.name}.{sweep_id}.sweep"
        return wandb.init(
            project=project(config, environ),
            entity=entity(config, environ),
            id=run_id,
            name=run_id,
            group=shortened(config.wandb.group or config.name, MAX_NAME_LENGTH),
            job_type="sweep",
            tags=list(tags(config, sweep_id)),
            config=config.to_mapping(),
            dir=str(folder.path),
            resume="allow",
            mode="online",
            settings=wandb.Settings(console="off", silent=True, x_disable_stats=True),
        )

    return open_run
