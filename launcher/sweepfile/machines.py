"""Checks where and on what trials run: `execution`, and SkyPilot's `resources`, with their places.

SkyPilot checks the rest itself, once it is asked for a price; what is told here is told with its
line, and without SkyPilot.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from launcher.errors import Problem
from launcher.sweepfile.choices import CLOUDS
from launcher.sweepfile.complaints import kind_of, near
from launcher.sweepfile.infra import ANY, Infra
from launcher.sweepfile.nodes import Node
from launcher.sweepfile.overrides import COMMAND_LINE, put

OURSELVES = ("local", "simulated")
"""Clouds that need no SkyPilot."""
PLACE_KEYS = ("cloud", "region", "zone")
CHOICES = ("any_of", "ordered")
RESOURCES = (
    "infra", *PLACE_KEYS, *CHOICES, "cpus", "memory", "accelerators", "accelerator_args",
    "instance_type", "use_spot", "job_recovery", "disk_size", "disk_tier", "network_tier",
    "local_disk", "ephemeral_storage", "max_hourly_cost", "ports", "labels", "image_id", "volumes",
    "autostop", "priority", "priority_class",
)  # fmt: skip
"""The keys of SkyPilot 0.14."""
_ACCELERATOR = re.compile(
    r"[A-Za-z0-9][\w.+-]*(?::[0-9]*\.?[0-9]+)?|\w+:[0-9]+[GMTgmt][Bb]\+?(?::[0-9]+)?"
)
_STORAGE = re.compile(r"(?:~?/|\w+://)\S+")


def settled(root: Node) -> Node:
    """Return the sweep with its cloud said once: `infra` says it, unless the command line does."""
    infra, cloud = root.get("execution", "infra"), root.get("execution", "cloud")
    if infra is None or not isinstance(infra.value, str):
        return root
    try:
        named = Infra.parse(infra.value).cloud or ANY
    except ValueError:
        return root  # told by `machine_problems`
    if cloud is None or (infra.place == COMMAND_LINE and cloud.place != COMMAND_LINE):
        return put(root, ("execution", "cloud"), Node(named, infra.place, infra.key, named))
    if cloud.place == COMMAND_LINE and infra.place != COMMAND_LINE and cloud.value != named:
        return put(root, ("execution", "infra"), Node(None, cloud.place, cloud.key))
    return root


def is_on_skypilot(root: Node) -> bool:
    """Whether the trials run through SkyPilot."""
    cloud = root.get("execution", "cloud")
    return cloud is not None and cloud.value in CLOUDS and cloud.value not in OURSELVES


def with_workdir(root: Node) -> Node:
    """Return the sweep with the folder that other machines get said: the one where we are.

    Not where the trials run the trainer that comes with protein-sky: they need no folder.
    """
    run, workdir = root.get("task", "run"), root.get("task", "workdir")
    if not is_on_skypilot(root) or (workdir is not None and workdir.value is not None):
        return root
    if run is None or not isinstance(run.value, str) or "-m trainer" in run.value:
        return root
    return put(root, ("task", "workdir"), Node(str(Path.cwd()), run.place, run.key))


def machine_problems(root: Node) -> Iterator[Problem]:
    """Check `execution`, and the resources of the task and of the hardware file."""
    yield from _execution(root.get("execution") or Node({}, root.place))
    for section in ("task", "hardware"):
        resources = root.get(section, "resources")
        if resources is not None and resources.value is not None:
            yield from _resources(resources, f"{section}.resources")
    if is_on_skypilot(root):
        yield from _elsewhere(root)


def _execution(node: Node) -> Iterator[Problem]:
    yield from _infra(node, "execution")
    infra, cloud = node.get("infra"), node.get("cloud")
    if infra is not None and cloud is not None and isinstance(infra.value, str):
        named = _cloud_of(infra)
        if named and Infra(str(cloud.value)).cloud != named:
            message = f"{kind_of(infra)} is not on {kind_of(cloud)}"
            yield infra.place.problem("execution.infra", message, "leave `cloud` out")
    gpus, storage = node.get("gpus"), node.get("storage")
    if gpus is not None and isinstance(gpus.value, str):
        yield from _accelerator(gpus, "execution.gpus")
    path = None if storage is None else storage.value
    if storage is not None and isinstance(path, str) and not _STORAGE.fullmatch(path):
        message = f"must be a whole path or the address of a bucket, is {kind_of(storage)}"
        hint = "/shared/runs, which all machines see, or s3://mine/runs"
        yield storage.place.problem("execution.storage", message, hint)


def _infra(node: Node, key: str) -> Iterator[Problem]:
    infra = node.get("infra")
    if infra is None or infra.value is None:
        return
    hint = "such as aws, aws/us-east-1, slurm/cluster/partition or k8s/context"
    try:
        cloud = Infra.parse(str(infra.value)).cloud
    except ValueError as error:
        yield infra.place.problem(f"{key}.infra", f"{kind_of(infra)} {error}", hint)
        return
    if cloud is not None and (cloud not in CLOUDS or cloud in OURSELVES):
        message = f"SkyPilot knows no cloud {cloud!r}"
        yield infra.place.problem(f"{key}.infra", message, near(cloud, CLOUDS[2:]) or hint)


def _resources(node: Node, key: str) -> Iterator[Problem]:
    if not node.is_mapping:
        message = f"must be a mapping, is {kind_of(node)}"
        yield node.place.problem(key, message, "resources: {accelerators: A10G:1}")
        return
    for name, inner in node.entries.items():
        if name not in RESOURCES:
            message = "is no key of SkyPilot's resources"
            yield inner.key_place.problem(f"{key}.{name}", message, near(name, RESOURCES))
    yield from _infra(node, key)
    doubled = next((k for k in PLACE_KEYS if k in node.entries and "infra" in node.entries), None)
    if doubled is not None:
        message = "stands beside `infra`, which says the same"
        yield node.entries[doubled].key_place.problem(f"{key}.{doubled}", message, "keep one")
    cloud = node.get("cloud")
    if cloud is not None and Infra(str(cloud.value or "")).cloud not in (*CLOUDS[2:], None):
        message = f"SkyPilot knows no cloud {kind_of(cloud)}"
        yield cloud.place.problem(f"{key}.cloud", message, near(cloud.value, CLOUDS[2:]))
    accelerators = node.get("accelerators")
    for one in () if accelerators is None else (accelerators.items or (accelerators,)):
        if isinstance(one.value, str):
            yield from _accelerator(one, f"{key}.accelerators")
    spot = node.get("use_spot")
    if spot is not None and not isinstance(spot.value, bool | None):
        message = f"must be true or false, is {kind_of(spot)}"
        yield spot.place.problem(f"{key}.use_spot", message)
    yield from _choices(node, key)


def _choices(node: Node, key: str) -> Iterator[Problem]:
    if all(name in node.entries for name in CHOICES):
        place = node.entries["ordered"].key_place
        yield place.problem(f"{key}.ordered", "stands beside `any_of`", "keep one of them")
    for name in CHOICES:
        choice = node.get(name)
        if choice is None:
            continue
        if not choice.is_list or not choice.items:
            message = f"must be a list of resources, is {kind_of(choice)}"
            yield choice.place.problem(f"{key}.{name}", message, f"{name}: [{{infra: aws}}, …]")
        for entry in choice.items:
            inner = next((entry.entries[c].key_place for c in CHOICES if c in entry.entries), None)
            if inner is not None:
                yield inner.problem(f"{key}.{name}", "a choice inside of a choice")
            else:
                yield from _resources(entry, f"{key}.{name}")


def _accelerator(node: Node, key: str) -> Iterator[Problem]:
    if not _ACCELERATOR.fullmatch(node.value):
        message = f"{kind_of(node)} is no accelerator"
        yield node.place.problem(key, message, "such as A10G:1, H100:8 or 80GB+:1")


def _elsewhere(root: Node) -> Iterator[Problem]:
    """Tell where the resources are all on another cloud than the sweep."""
    wanted = root.get("execution", "cloud")
    resources = root.get("task", "resources")
    if wanted is None or resources is None or wanted.value == ANY:
        return
    home = _place(resources)
    entries = next((resources.entries[c].items for c in CHOICES if c in resources.entries), ())
    places = [_place(entry) or home for entry in entries] or [home]
    target = Infra(str(wanted.value))
    if any(place is None or place.within(target) is not None for place in places):
        return
    clouds = ", ".join(dict.fromkeys(str(place.cloud) for place in places if place is not None))
    message = f"is on {clouds}, and the sweep runs on {target}"
    hint = f"--cloud {places[0]}".partition("/")[0] + f", or --cloud {ANY}"
    place = next((resources.entries[k] for k in ("infra", "cloud") if k in resources.entries), None)
    yield (place or resources).place.problem("task.resources", message, hint)


def _place(node: Node) -> Infra | None:
    """Return where resources are; None where they don't say so, or cannot be read."""
    try:
        return Infra.of({k: n.value for k, n in node.entries.items() if not n.is_mapping}) or None
    except ValueError:
        return None


def _cloud_of(infra: Node) -> str | None:
    try:
        return Infra.parse(str(infra.value)).cloud
    except ValueError:
        return None
