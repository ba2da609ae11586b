"""A home in which SkyPilot knows a few AWS machines and has AWS enabled, without any network.

SkyPilot takes a catalogue file without a checksum beside it for the user's own, and never fetches.
The prices are made up: spot is 40 % of on demand, and one zone is dearer.
"""

import csv
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

COLUMNS = [
    "InstanceType", "AcceleratorName", "AcceleratorCount", "vCPUs", "MemoryGiB", "GpuInfo", "Price",
    "SpotPrice", "Region", "AvailabilityZone", "Arch", "LocalDiskType", "NVMeSupported",
    "LocalDiskSize", "LocalDiskCount", "MaximumEfaInterfaces",
]  # fmt: skip
ZONES = {
    "us-east-1": ("us-east-1a", "us-east-1b"),
    "us-west-2": ("us-west-2a",),
}
MACHINES = {
    # instance type: (accelerator, count, vCPUs, GiB, $/h in us-east-1, $/h in us-west-2)
    "m6i.large": (None, None, 2, 8, 0.096, 0.11),
    "m6i.2xlarge": (None, None, 8, 32, 0.384, 0.40),
    "g5.xlarge": ("A10G", 1, 4, 16, 1.006, 1.2),
    "p5.48xlarge": ("H100", 8, 192, 2048, 55.04, 60.0),
}
ACCELERATORS = {
    "A10G": 24, "A10": 24, "L4": 24, "T4": 16, "A100": 40, "A100-80GB": 80, "H100": 80,
}  # fmt: skip
"""Those that templates name; only machines above have a price."""
DEARER_ZONE = "us-east-1b"


def write_home(home: Path) -> None:
    """Write what SkyPilot would have fetched from GitHub into `home`."""
    catalogs = home / ".sky" / "catalogs" / "v8"
    _write(catalogs / "aws" / "vms.csv", COLUMNS, _machines())
    tags = ("skypilot:custom-cpu-ubuntu", "skypilot:custom-gpu-ubuntu")
    _write(
        catalogs / "aws" / "images.csv",
        ["Tag", "Region", "OS", "OSVersion", "ImageId", "CreationDate", "BaseImageId"],
        [[t, r, "ubuntu", "22.04", "ami-1", "20250101", "ami-1"] for t in tags for r in ZONES],
    )
    _write(
        catalogs / "aws" / "instance_quota_mapping.csv",
        ["InstanceType", "OnDemandInstanceCode", "SpotInstanceCode"],
        [[name, "L-1216C47A", "L-34B43A08"] for name in MACHINES],
    )
    _write(
        catalogs / "common" / "accelerators.csv",
        ["AcceleratorName", "Clouds"],
        [[name, "['AWS']"] for name in ACCELERATORS],
    )
    _write(
        catalogs / "common" / "metadata.csv",
        ["GPU", "MemoryGB", "Manufacturer"],
        [[name, memory, "nvidia"] for name, memory in ACCELERATORS.items()],
    )


def _machines() -> Iterable[list[Any]]:
    for name, (gpu, count, cpus, memory, *prices) in MACHINES.items():
        for (region, zones), on_demand in zip(ZONES.items(), prices, strict=True):
            for zone in zones:
                spot = round(on_demand * (0.6 if zone == DEARER_ZONE else 0.4), 4)
                yield [
                    name, gpu, count, float(cpus), float(memory), gpu and "{}", on_demand, spot,
                    region, zone, "x86_64", None, None, None, None, None,
                ]  # fmt: skip


def _write(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(rows)


_ENABLE = """
from sky import check, global_user_state, skypilot_config
from sky.clouds import CloudCapability
workspace = skypilot_config.get_active_workspace()
global_user_state.set_allowed_clouds(check._get_workspace_allowed_clouds(workspace), workspace)
global_user_state.set_enabled_clouds(["AWS"], CloudCapability.COMPUTE, workspace)
"""


def python(home: Path, code: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run code in a process of its own, for which `home` is home and AWS is enabled."""
    return subprocess.run(
        [sys.executable, "-c", _ENABLE + code],
        env=environment(home) | variables,
        capture_output=True,
        text=True,
        check=False,
    )


def environment(home: Path) -> dict[str, str]:
    """Return the environment of a process in that home."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "SKY"))}
    nowhere = {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}
    return (
        kept
        | nowhere
        | {
            "HOME": str(home),
            "SKYPILOT_DISABLE_USAGE_COLLECTION": "1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
    )


def answer(ran: subprocess.CompletedProcess[str]) -> Mapping[str, Any]:
    """Return the JSON document that a process printed, alone."""
    assert ran.returncode == 0, ran.stderr
    document: Mapping[str, Any] = json.loads(ran.stdout)
    return document
