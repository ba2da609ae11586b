"""Gives every running EC2 instance of moto a body, and takes it away again.

A body is a network namespace on the test network with the instance's private address, process,
mount and host name namespaces over an overlay of the image, and a real sshd; users, files and
commands come from the instance's user data, as from cloud-init. An instance that is terminated or
stopped in moto is killed at once, without notice: that is how a spot instance is lost.

Not emulated: the two-minute notice of a spot interruption, disks, firewalls, public addresses.

All instances see one folder as /shared, as they would an EFS.

usage: python -m tests.infra.aws.bodies NAMESPACE FOLDER ROOTFS SHARED
"""

import base64
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import boto3
import yaml
from botocore.exceptions import BotoCoreError, ClientError

from tests.infra.aws.network import enter, ip

HERE = Path(__file__).parent
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Bodies:
    """The instances that have a body now."""

    def __init__(self, namespace: str, folder: Path, rootfs: Path, shared: Path) -> None:
        self.namespace = namespace
        self.folder = folder
        self.rootfs = rootfs
        self.shared = shared
        self.ec2 = boto3.client("ec2")
        self.alive: dict[str, subprocess.Popen[bytes]] = {}

    def look(self) -> None:
        """Once over moto's instances: what runs has a body, what doesn't run has none."""
        pages = self.ec2.get_paginator("describe_instances").paginate()
        seen = {
            instance["InstanceId"]: instance
            for page in pages
            for reservation in page["Reservations"]
            for instance in reservation["Instances"]
        }
        running = {i for i, instance in seen.items() if instance["State"]["Name"] == "running"}
        for instance_id in running - self.alive.keys():
            self.boot(seen[instance_id])
        for instance_id in self.alive.keys() - running:
            self.kill(instance_id)
            state = seen.get(instance_id, {}).get("State", {}).get("Name", "gone")
            say(f"killed {instance_id}: {state}")

    def boot(self, instance: dict[str, Any]) -> None:
        """Start it; its disk is made on the first start and found again after a stop."""
        instance_id, address = instance["InstanceId"], instance["PrivateIpAddress"]
        disk = self.folder / instance_id
        if not disk.exists():
            self.make_disk(disk, instance_id)
        network, cable = self.names(instance_id)
        ip("netns", "add", network)
        ip(
            "-n",
            self.namespace,
            "link",
            "add",
            cable,
            "type",
            "veth",
            "peer",
            "name",
            "eth0",
            "netns",
            network,
        )
        ip("-n", self.namespace, "link", "set", cable, "master", "br0", "up")
        ip("-n", network, "address", "add", f"{address}/16", "dev", "eth0")
        ip("-n", network, "link", "set", "eth0", "up")
        ip("-n", network, "link", "set", "lo", "up")
        inside = ["ip", "netns", "exec", network]
        alone = ["unshare", "--mount", "--pid", "--uts", "--ipc", "--fork", "--kill-child"]
        host_name = "ip-" + address.replace(".", "-")
        folders = [str(disk), str(self.rootfs)]
        init = ["bash", str(HERE / "instance.sh"), *folders, host_name, str(self.shared)]
        with (disk / "console.log").open("a") as console:
            self.alive[instance_id] = subprocess.Popen(
                [*inside, *alone, *init],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                env={"PATH": PATH, "LANG": "C.UTF-8"},
                start_new_session=True,
            )
        say(f"booted {instance_id} {instance['InstanceType']} {address}")

    def make_disk(self, disk: Path, instance_id: str) -> None:
        """The overlay's own files: what the user data ask for."""
        for part in ("upper", "work", "root"):
            (disk / part).mkdir(parents=True)
        answer = self.ec2.describe_instance_attribute(InstanceId=instance_id, Attribute="userData")
        wanted = yaml.safe_load(base64.b64decode(answer["UserData"].get("Value", ""))) or {}
        for file in wanted.get("write_files", []):
            path = disk / "upper" / file["path"].lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(file["content"])
        for user in wanted.get("users", []):
            self.let_in(disk, user["name"], user["ssh_authorized_keys"])
        commands = "\n".join(map(str, wanted.get("runcmd", [])))
        (disk / "runcmd.sh").write_text(commands + "\n")

    def let_in(self, disk: Path, user: str, keys: list[str]) -> None:
        """Accept the keys for a user of the image."""
        users = [line.split(":") for line in (self.rootfs / "etc/passwd").read_text().splitlines()]
        uid, gid = next((int(fields[2]), int(fields[3])) for fields in users if fields[0] == user)
        home = disk / "upper/home" / user
        folder = home / ".ssh"
        folder.mkdir(parents=True, mode=0o700)
        (folder / "authorized_keys").write_text("\n".join(keys) + "\n")
        for path in (home, folder, folder / "authorized_keys"):
            shutil.chown(path, uid, gid)

    def kill(self, instance_id: str) -> None:
        """End it at once and unplug it; its disk stays."""
        body = self.alive.pop(instance_id)
        body.kill()
        body.wait()
        network, cable = self.names(instance_id)
        ip("-n", self.namespace, "link", "delete", cable)
        ip("netns", "delete", network)

    def names(self, instance_id: str) -> tuple[str, str]:
        """Its network namespace, and its end of the cable (15 characters at most)."""
        short = instance_id.removeprefix("i-")[:10]
        return f"{self.namespace}-{short}", f"v{short}"


def say(text: str) -> None:
    print(time.strftime("%H:%M:%S"), text, flush=True)


def main() -> None:
    namespace, *folders = sys.argv[1:]
    # Not through `ip netns exec`, which would hide the namespaces that are made here.
    enter(namespace)
    bodies = Bodies(namespace, *map(Path, folders))
    while True:
        try:
            bodies.look()
        except (BotoCoreError, ClientError) as problem:
            say(f"moto: {problem}")
        time.sleep(0.5)


if __name__ == "__main__":
    main()
