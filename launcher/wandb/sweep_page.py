"""The W&B sweep that a sweep's trials join by `WANDB_SWEEP_ID`: parallel coordinates, importance.

Its id is noted in the sweep's folder. It carries the sweep's name and id, so that it is found again
where the note was not written: there is one W&B sweep, however often a coordinator was killed.
"""

import contextlib
import io
import json
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from launcher.config import SweepConfig
from launcher.files import write_atomic
from launcher.folder import SweepFolder
from launcher.sweepfile.wandb_sweep import to_wandb
from launcher.wandb.access import Ask, api_key, asking
from launcher.wandb.environment import MAX_NAME_LENGTH, entity, project, shortened

FILE = "wandb_sweep.json"


def recorded_sweep(folder: SweepFolder) -> str | None:
    """Return the W&B sweep that this sweep's trials join; None before there is one."""
    try:
        found = json.loads((folder.path / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    name = found.get("wandb_sweep_id") if isinstance(found, dict) else None
    return name if isinstance(name, str) else None


def find_or_create_sweep(
    folder: SweepFolder,
    config: SweepConfig,
    sweep_id: str,
    environ: Mapping[str, str] = os.environ,
    *,
    prior_runs: Sequence[str] = (),
) -> str:
    """Return the W&B sweep of this sweep, made by the first call with the runs that it has already.

    Whoever was killed between W&B's answer and the note of it left a sweep behind that carries our
    name: it is found and taken. May raise anything: the caller goes on without.
    """
    known = recorded_sweep(folder)
    if known is not None:
        return known
    wanted = wandb_sweep(config, sweep_id)
    team, place = entity(config, environ), project(config, environ)
    made = None
    if api_key(environ) is not None:
        made = _existing_sweep(asking(environ), wanted["name"], entity=team, project=place)
    if made is None:
        import wandb

        with _undisturbed():
            made = str(wandb.sweep(wanted, entity=team, project=place, prior_runs=list(prior_runs)))
    write_atomic(folder.path / FILE, json.dumps({"wandb_sweep_id": made}) + "\n")
    return made


_SWEEPS = """
query Sweeps($entity: String, $project: String!, $cursor: String) {
  project(name: $project, entityName: $entity) {
    sweeps(after: $cursor, first: 100) {
      edges { node { name displayName config } }
      pageInfo { endCursor hasNextPage }
    }
  }
}
"""
_VIEWER = "query Viewer { viewer { entity } }"


def _existing_sweep(ask: Ask, name: str, *, entity: str | None, project: str) -> str | None:
    """Return the id of the W&B sweep of a name, which holds our random sweep id; None: no such."""
    entity = entity or ask(_VIEWER, {})["viewer"]["entity"]
    cursor = None
    while True:
        place = {"entity": entity, "project": project, "cursor": cursor}
        found = ask(_SWEEPS, place)["project"]
        if found is None:
            return None
        page = found["sweeps"]
        for edge in page["edges"]:
            if name in (edge["node"]["displayName"], _name_in(edge["node"]["config"])):
                return str(edge["node"]["name"])
        if not page["pageInfo"]["hasNextPage"]:
            return None
        cursor = page["pageInfo"]["endCursor"]


def _name_in(config: str) -> object:
    try:
        found = yaml.safe_load(config)
    except yaml.YAMLError:
        return None
    return found.get("name") if isinstance(found, dict) else None


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Keep to itself what `wandb.sweep` prints, warns of and sets for the whole process."""
    names = ("WANDB_ENTITY", "WANDB_PROJECT")
    before = {name: os.environ.get(name) for name in names}
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of its own making
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value


def wandb_sweep(config: SweepConfig, sweep_id: str) -> dict[str, Any]:
    """Return the sweep as W&B's configuration. Its own search is never asked: we suggest."""
    return {
        "name": shortened(f"{config.name}.{sweep_id}", MAX_NAME_LENGTH),
        "method": "random",
        "metric": {"name": config.sweep.metric, "goal": config.sweep.goal},
        "parameters": to_wandb(config.sweep.parameters),
    }
