"""The machine image of the local EC2: a Debian root with what SkyPilot's own AMI carries.

An instance has no way out, so everything that SkyPilot would install on it is there: uv, its
runtime (~/skypilot-runtime with ray) and the user's environment (~/sky-user-env). Built once with
debootstrap and kept under a name made of all that goes into it.
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

PACKAGES = (
    "ca-certificates,curl,git,iproute2,lsof,netcat-openbsd,openssh-server,patch,procps,psmisc,"
    "python3,python3-venv,rsync,sudo"
)
TOOLS = ("debootstrap", "iproute2", "openssh-client", "rsync", "curl")
USER = "ubuntu"  # the account that SkyPilot logs in as on AWS
API = "http://10.77.0.1:5999"

SSHD = f"""\
UsePAM no
PasswordAuthentication no
UseDNS no
SetEnv UV_OFFLINE=1 AWS_ENDPOINT_URL={API} AWS_EC2_METADATA_SERVICE_ENDPOINT={API}
"""

AWS_CONFIG = f"""\
[default]
region = us-east-1
endpoint_url = {API}
"""

# What SkyPilot 0.14.1 would install on a bare machine (sky/skylet/constants.py). It asks for
# Python 3.10 and takes a ~/skypilot-runtime that is already there as it is.
RUNTIME = """
set -eu
cd ~
uv=~/.local/bin/uv
$uv venv -q --seed --python /usr/bin/python3 skypilot-runtime
VIRTUAL_ENV=~/skypilot-runtime $uv pip install -q --compile-bytecode \
    'setuptools<70' 'click<8.3.0' 'ray[default]==2.9.3' 'pydantic-core==2.41.1' \
    "$(echo /wheels/*/skypilot-*.whl)[aws,remote]"
$uv venv -q --seed --relocatable --system-site-packages --python /usr/bin/python3 sky-user-env
mkdir -p .sky/wheels
basename /wheels/* > .sky/wheels/current_sky_wheel_hash
$uv cache clean -q
"""


def build(cache: Path) -> Path:
    """The folder with `rootfs` and `wheels`: the cached one, or made now (minutes, network)."""
    cache.mkdir(parents=True, exist_ok=True)
    image = cache / f"ec2-image-{_name()}"
    with _locked(cache / "ec2-image.lock"):
        if not image.exists():
            _install_tools()
            unfinished = cache / "ec2-image-unfinished"
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir()
            _skypilot_wheel(unfinished / "wheels")
            _rootfs(unfinished)
            unfinished.rename(image)
    return image


def _name() -> str:
    parts = (Path(__file__).read_text(), version("skypilot"), version("uv"), sys.version)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _install_tools() -> None:
    if all(_installed(package) for package in TOOLS):
        return
    apt = ["apt-get", "-qq", "-o", "DPkg::Lock::Timeout=600"]
    quiet = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    _do([*apt, "update"], env=quiet)
    _do([*apt, "install", "--yes", "--no-install-recommends", *TOOLS], env=quiet)


def _installed(package: str) -> bool:
    query = ["dpkg-query", "--show", "--showformat=${Status}", package]
    return "ok installed" in subprocess.run(query, capture_output=True, text=True).stdout


def _skypilot_wheel(wheels: Path) -> None:
    """SkyPilot packs itself for its machines with pip, which needs setuptools from the network.

    Its own byte code comes first: a folder that changes later would make the wheel look old.
    """
    home = wheels.parent / "home"
    environment = os.environ | {"HOME": str(home), "SKYPILOT_DISABLE_USAGE_COLLECTION": "1"}
    pack = (
        "import compileall, pathlib, sky; from sky.backends import wheel_utils\n"
        "compileall.compile_dir(pathlib.Path(sky.__file__).parent, quiet=2)\n"
        "wheel_utils.build_sky_wheel()"
    )
    home.mkdir()
    _do([sys.executable, "-c", pack], env=environment)
    (home / ".sky/wheels").rename(wheels)
    shutil.rmtree(home)


def _rootfs(image: Path) -> None:
    root = image / "rootfs"
    release, mirror = _release_and_mirror()
    include = f"--include={PACKAGES}"
    _do(["debootstrap", "--variant=minbase", include, release, str(root), mirror])
    _write(root / "etc/ssh/sshd_config.d/local.conf", SSHD)
    _write(root / f"etc/sudoers.d/{USER}", f"{USER} ALL=(ALL) NOPASSWD:ALL\n")
    _write(root / "etc/uv/uv.toml", "offline = true\n")
    # A locked account (no password at all) may not log in, not even with its key.
    _chroot(root, "useradd", "--create-home", "--shell", "/bin/bash", "--password", "*", USER)
    _chroot(root, "ssh-keygen", "-A")
    home = root / "home" / USER
    _write(home / ".aws/config", AWS_CONFIG)
    _write(home / ".local/bin/uv", "")
    import uv

    shutil.copy2(uv.find_uv_bin(), home / ".local/bin/uv")
    _chroot(root, "chown", "--recursive", f"{USER}:", f"/home/{USER}")
    _install_runtime(root, image / "wheels")


def _install_runtime(root: Path, wheels: Path) -> None:
    """As the user, with the resolver and the certificates of this machine."""
    shutil.copytree(wheels, root / "wheels")
    borrowed = [root / "etc/resolv.conf", root / "etc/ssl/certs/ca-certificates.crt"]
    for file in borrowed:
        shutil.copy2("/" / file.relative_to(root), file)
    home = f"/home/{USER}"
    environment = os.environ | {"HOME": home, "UV_LINK_MODE": "copy", "UV_OFFLINE": "0"}
    (root / "etc/uv/uv.toml").rename(root / "etc/uv/uv.toml.later")
    inside = ["chroot", f"--userspec={USER}:{USER}", str(root), "bash", "-c", RUNTIME]
    _do(["unshare", "--mount", f"--mount-proc={root}/proc", *inside], env=environment)
    (root / "etc/uv/uv.toml.later").rename(root / "etc/uv/uv.toml")
    (root / "etc/resolv.conf").write_text("")
    shutil.rmtree(root / "wheels")


def _release_and_mirror() -> tuple[str, str]:
    """This machine's Debian release, and the mirror that its apt uses."""
    fields = "$(CODENAME) $(REPO_URI)"
    only = ["Created-By: Packages", "Origin: Debian", "Label: Debian", "Component: main"]
    listing = _do(["apt-get", "indextargets", "--format", fields, *only]).splitlines()
    found = [line.split() for line in listing if "-" not in line.split()[0]]
    assert found, "apt here knows no Debian mirror: the image is made with debootstrap on Debian"
    release, mirror = found[0]
    return release, mirror


def _chroot(root: Path, *command: str) -> None:
    _do(["chroot", str(root), *command])


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _do(command: list[str], env: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        command, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{command[0]}:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done.stdout


if __name__ == "__main__":
    print(build(Path(sys.argv[1])))
