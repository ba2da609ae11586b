"""Where machines may be, in SkyPilot's words: `cloud`, `cloud/region`, `cloud/region/zone`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

ANY = "any"
"""The cloud of a sweep that leaves the choice to SkyPilot."""
_WILD = (None, "", "*")
_WHOLE_CONTEXT = ("kubernetes", "ssh")
_ALIASES = {"k8s": "kubernetes"}


@dataclass(frozen=True, slots=True)
class Infra:
    """A cloud, a region (a Kubernetes context, a Slurm cluster) and a zone (a Slurm partition).

    None means any; a zone needs no region.
    """

    cloud: str | None = None
    region: str | None = None
    zone: str | None = None

    def __post_init__(self) -> None:
        cloud = None if self.cloud in (*_WILD, ANY) else str(self.cloud).lower()
        object.__setattr__(self, "cloud", _ALIASES.get(cloud or "", cloud))
        for name in ("region", "zone"):
            if getattr(self, name) in _WILD:
                object.__setattr__(self, name, None)

    @classmethod
    def parse(cls, text: str) -> "Infra":
        """Read `aws/us-east-1/us-east-1a`, `slurm/lab/gpu`, `k8s/my-context`, `*/us-east-1`.

        Raises ValueError.
        """
        cloud, *rest = (part.strip() for part in text.strip().strip("/").split("/"))
        if not cloud or "" in rest:
            raise ValueError("has an empty part")
        if _ALIASES.get(cloud.lower(), cloud.lower()) in _WHOLE_CONTEXT:
            return cls(cloud, "/".join(rest) or None)  # names of contexts have slashes
        if len(rest) > 2:
            raise ValueError("has more than cloud, region and zone")
        return cls(cloud, *rest)

    @classmethod
    def of(cls, resources: Mapping[str, Any]) -> "Infra":
        """Read the place of SkyPilot's resources: `infra`, or `cloud`, `region` and `zone`."""
        infra = resources.get("infra")
        if infra is not None:
            return cls.parse(str(infra))
        return cls(*(resources.get(key) for key in ("cloud", "region", "zone")))

    def __bool__(self) -> bool:
        return (self.cloud, self.region, self.zone) != (None, None, None)

    def __str__(self) -> str:
        parts = [part or "*" for part in (self.cloud, self.region, self.zone)]
        while len(parts) > 1 and parts[-1] == "*":
            parts.pop()
        return "/".join(parts)

    def within(self, wanted: "Infra") -> "Infra | None":
        """Return this place, narrowed to where the user wants it; None if it is elsewhere.

        Another cloud is elsewhere; another region or zone gives way.
        """
        if wanted.cloud is not None and self.cloud not in (None, wanted.cloud):
            return None
        cloud = wanted.cloud or self.cloud
        if wanted.region is None or wanted.region == self.region:
            return Infra(cloud, self.region, wanted.zone or self.zone)
        return Infra(cloud, wanted.region, wanted.zone)

    def as_resources(self) -> dict[str, str]:
        """Return it as SkyPilot's resources have it; nothing for anywhere."""
        return {"infra": str(self)} if self else {}
