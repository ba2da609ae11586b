"""moto's server, where machines can be sold out: EC2 has the type, but none is free in a zone.

usage: python -m tests.infra.aws.short_of FILE HOST PORT

FILE has a line for each type and zone that is sold out, `g5.xlarge us-east-1a`. It is read at each
launch, and each refusal is appended to FILE.refused in the same form.
"""

import sys
from pathlib import Path
from typing import Any

from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models.instances import InstanceBackend
from moto.server import main

launch = InstanceBackend.run_instances


def install(sold_out: Path) -> None:
    """Let launches look into the file first."""

    def run_instances(self: Any, *positional: Any, **options: Any) -> Any:
        (card,) = options["nics"]  # as SkyPilot asks: one network card, in a subnet of the zone
        zone = self.get_subnet(card["SubnetId"]).availability_zone
        wanted = f"{options['instance_type']} {zone}"
        if sold_out.exists() and wanted in sold_out.read_text().splitlines():
            with sold_out.with_suffix(".refused").open("a") as refused:
                refused.write(wanted + "\n")
            raise EC2ClientError(
                "InsufficientInstanceCapacity",
                f"There is no {options['instance_type']} free in {zone} now.",
            )
        return launch(self, *positional, **options)

    InstanceBackend.run_instances = run_instances


if __name__ == "__main__":
    file, host, port = sys.argv[1:]
    install(Path(file))
    main(["--host", host, "--port", port])
