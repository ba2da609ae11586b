"""What a sweep asks of SkyPilot: one `resources` mapping, as a SkyPilot task has it.

The later wins: the hardware file, the task's `resources`, then `execution` (which `--cloud`,
`--region`, `--infra`, `--gpus` and `--spot` set). Pure: SkyPilot itself is not needed.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from launcher.errors import UsageError
from launcher.sweepfile.infra import ANY, Infra
from launcher.sweepfile.schema import SweepConfig

PLACE_KEYS = ("infra", "cloud", "region", "zone")
CHOICES = ("any_of", "ordered")


def resources_of(config: SweepConfig) -> dict[str, Any]:
    """Return the resources of one node of a trial.

    Raises UsageError where the parts cannot go together: the task asks for one cloud only, and
    the sweep for another.
    """
    execution = config.execution
    merged = _merged(_mapping(config.hardware.get("resources")), config.task.resources)
    forced: dict[str, Any] = {}
    if execution.gpus is not None:
        forced["accelerators"] = execution.gpus
    if execution.use_spot is not None:
        forced["use_spot"] = execution.use_spot
    wanted = Infra.parse(execution.infra) if execution.infra else Infra(execution.cloud)
    if execution.region is not None:
        wanted = Infra(wanted.cloud, execution.region)
    return _placed(merged, forced, wanted)


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return both; what excludes each other in SkyPilot is taken from `over` alone."""
    hidden: set[str] = set()
    for group in (PLACE_KEYS, CHOICES):
        if any(over.get(key) is not None for key in group):
            hidden |= set(group)
    given = {key: value for key, value in over.items() if value is not None}
    return {**{key: value for key, value in under.items() if key not in hidden}, **given}


def _placed(merged: dict[str, Any], forced: dict[str, Any], wanted: Infra) -> dict[str, Any]:
    """Return the resources at the wanted place, with what the user insists on everywhere."""
    base = {k: v for k, v in merged.items() if k not in (*PLACE_KEYS, *CHOICES)} | forced
    home = Infra.of(merged)
    choice = next((key for key in CHOICES if merged.get(key)), None)
    if choice is None:
        place = home.within(wanted)
        if place is None:
            raise _elsewhere(wanted, [home])
        return {**base, **place.as_resources()}
    entries = list(_entries(merged[choice], forced, home, wanted))
    if not entries:
        homes = [Infra.of(entry) or home for entry in merged[choice]]
        raise _elsewhere(wanted, homes)
    if len(entries) == 1:
        labels = {**_mapping(base.get("labels")), **_mapping(entries[0].get("labels"))}
        return {**base, **entries[0], **({"labels": labels} if labels else {})}
    return {**base, choice: entries}


def _entries(
    given: list[Mapping[str, Any]], forced: Mapping[str, Any], home: Infra, wanted: Infra
) -> Iterator[dict[str, Any]]:
    """Yield the choices that lie where they may, each once."""
    seen: list[dict[str, Any]] = []
    for entry in given:
        place = (Infra.of(entry) or home).within(wanted)
        if place is None:
            continue
        own = {k: v for k, v in entry.items() if k not in (*PLACE_KEYS, *forced)}
        whole = {**own, **place.as_resources()}
        if whole not in seen:
            seen.append(whole)
            yield whole


def _elsewhere(wanted: Infra, homes: list[Infra]) -> UsageError:
    there = ", ".join(dict.fromkeys(str(home) for home in homes))
    return UsageError(
        f"the sweep runs on {wanted}, and the resources of its task are on {there}",
        hint=f"--cloud {homes[0].cloud}, or leave `infra` out of the resources;"
        f" --cloud {ANY} takes them as they are",
    )
