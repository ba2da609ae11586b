"""W&B's top level of a sweep file: `method` and `metric` are defaults for `sweep`."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from launcher.errors import Problem
from launcher.sweepfile.choices import METHODS
from launcher.sweepfile.complaints import kind_of, near
from launcher.sweepfile.yamlio import Node

_METHODS = {"bayes": "protein", "random": "random", "grid": "grid"}


def without_wandb_keys(root: Node, problems: list[Problem]) -> Node:
    """Move W&B's top-level `method` and `metric` below `sweep`; both must say the same."""
    entries = dict(root.entries)
    method, metric = entries.pop("method", None), entries.pop("metric", None)
    defaults: dict[str, Node] = {}
    if method is not None:
        known = _METHODS.get(str(method.value))
        if known is None:
            hint = near(method.value, _METHODS)
            problems.append(method.place.problem("method", f"W&B has no {kind_of(method)}", hint))
        else:
            defaults["method"] = replace(method, value=known)
    if metric is not None and metric.is_mapping:
        unknown = [key for key in metric.entries if key not in ("name", "goal", "target")]
        for key in unknown:
            place = metric.entries[key].key_place
            problems.append(place.problem(f"metric.{key}", "is no key here", "name and goal"))
        defaults |= {
            to: metric.entries[key]
            for key, to in (("name", "metric"), ("goal", "goal"))
            if key in metric.entries
        }
    elif metric is not None:
        hint = "`metric: {name: reward, goal: maximize}`, or `sweep: {metric: reward}`"
        problems.append(metric.place.problem("metric", "must be a mapping here", hint))
    sweep = entries.get("sweep")
    if not defaults or (sweep is not None and not sweep.is_mapping):
        return root.with_entries(entries)
    own = sweep.entries if sweep is not None else {}
    problems.extend(_contradictions(defaults, own))
    base = sweep or Node({}, root.place)
    return root.with_entries({**entries, "sweep": base.with_entries({**defaults, **own})})


def _contradictions(defaults: dict[str, Node], own: Mapping[str, Node]) -> Iterator[Problem]:
    for key, node in defaults.items():
        other = own.get(key)
        if other is None or other.value == node.value:
            continue
        if key == "method" and node.value == "protein" and other.value not in METHODS[1:]:
            continue  # W&B's `bayes` stands for any optimizer that learns
        message = f"{kind_of(other)} contradicts {kind_of(node)} in line {node.place.line}"
        yield other.place.problem(f"sweep.{key}", message, "keep one of them")
