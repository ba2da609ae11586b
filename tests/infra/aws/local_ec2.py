"""An EC2 of our own: SkyPilot's unmodified AWS path against moto, in a network without a way out.

In one network namespace: moto (the AWS API), bodies.py (gives instances a body), SkyPilot's API
server and the client's commands. Each instance is a namespace beside it, on the same bridge.

Moto is the machines' metadata service too: SkyPilot's agent there gets a role's credentials from it
before it ends its own machine. Not covered: which role may do what, the notice before a spot
interruption, and the creation of SkyPilot's role, for which moto lacks AWS's own policies.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from tests.infra.aws import account, network
from tests.infra.aws.network import ip
from tests.launcher.waiting import eventually

T = TypeVar("T")

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[2]
PREFIX = "sky-ec2-"


@dataclass(frozen=True, slots=True)
class Instance:
    """What moto says about an instance; `state` is EC2's word. Without an address: no name."""

    instance_id: str
    state: str
    instance_type: str
    spot: bool
    host_name: str | None


class LocalEc2:
    """Starts on entry; on exit, failed or not, no process, namespace or mount is left."""

    def __init__(self, folder: Path, machine_image: Path) -> None:
        self.folder = folder
        self.machine_image = machine_image
        self.namespace = f"{PREFIX}{os.getpid()}"
        self.home = folder / "home"
        self.shared = folder / "shared"  # every instance sees it as /shared
        self._started: list[subprocess.Popen[bytes]] = []
        self._aws: list[subprocess.Popen[bytes]] = []
        self._sold_out = folder / "sold_out"
        self._inside = ThreadPoolExecutor(1, initializer=network.enter, initargs=(self.namespace,))

    @property
    def env(self) -> dict[str, str]:
        """The client's whole environment: nothing of the caller's comes through."""
        system = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        return {
            "HOME": str(self.home),
            "PATH": f"{sys.prefix}/bin:{system}",
            "USER": "root",
            "LOGNAME": "root",
            "LANG": "C.UTF-8",
            "PYTHONPATH": str(HERE / "plugin"),
            "AWS_EC2_METADATA_DISABLED": "true",
            "SKYPILOT_API_SERVER_LOCAL_PORT": str(account.API_SERVER_PORT),
            "SKYPILOT_DISABLE_USAGE_COLLECTION": "1",
            "SKYPILOT_POD_MEMORY_GB_LIMIT": "8",  # it starts processes by the memory it sees
            "SKYPILOT_USER": "tester",
            "SKYPILOT_USER_ID": self._user_id,
        }

    def run(
        self, *command: str, seconds: float = 600, check: bool = True, cwd: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """A command as the client; output is text, and a failure (if checked) shows it."""
        done = subprocess.run(
            self._as_client(*command),
            env=self.env,
            cwd=cwd or self.home,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
        )
        assert not check or done.returncode == 0, f"{command}:\n{done.stdout}\n{done.stderr}"
        return done

    def start(self, *command: str, log: str, cwd: Path | None = None) -> subprocess.Popen[bytes]:
        """A command as the client that goes on by itself; it writes into `folder / log`."""
        return self._start(self._as_client(*command), log, cwd or self.home)

    def instances(self) -> list[Instance]:
        """All that moto has seen, the terminated ones too."""
        pages = self._call(
            lambda: list(account.client("ec2").get_paginator("describe_instances").paginate())
        )
        return [
            Instance(
                instance_id=seen["InstanceId"],
                state=seen["State"]["Name"],
                instance_type=seen["InstanceType"],
                spot=seen.get("InstanceLifecycle") == "spot",
                host_name=host_name_of(seen.get("PrivateIpAddress")),
            )
            for page in pages
            for reservation in page["Reservations"]
            for seen in reservation["Instances"]
        ]

    def running(self) -> list[Instance]:
        """Those that cost money."""
        paid = {"pending", "running"}
        return [instance for instance in self.instances() if instance.state in paid]

    def on(self, host_name: str) -> Instance:
        """The instance that runs there."""
        (found,) = (instance for instance in self.running() if instance.host_name == host_name)
        return found

    def terminate(self, instance_id: str) -> None:
        """As AWS takes a spot instance back, but without notice."""
        self._call(lambda: account.client("ec2").terminate_instances(InstanceIds=[instance_id]))

    def sell_out(self, instance_type: str) -> None:
        """From now on no zone has one that is free."""
        with self._sold_out.open("a") as file:
            file.writelines(f"{instance_type} {zone}\n" for zone in self._call(_zones))

    def refused(self) -> list[str]:
        """The types of the launches that found none free."""
        path = self._sold_out.with_suffix(".refused")
        return [line.split()[0] for line in path.read_text().splitlines()] if path.exists() else []

    def kill_clients(self) -> None:
        """SIGKILL to all that is not AWS's: coordinators, SkyPilot's server and its children."""
        aws = frozenset(process.pid for process in self._aws)
        network.end_all(self.namespace, but=aws)

    def start_api_server(self) -> None:
        """SkyPilot's own server, which answers the client's commands."""
        self.run("sky", "api", "start")

    def __enter__(self) -> Self:
        remove_abandoned()
        try:
            self._up()
        except BaseException:
            self.down()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        self.down()

    def down(self) -> None:
        """End all that was started here, and all that it started, by where it runs."""
        self._inside.shutdown()
        for namespace in network.family(self.namespace):
            network.remove(namespace)
        for process in self._started:
            process.kill()
            process.wait()
        shutil.rmtree(f"/tmp/sky_ssh_{self._user_id}", ignore_errors=True)
        shutil.rmtree(self.folder / "instances", ignore_errors=True)

    def _up(self) -> None:
        wheels, images = self.machine_image / "wheels", self.folder / "images.json"
        account.write_home(self.home, wheels, images)
        ip("netns", "add", self.namespace)
        ip("-n", self.namespace, "link", "set", "lo", "up")
        ip("-n", self.namespace, "link", "add", "br0", "type", "bridge")
        ip("-n", self.namespace, "address", "add", f"{account.HOST}/16", "dev", "br0")
        ip("-n", self.namespace, "link", "set", "br0", "up")
        self._aws = [self._start_moto(images), self._start_bodies()]
        self.start_api_server()

    def _start_moto(self, images: Path) -> subprocess.Popen[bytes]:
        settings = (
            "MOTO_IAM_LOAD_MANAGED_POLICIES=true",
            "MOTO_EC2_ENABLE_INSTANCE_TYPE_VALIDATION=true",
            "MOTO_ENABLE_AMI_VALIDATION=true",
            f"MOTO_AMIS_PATH={images}",
        )
        program = ("env", *settings, sys.executable, "-m", "tests.infra.aws.short_of")
        command = self._as_client(*program, str(self._sold_out), account.HOST, account.PORT)
        moto = self._start(command, "moto.log", REPOSITORY)
        eventually(lambda: moto.poll() is not None or self._call(_moto_answers), seconds=120)
        assert moto.poll() is None, (self.folder / "moto.log").read_text()
        self._call(lambda: account.seed(self.home))
        return moto

    def _start_bodies(self) -> subprocess.Popen[bytes]:
        """Not as the client: the namespaces that it makes must be seen outside."""
        place = self.folder / "instances"
        place.mkdir()
        self.shared.mkdir()
        self.shared.chmod(0o777)
        folders = [place, self.machine_image / "rootfs", self.shared]
        arguments = [self.namespace, *map(str, folders)]
        program = [sys.executable, "-m", "tests.infra.aws.bodies"]
        return self._start([*program, *arguments], "bodies.log", REPOSITORY)

    def _start(self, command: list[str], log: str, cwd: Path) -> subprocess.Popen[bytes]:
        with (self.folder / log).open("ab") as file:
            started = subprocess.Popen(
                command,
                env=self.env,
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        self._started.append(started)
        return started

    @property
    def _user_id(self) -> str:
        """Of SkyPilot: it names its ssh connections in /tmp by it."""
        return hashlib.sha256(str(self.folder).encode()).hexdigest()[:8]

    def _as_client(self, *command: str) -> list[str]:
        return ["ip", "netns", "exec", self.namespace, *command]

    def _call(self, work: Callable[[], T]) -> T:
        """In the thread that is inside."""
        return self._inside.submit(work).result()


def host_name_of(address: str | None) -> str | None:
    """As EC2 derives it."""
    return None if address is None else "ip-" + address.replace(".", "-")


def _zones() -> list[str]:
    answer = account.client("ec2").describe_availability_zones()
    return [zone["ZoneName"] for zone in answer["AvailabilityZones"]]


def _moto_answers() -> bool:
    try:
        with urllib.request.urlopen(f"{account.ENDPOINT}/moto-api/", timeout=10) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def remove_abandoned() -> None:
    """What an earlier run left that was killed."""
    for namespace in network.named(PREFIX):
        owner = namespace.removeprefix(PREFIX).partition("-")[0]
        if not Path(f"/proc/{owner}").exists():
            network.remove(namespace)
