"""SkyPilot alone on the local EC2: where this fails, no test of ours can pass."""

import pytest

from tests.infra.aws import catalogue
from tests.infra.aws.local_ec2 import LocalEc2

pytestmark = [pytest.mark.infra, pytest.mark.timeout(1800)]

JOB = "echo I am $(hostname) of $SKYPILOT_NUM_NODES"
SPOT_A10G = ("--infra", "aws", "--gpus", "A10G:1", "--use-spot")
PRICE = """
import sky
machine = sky.Resources(infra="aws/us-east-1", instance_type="g5.xlarge", use_spot=True)
print(machine.get_cost(3600))
"""


def test_skypilot_finds_aws_enabled(ec2: LocalEc2) -> None:
    assert "AWS: enabled" in ec2.run("sky", "check", "aws").stdout


def test_skypilot_reads_the_price_of_a_spot_machine_from_our_catalogue(ec2: LocalEc2) -> None:
    printed = ec2.run("python", "-c", PRICE).stdout.splitlines()[-1]
    assert float(printed) == catalogue.spot_price("g5.xlarge")


def test_nothing_leaves_the_namespace(ec2: LocalEc2) -> None:
    assert ec2.run("ip", "route", "get", "8.8.8.8", check=False).returncode != 0


def test_a_spot_machine_runs_a_job_and_is_paid_for_until_it_is_taken_down(ec2: LocalEc2) -> None:
    ran = ec2.run("sky", "launch", "--yes", "--cluster", "alone", *SPOT_A10G, JOB)
    assert "I am ip-10-77-" in ran.stdout
    (machine,) = ec2.running()
    assert (machine.instance_type, machine.spot) == ("g5.xlarge", True)
    ec2.run("sky", "down", "--yes", "alone")
    assert ec2.running() == []
