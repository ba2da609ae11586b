"""A Slurm cluster of two nodes and a private SkyPilot API server on this machine.

Real: munge, slurmctld, one slurmd per node, sshd as the login node, SkyPilot's server, client and
what it runs on the nodes. Nodes are namespaces with host names, scratch folders and processes of
their own; killing one is losing a machine. Everything else stands in one folder and one process
namespace, whose first process dies with the process that made it: nothing can stay behind.

Nothing is fetched from the internet but Debian packages. Where SkyPilot would fetch (uv, a Python,
its own wheels, a catalogue of accelerators, an answer of 8.8.8.8), patches and `files/` stand in.
"""

import base64
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import sysconfig
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

from tests.launcher.waiting import eventually

FILES = Path(__file__).parent / "files"
PACKAGES = ("munge", "slurmctld", "slurmd", "slurm-client", "openssh-server", "openssl", "rsync")
NODES = ("sn1", "sn2")
TEAM_HOST = "127.0.0.21"
"""Not one of the addresses at which SkyPilot's clients know a server of their own machine."""
ACCOUNT, UID = "researcher", 64_321
NOT_INHERITED = ("SKYPILOT_", "PYTHONDONTWRITEBYTECODE", "WANDB_", "PROTEIN_", "SLURM_")

NEEDED_PATCHES = (
    # Clusters that start together on one node race for a port; the losers' skylet crashes for ever.
    (
        "skylet/attempt_skylet.py",
        "find_free_port(constants.SKYLET_GRPC_PORT)",
        "find_free_port(constants.SKYLET_GRPC_PORT + __import__('random').randrange(15000))",
    ),
    # Managed jobs are looked at only while the internet answers.
    (
        "backends/backend_utils.py",
        "['https://8.8.8.8', 'https://1.1.1.1']",
        "['http://127.0.0.1:@API_PORT@/api/health']",
    ),
    (
        "skylet/constants.py",
        "curl -LsSf https://astral.sh/uv/install.sh",
        "cat @ROOT@/etc/uv_install.sh",
    ),
    # So many processes as a server has are not for two cores.
    (
        "utils/controller_utils.py",
        "def get_number_of_jobs_controllers() -> int:\n    return min(",
        "def get_number_of_jobs_controllers() -> int:\n    return 1 or min(",
    ),
)

QUICK_PATCHES = (
    *NEEDED_PATCHES,
    # Production's intervals are not a test's.
    ("jobs/utils.py", "JOB_STATUS_CHECK_GAP_SECONDS = 15", "JOB_STATUS_CHECK_GAP_SECONDS = 3"),
    (
        "jobs/utils.py",
        "JOB_STARTED_STATUS_CHECK_GAP_SECONDS = 5",
        "JOB_STARTED_STATUS_CHECK_GAP_SECONDS = 1",
    ),
)

Patches = Sequence[tuple[str, str, str]]

CATALOGUE = {  # SkyPilot fetches these only where they are missing
    "accelerators.csv": 'AcceleratorName,Clouds\nH100,"[Slurm]"\n',
    "metadata.csv": "GPU,MemoryGB,Manufacturer\nH100,80,NVIDIA\n",
}


@dataclass(frozen=True)
class SlurmJob:
    """One line of squeue."""

    number: int
    name: str
    state: str
    nodes: str


@dataclass(frozen=True)
class Slurm:
    """The running site.

    home: what HOME is for SkyPilot's clients; env: the environment in which they run; shared: a
    folder that all nodes see and may write; python: the tests' interpreter, which runs there too.
    """

    root: Path
    process: "subprocess.Popen[bytes]"
    env: Mapping[str, str]
    api_port: int
    password: str

    @property
    def home(self) -> Path:
        return self.root / "home"

    @property
    def shared(self) -> Path:
        return self.root / "shared"

    @property
    def python(self) -> Path:
        return Path(sys.prefix) / "bin" / "python"

    def run(self, *command: str | Path, timeout: float = 300) -> str:
        """What the command prints, run as a user of this cluster would."""
        done = subprocess.run(
            [*map(str, command)],
            env=self.env,
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        assert done.returncode == 0, (
            f"{command} exits {done.returncode}:\n{done.stdout}{done.stderr}"
        )
        return done.stdout

    def sdk(self, program: str, *args: str, timeout: float = 300) -> str:
        """What a program prints that begins with `import sky`, run in a process of its own."""
        return self.run(
            self.python, "-c", f"import json, sys, sky\n{program}", *args, timeout=timeout
        )

    def squeue(self) -> tuple[SlurmJob, ...]:
        """What is waiting, running or ending."""
        lines = self.run("squeue", "--noheader", "--format=%i|%j|%T|%N").splitlines()
        fields = (line.split("|") for line in lines)
        return tuple(SlurmJob(int(i), name, state, nodes) for i, name, state, nodes in fields)

    def node_states(self) -> dict[str, str]:
        lines = self.run("sinfo", "--noheader", "--Node", "--format=%N %t").splitlines()
        return dict(line.split() for line in lines)

    def scancel(self, number: int) -> None:
        self.run("scancel", str(number))

    def kill_node(self, name: str) -> None:
        """SIGKILL to all processes of a node; Slurm finds out after `SlurmdTimeout`."""
        self._inside("node.sh", "kill", name)

    def start_node(self, name: str) -> None:
        """Bring a killed node back, and wait until Slurm gives it work again."""
        eventually(lambda: "down" in self.node_states()[name], seconds=120)
        self._inside("node.sh", "up", name)
        self._until_nodes_are_up()

    def restart_api_server(self) -> None:
        """SIGKILL to SkyPilot's API server, and a new one on the same database and port."""
        self._inside("api_server.sh", "kill")
        self._inside("api_server.sh", "up")
        self._until_server_answers()

    def member(self) -> "Slurm":
        """The site for one of a team: all that he has is the server's address and a token."""
        home = Path(tempfile.mkdtemp(prefix="member-", dir=self.root / "home"))
        env = {
            **_without(self.env, "SKYPILOT_API_SERVER", "SKYPILOT_DISABLE_LOCAL"),
            "HOME": str(home),
            "SKYPILOT_API_SERVER_ENDPOINT": f"http://{TEAM_HOST}:{self.api_port}",
            "SKYPILOT_SERVICE_ACCOUNT_TOKEN": self._new_token(home.name),
        }
        return replace(self, env=env)

    def _new_token(self, name: str) -> str:
        """What the server's administrator gives to somebody, who then is this to the server."""
        login = base64.b64encode(f"admin:{self.password}".encode()).decode()
        headers = {
            "Authorization": f"Basic {login}",
            "Content-Type": "application/json",
            "X-Forwarded-For": TEAM_HOST,  # whoever comes from loopback would be nobody
        }
        asked = urllib.request.Request(
            f"http://127.0.0.1:{self.api_port}/users/service-account-tokens",
            data=json.dumps({"token_name": name}).encode(),
            headers=headers,
        )
        with urllib.request.urlopen(asked, timeout=60) as answer:
            return str(json.load(answer)["token"])

    def logs(self) -> str:
        """The last lines of all logs."""
        paths = sorted((self.root / "log").iterdir())
        return "\n".join(f"== {p.name}\n{_tail(p)}" for p in paths)

    def run_inside(self, folder: Path, *command: str) -> str:
        """What the command prints in the site: ssh looks for its settings where passwd says."""
        cd = ["bash", "-c", 'cd "$0" && exec "$@"', str(folder)]
        return self.run(*self._entrance(), *cd, *command)

    def _inside(self, script: str, *args: str) -> None:
        command = [*self._entrance(), str(self.root / "etc" / script), *args]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)

    def _entrance(self) -> list[str]:
        site = Path(f"/proc/{self.process.pid}/ns")
        inner = f"--pid={site / 'pid_for_children'}"
        return ["nsenter", f"--mount={site / 'mnt'}", inner, f"--uts={site / 'uts'}"]

    def _until_nodes_are_up(self) -> None:
        def up() -> bool:
            assert self.process.poll() is None, f"the site has ended:\n{self.logs()}"
            looked = subprocess.run(
                ["sinfo", "--noheader", "--Node", "--format=%t"],
                env=self.env,
                capture_output=True,
                text=True,
            )
            return looked.stdout.split() in [[a, b] for a in UP for b in UP]

        eventually(up, seconds=120)

    def _until_server_answers(self) -> None:
        def healthy() -> bool:
            assert self.process.poll() is None, f"the site has ended:\n{self.logs()}"
            try:
                url = f"http://127.0.0.1:{self.api_port}/api/health"
                with urllib.request.urlopen(url, timeout=10) as answer:
                    return bool(answer.status == 200)
            except (urllib.error.URLError, OSError):
                return False

        eventually(healthy, seconds=300)


UP = ("idle", "mix", "alloc")


@contextmanager
def slurm_site(patches: Patches = QUICK_PATCHES) -> Iterator[Slurm]:
    """Bring the site up, and take it away in any case."""
    _install_packages()
    root = Path(tempfile.mkdtemp(prefix="protein-sky-slurm-"))
    folder = undertaker(root)
    process: subprocess.Popen[bytes] | None = None
    try:
        password = secrets.token_urlsafe()
        api_port = _lay_out(root, patches, password)
        env = _environment(root, api_port)
        command = ["setpriv", "--pdeathsig", "KILL", *UNSHARE, str(root / "etc" / "site.sh")]
        with (root / "log" / "site.log").open("wb") as log:
            process = subprocess.Popen(
                command, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        slurm = Slurm(root, process, env, api_port, password)
        slurm._until_nodes_are_up()
        slurm._until_server_answers()
        yield slurm
    finally:
        if process is not None:
            process.kill()
            process.wait()
        folder.communicate()
        assert not root.exists(), f"{root} cannot be removed"


def undertaker(folder: Path) -> "subprocess.Popen[bytes]":
    """A process that removes a folder when its input is closed, so also when this one is killed.

    What dies with the site may still write there for a moment.
    """
    bury = 'cat; for _ in {1..300}; do rm -rf -- "$0" && break; sleep 0.2; done'
    command = ["bash", "-c", bury, str(folder)]
    quiet = subprocess.DEVNULL
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=quiet, stderr=quiet, start_new_session=True
    )


UNSHARE = (
    *("unshare", "--mount", "--uts", "--pid", "--fork"),
    *("--mount-proc", "--kill-child=SIGKILL"),
)


def why_not() -> str | None:
    """Why no site can stand here, or None."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "needs root on Linux"
    if shutil.which("apt-get") is None:
        return "needs Debian's packages"
    tried = subprocess.run([*UNSHARE, "true"], capture_output=True, text=True)
    return f"needs namespaces: {tried.stderr.strip()}" if tried.returncode else None


def _install_packages() -> None:
    look = ["dpkg-query", "--show", "--showformat=${Package} ${Status}\n", *PACKAGES]
    found = subprocess.run(look, capture_output=True, text=True).stdout.splitlines()
    missing = set(PACKAGES) - {line.split()[0] for line in found if "ok installed" in line}
    if missing:
        env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        apt = ["apt-get", "-qq", "-o", "DPkg::Lock::Timeout=600"]
        subprocess.run([*apt, "update"], env=env, check=True)
        install = [*apt, "install", "-y", "--no-install-recommends", *sorted(missing)]
        subprocess.run(install, env=env, check=True, stdout=subprocess.DEVNULL)


def _lay_out(root: Path, patches: Patches, password: str) -> int:
    """Write all that the site reads; the port of the API server."""
    root.chmod(0o755)
    for folder in (
        "etc",
        "log",
        "state",
        "spool",
        "nodes",
        "node",
        "dev",
        "tmp",
        "account",
        "shared",
    ):
        (root / folder).mkdir(mode=0o755)
    for folder in ("munge", "ssh"):
        (root / folder).mkdir(mode=0o755)
    ports = _free_ports("CTLD_PORT", "SN1_PORT", "SN2_PORT", "SSH_PORT", "API_PORT")
    known = {
        **ports,
        "ROOT": str(root),
        "ACCOUNT": ACCOUNT,
        "UID": str(UID),
        "VENV": sys.prefix,
        "PYTHON_HOME": sys.base_prefix,
        "SITE_PACKAGES": sysconfig.get_path("purelib"),
        "PASSWORD_HASH": _hashed(password),
    }
    _patch_skypilot(root / "sky", patches, known)
    for file in FILES.iterdir():
        _write(root / "etc" / file.name, _filled(file.read_text(), known))
    _write(root / "home" / ".slurm" / "config", (root / "etc" / "login").read_text())
    _write(root / "home" / ".sky" / "config.yaml", (root / "etc" / "sky_config.yaml").read_text())
    for name, text in CATALOGUE.items():
        _write(root / "home" / ".sky" / "catalogs" / "v8" / "common" / name, text)
    # SkyPilot packs itself for the nodes, with pip, unless it finds a package newer than its code.
    _write(
        root / "home" / ".sky" / "wheels" / "none" / f"skypilot-{version('skypilot')}-any.whl", ""
    )
    for number in range(8):
        (root / "dev" / f"gpu{number}").touch()
    (root / "munge" / "key").write_bytes(os.urandom(128))
    (root / "munge" / "key").chmod(0o600)
    for key in ("host", "id"):
        make = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(root / "ssh" / key)]
        subprocess.run(make, check=True)
    shutil.copy(root / "ssh" / "id.pub", root / "ssh" / "authorized_keys")
    return int(ports["API_PORT"])


def _patch_skypilot(copy: Path, patches: Patches, known: Mapping[str, str]) -> None:
    shutil.copytree(Path(sysconfig.get_path("purelib")) / "sky", copy)
    for name, old, new in patches:
        path = copy / name
        text = path.read_text()
        assert text.count(old) == 1, f"SkyPilot has changed: {old!r} is not once in {name}"
        path.write_text(text.replace(old, _filled(new, known)))
    changed = sorted({str(copy / name) for name, _, _ in patches})
    compiled = [sys.executable, "-m", "compileall", "-q", *changed]
    subprocess.run(compiled, check=True, env=_without(os.environ, "PYTHON"))


def _hashed(password: str) -> str:
    """The form in which SkyPilot's server takes it."""
    command = ["openssl", "passwd", "-5", "-stdin"]
    done = subprocess.run(command, input=password, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def _environment(root: Path, api_port: int) -> dict[str, str]:
    return {
        **_without(os.environ, *NOT_INHERITED),
        "HOME": str(root / "home"),
        "PATH": f"{sys.prefix}/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
        "PYTHONUNBUFFERED": "1",
        "SKYPILOT_API_SERVER_LOCAL_PORT": str(api_port),
        "SKYPILOT_DISABLE_USAGE_COLLECTION": "1",
        "SKYPILOT_DISABLE_LOCAL_API_SERVER": "1",  # a client would start one, outside
        "SLURM_CONF": str(root / "etc" / "slurm.conf"),
        "TMPDIR": str(root / "tmp"),
    }


def _without(env: Mapping[str, str], *prefixes: str) -> dict[str, str]:
    return {name: value for name, value in env.items() if not name.startswith(prefixes)}


def _filled(text: str, known: Mapping[str, str]) -> str:
    for name, value in known.items():
        text = text.replace(f"@{name}@", value)
    return text


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755 if text.startswith("#!") else 0o644)


def _free_ports(*names: str) -> dict[str, str]:
    sockets: Sequence[socket.socket] = [socket.create_server(("127.0.0.1", 0)) for _ in names]
    ports = {name: str(s.getsockname()[1]) for name, s in zip(names, sockets, strict=True)}
    for s in sockets:
        s.close()
    return ports


def _tail(path: Path, lines: int = 30) -> str:
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
