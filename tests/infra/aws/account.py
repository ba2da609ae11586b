"""What stands in the AWS account and in its user's home folder before SkyPilot comes."""

import csv
import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

from tests.infra.aws import catalogue

HOST = "10.77.0.1"
PORT = "5999"
ENDPOINT = f"http://{HOST}:{PORT}"
API_SERVER_PORT = 46981
KEYS = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}
ROLE = "skypilot-v1"  # the one that SkyPilot would create

CREDENTIALS = "[default]\n" + "".join(f"{name} = {value}\n" for name, value in KEYS.items())

AWS_CONFIG = f"""\
[default]
region = {catalogue.REGION}
endpoint_url = {ENDPOINT}
"""

SKY_CONFIG = """\
allowed_clouds: [aws]
aws:
  vpc_names: test-vpc
  use_internal_ips: true
  use_ssm: false
jobs:
  controller:
    consolidation_mode: true
"""

SKY_PLUGINS = f"""\
plugins:
  - class: offline.Offline
    parameters: {{answers: "http://127.0.0.1:{API_SERVER_PORT}/api/health"}}
"""

TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"Service": "ec2.amazonaws.com"},
            "Action": "sts:AssumeRole",
        }
    ],
}


def client(service: str) -> Any:
    """To moto; the calling thread must be inside."""
    import boto3

    return boto3.client(service, endpoint_url=ENDPOINT, region_name=catalogue.REGION, **KEYS)


def write_home(home: Path, wheels: Path, images: Path) -> None:
    """The user's settings, SkyPilot's catalogue and its wheel; `images` is for moto."""
    files = {
        ".aws/credentials": CREDENTIALS,
        ".aws/config": AWS_CONFIG,
        ".sky/config.yaml": SKY_CONFIG,
        ".sky/plugins.yaml": SKY_PLUGINS,
    }
    for name, text in files.items():
        path = home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    catalogue.write(home / ".sky/catalogs/v8", images)
    # With a new date: SkyPilot would pack itself again, over the network, were its code newer.
    shutil.copytree(wheels, home / ".sky/wheels", copy_function=shutil.copy)


def seed(home: Path) -> None:
    """Moto's account: a private network with a subnet in each zone, and SkyPilot's role."""
    zones = client("ec2").describe_availability_zones()["AvailabilityZones"]
    _make_network([zone["ZoneName"] for zone in zones])
    _make_role()
    _write_zones(home, zones)


def _make_network(zones: list[str]) -> None:
    ec2 = client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.77.0.0/16")["Vpc"]["VpcId"]
    ec2.create_tags(Resources=[vpc], Tags=[{"Key": "Name", "Value": "test-vpc"}])
    for number, zone in enumerate(zones, start=1):
        block = f"10.77.{16 * number}.0/20"
        ec2.create_subnet(VpcId=vpc, CidrBlock=block, AvailabilityZone=zone)


def _make_role() -> None:
    iam = client("iam")
    iam.create_role(RoleName=ROLE, AssumeRolePolicyDocument=json.dumps(TRUST))
    iam.create_instance_profile(InstanceProfileName=ROLE)
    iam.add_role_to_instance_profile(InstanceProfileName=ROLE, RoleName=ROLE)


def _write_zones(home: Path, zones: list[dict[str, str]]) -> None:
    """SkyPilot would ask 23 regions for theirs, and moto would build each."""
    user = client("sts").get_caller_identity()["UserId"]
    name = hashlib.md5(user.encode(), usedforsecurity=False).hexdigest()[:8]
    with (home / f".sky/catalogs/v8/aws/az_mappings-{name}.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["AvailabilityZoneName", "AvailabilityZone"])
        writer.writerows((zone["ZoneName"], zone["ZoneId"]) for zone in zones)
