"""SkyPilot's price catalogue of AWS (its schema v8), made from the instance types that moto knows.

SkyPilot would fetch it from the internet. THE PRICES ARE TEST DATA, near what AWS asked once; moto
gives what is real: CPUs, memory, GPUs and the zones that offer a type.
"""

import csv
import gzip
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

REGION = "us-east-1"
USD_PER_HOUR = {
    "m6i.large": 0.096,
    "m6i.xlarge": 0.192,
    "m6i.2xlarge": 0.384,
    "g4dn.xlarge": 0.526,
    "g5.xlarge": 1.006,
    "g5.2xlarge": 1.212,
    "g5.12xlarge": 5.672,
    "g5.48xlarge": 16.288,
    "g6.xlarge": 0.8048,
    "p4d.24xlarge": 21.957642,
    "p5.48xlarge": 55.04,
}
SPOT_SHARE = 0.4
IMAGE_TAGS = (
    "skypilot:custom-cpu-ubuntu",
    "skypilot:custom-gpu-ubuntu",
    "skypilot:custom-gpu-ubuntu-cuda13",
)
# AWS's own codes for vCPU quotas: (on demand, spot) of the P, the G and the standard families.
QUOTA_CODES = {"p": ("L-417A185B", "L-7212CCBC"), "g": ("L-DB2E81BA", "L-3819A6DF")}
STANDARD_QUOTA = ("L-1216C47A", "L-34B43A08")


def spot_price(instance_type: str) -> float:
    """US dollars an hour of one spot instance."""
    return round(USD_PER_HOUR[instance_type] * SPOT_SHARE, 4)


def write(folder: Path, images: Path) -> None:
    """The catalogue's files under `folder`, and the list of images that moto shall offer."""
    types = _load("instance_types")
    offers = _load(f"instance_type_offerings/availability-zone-id/{REGION}")
    rows = sorted(
        (
            _machine(types[offer["InstanceType"]], offer["Location"])
            for offer in offers
            if offer["InstanceType"] in USD_PER_HOUR
        ),
        key=lambda row: (row["InstanceType"], row["AvailabilityZone"]),
    )
    _table(folder / "aws/vms.csv", rows)
    _table(folder / "aws/images.csv", map(_image_row, IMAGE_TAGS))
    _table(folder / "aws/instance_quota_mapping.csv", map(_quota_row, USD_PER_HOUR))
    gpus = {row["AcceleratorName"]: types[row["InstanceType"]] for row in rows}
    gpus.pop(None)
    _table(
        folder / "common/accelerators.csv",
        ({"AcceleratorName": g, "Clouds": "['AWS']"} for g in gpus),
    )
    _table(
        folder / "common/metadata.csv",
        (
            {"GPU": name, "MemoryGB": _gpu_gib(of), "Manufacturer": "nvidia"}
            for name, of in gpus.items()
        ),
    )
    images.write_text(json.dumps([_image(tag) for tag in IMAGE_TAGS]))


def _machine(of: dict[str, Any], zone_id: str) -> dict[str, Any]:
    gpus = of.get("GpuInfo", {}).get("Gpus")
    price = USD_PER_HOUR[of["InstanceType"]]
    return {
        "InstanceType": of["InstanceType"],
        "AcceleratorName": gpus[0]["Name"].replace(" ", "-") if gpus else None,
        "AcceleratorCount": float(gpus[0]["Count"]) if gpus else None,
        "vCPUs": float(of["VCpuInfo"]["DefaultVCpus"]),
        "MemoryGiB": of["MemoryInfo"]["SizeInMiB"] / 1024,
        "GpuInfo": str(of["GpuInfo"]) if gpus else None,
        "Price": price,
        "SpotPrice": spot_price(of["InstanceType"]),
        "Region": REGION,
        "AvailabilityZone": zone_id,
        "Arch": of["ProcessorInfo"]["SupportedArchitectures"][-1],
        "LocalDiskType": None,
        "NVMeSupported": None,
        "LocalDiskSize": None,
        "LocalDiskCount": None,
        "MaximumEfaInterfaces": of["NetworkInfo"].get("EfaInfo", {}).get("MaximumEfaInterfaces"),
    }


def _gpu_gib(of: dict[str, Any]) -> int:
    return round(float(of["GpuInfo"]["Gpus"][0]["MemoryInfo"]["SizeInMiB"]) / 1024)


def _quota_row(instance_type: str) -> dict[str, str]:
    on_demand, spot = QUOTA_CODES.get(instance_type[0], STANDARD_QUOTA)
    return {
        "InstanceType": instance_type,
        "OnDemandInstanceCode": on_demand,
        "SpotInstanceCode": spot,
    }


def _image_id(tag: str) -> str:
    return "ami-" + hashlib.sha256(tag.encode()).hexdigest()[:17]


def _image_row(tag: str) -> dict[str, str]:
    return {
        "Tag": tag,
        "Region": REGION,
        "OS": "ubuntu",
        "OSVersion": "22.04",
        "ImageId": _image_id(tag),
        "CreationDate": "20250101",
        "BaseImageId": _image_id(tag),
    }


def _image(tag: str) -> dict[str, Any]:
    """As moto reads it (MOTO_AMIS_PATH)."""
    return {
        "ami_id": _image_id(tag),
        "name": tag,
        "description": "a folder on this machine",
        "state": "available",
        "public": True,
        "owner_id": "099720109477",
        "image_location": f"amazon/{tag}",
        "image_type": "machine",
        "architecture": "x86_64",
        "virtualization_type": "hvm",
        "hypervisor": "xen",
        "root_device_type": "ebs",
        "root_device_name": "/dev/sda1",
        "sriov": "simple",
    }


def _load(name: str) -> Any:
    """One of moto's data files about EC2."""
    import moto

    with gzip.open(Path(moto.__file__).parent / f"ec2/resources/{name}.json.gz") as file:
        return json.load(file)


def _table(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    rows = list(rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
