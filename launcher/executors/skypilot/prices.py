"""What a trial's machines cost by the hour, from SkyPilot's catalogue, before anything starts.

SkyPilot's optimizer is asked in this process: its answer over the API server is None in 0.14. With
a remote API server it would look for credentials on this machine, which need not have any; then
the server is asked whether it could launch this, and the cheapest of what the catalogue offers is
the answer. Importing SkyPilot takes 2 s of CPU.
"""

import contextlib
import copy
import io
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from launcher.errors import ExecutorError, UsageError
from launcher.executors.skypilot import team
from launcher.executors.skypilot.readiness import check_installed, not_enabled, why_not
from launcher.sweepfile.infra import Infra

UNPRICED_CLOUDS = ("kubernetes", "slurm", "ssh", "vsphere")
"""Where 0 means that nobody told SkyPilot what the machines cost."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way to place a trial. The price covers all nodes; None: SkyPilot knows none.

    `accelerators` is such as `A10G:1`, of one node; "" where there are none.
    """

    cloud: str
    region: str | None
    zone: str | None
    instance_type: str | None
    accelerators: str
    gpus: int
    use_spot: bool
    usd_per_hour: float | None

    @property
    def infra(self) -> str:
        """Where it is, as `aws/us-east-1/us-east-1a`."""
        return str(Infra(self.cloud, self.region, self.zone))


@dataclass(frozen=True, slots=True)
class Price:
    """What SkyPilot takes first, and what it falls back to when that is not to be had.

    `chosen` is one of `candidates`, which are sorted by price. `gpus` of one trial, all nodes.
    """

    chosen: Candidate
    candidates: tuple[Candidate, ...]
    nodes: int
    override_usd_per_hour: float | None = None

    @property
    def gpus(self) -> int:
        """The GPUs of one trial, over all its nodes."""
        return self.chosen.gpus * self.nodes

    @property
    def usd_per_hour(self) -> float | None:
        """What a trial costs where SkyPilot looks first; None if nobody knows."""
        known = self.chosen.usd_per_hour
        return self.override_usd_per_hour if known is None else known

    @property
    def most_usd_per_hour(self) -> float | None:
        """What a trial costs at most, wherever it ends up; None if nobody knows.

        A launch that finds no capacity goes on to the next place: a hard limit counts with this.
        """
        known = [c.usd_per_hour for c in self.candidates if c.usd_per_hour is not None]
        if len(known) < len(self.candidates):
            known += [] if self.override_usd_per_hour is None else [self.override_usd_per_hour]
            if self.override_usd_per_hour is None:
                return None
        return max(known)

    def to_mapping(self) -> dict[str, Any]:
        """Return it as a JSON-able mapping."""
        return asdict(self)

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> "Price":
        """Read what `to_mapping` gave."""
        return cls(
            chosen=Candidate(**mapping["chosen"]),
            candidates=tuple(Candidate(**one) for one in mapping["candidates"]),
            nodes=mapping["nodes"],
            override_usd_per_hour=mapping["override_usd_per_hour"],
        )


def price(
    resources: Mapping[str, Any], nodes: int, *, override_usd_per_hour: float | None = None
) -> Price:
    """Return what SkyPilot would choose for a trial on `nodes` machines, and what that costs.

    `override_usd_per_hour` is the price of one trial, all nodes, where SkyPilot knows none. Raises
    UsageError for resources that are wrong or that no enabled cloud has, ExecutorError if the
    catalogue cannot be read.
    """
    check_installed()
    with _no_output(), _errors_translated(resources):
        import sky

        with sky.Dag() as dag:
            task = sky.Task(run="true", num_nodes=nodes)
            task.set_resources(sky.Resources.from_yaml_config(copy.deepcopy(dict(resources))))
        if team.is_remote():
            team.check(dag)
            groups = [_places(request, nodes) for request in task.resources]
            found = [place for group in groups for place in group]
            if not found:
                raise _nothing(resources, "")
            first = next(group for group in groups if group)
            is_ordered = isinstance(task.resources, list)
            best = min(first if is_ordered else found, key=_cost)
        else:
            requests = list(task.resources)
            sky.Optimizer.optimize(dag, quiet=True)
            best = dag.tasks[0].best_resources
            found = [place for request in requests for place in _places(request, nodes)]
    chosen = _candidate(best, nodes)
    candidates = {chosen, *(_candidate(place, nodes) for place in found)}
    ordered = sorted(candidates, key=lambda c: (c.usd_per_hour or 0.0, c != chosen, c.infra))
    return Price(chosen, tuple(ordered), nodes, override_usd_per_hour)


def _places(request: Any, nodes: int) -> list[Any]:
    """Return the regions or zones that SkyPilot tries for one request, in no order."""
    from sky import check
    from sky.clouds import CloudCapability
    from sky.utils import resources_utils

    is_remote = team.is_remote()
    if is_remote and str(request.cloud).lower() in UNPRICED_CLOUDS:
        return [request]  # what there is, and what it costs, stands in the server's settings
    request.validate()
    if request.cloud is not None:
        clouds = [request.cloud]
    elif is_remote:
        hint = "name the cloud: --cloud aws"
        raise UsageError("with a remote API server the cloud must be named", hint=hint)
    else:
        clouds = check.get_cached_enabled_clouds_or_refresh(CloudCapability.COMPUTE)
    found = []
    for cloud in clouds:
        feasible = cloud.get_feasible_launchable_resources(request, nodes).resources_list
        if feasible:
            found += resources_utils.make_launchables_for_valid_region_zones(feasible[0])
    return found


def _cost(resources: Any) -> float:
    """Return the price of one machine; 0.0 also where the team's server alone could tell it."""
    return 0.0 if resources.instance_type is None else float(resources.get_cost(3600))


def _candidate(resources: Any, nodes: int) -> Candidate:
    cloud = str(resources.cloud).lower()
    cost = _cost(resources)
    accelerators = resources.accelerators or {}
    name, count = next(iter(accelerators.items()), ("", 0))
    return Candidate(
        cloud=cloud,
        region=resources.region,
        zone=resources.zone,
        instance_type=resources.instance_type,
        accelerators=f"{name}:{count:g}" if name else "",
        gpus=0 if name.startswith("tpu") else int(count),
        use_spot=bool(resources.use_spot),
        usd_per_hour=None if cost == 0.0 and cloud in UNPRICED_CLOUDS else cost * nodes,
    )


@contextlib.contextmanager
def _no_output() -> Iterator[None]:
    """Keep what SkyPilot prints and logs off stdout, which is for data."""
    with contextlib.redirect_stdout(io.StringIO()):
        from sky import sky_logging  # its log goes to what stdout is now

        with sky_logging.silent():
            yield


@contextlib.contextmanager
def _errors_translated(resources: Mapping[str, Any]) -> Iterator[None]:
    from sky import exceptions

    try:
        yield
    except exceptions.NoCloudAccessError as error:
        cloud = Infra.of(resources).cloud
        hint = "see what is missing: sky check"
        nothing = UsageError("SkyPilot has no cloud that it may use", hint=hint)
        raise (_why_not(cloud) if cloud else nothing) from error
    except exceptions.ResourcesUnavailableError as error:
        raise _nothing(resources, str(error)) from error
    except (exceptions.CloudError, OSError) as error:
        raise ExecutorError(
            f"SkyPilot's catalogue of prices cannot be read: {_first_line(str(error))}",
            hint="it is fetched from GitHub once, into ~/.sky/catalogs",
        ) from error
    except (ValueError, TypeError, AssertionError, exceptions.NotSupportedError) as error:
        raise UsageError(f"resources: {_first_line(str(error))}", hint=_asked(resources)) from error


def _why_not(cloud: str) -> UsageError:
    where = team.endpoint()
    return not_enabled(cloud, f"it is not enabled at {where}") if where else why_not(cloud)


def _nothing(resources: Mapping[str, Any], reason: str) -> UsageError:
    asked = ", ".join(f"{key}={value}" for key, value in resources.items())
    cloud = Infra.of(resources).cloud or ""
    if "not enabled" in reason and cloud:
        return _why_not(cloud)
    if "not enabled" in reason:
        return UsageError("SkyPilot may use none of these clouds yet", hint="sky check")
    return UsageError(
        f"no machine of SkyPilot's catalogue has {asked}",
        hint=f"see what there is: sky gpus list --all{f' --infra {cloud}' if cloud else ''}",
    )


def _asked(resources: Mapping[str, Any]) -> str:
    return "asked for: " + ", ".join(f"{key}={value}" for key, value in resources.items())


def _first_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "no reason given")
