"""Can SkyPilot be used? Told before anything starts, with the command that mends it.

The package's version is read from its metadata: where SkyPilot is not installed, `import sky` can
still succeed, as an empty namespace package made of a folder called `sky`.
"""

import json
import os
import re
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from launcher.errors import UsageError

OLDEST = (0, 14, 1)
NEWEST = (0, 15, 0)
"""From here on nobody has tried."""
INSTALL = "pip install 'protein-sky[sky]'"
_COMMAND = re.compile(r"^\s*\$ (.+?)(?:\s+#.*)?$", re.MULTILINE)
_MORE = re.compile(r"\s*(?:Run the|Install:|Details:).*")


def installed_version() -> str | None:
    """Return SkyPilot's version; None where it is not installed."""
    try:
        return version("skypilot")
    except PackageNotFoundError:
        return None


def check_installed() -> str:
    """Return SkyPilot's version. Raises UsageError where there is none, or none that fits."""
    found = installed_version()
    if found is None:
        raise UsageError("SkyPilot is not installed", hint=INSTALL)
    parts = tuple(int(part) for part in re.findall(r"\d+", found.split("+")[0])[:3])
    if parts < OLDEST:
        wanted = ".".join(map(str, OLDEST))
        raise UsageError(f"SkyPilot {found} is older than {wanted}", hint=f"{INSTALL} --upgrade")
    if parts >= NEWEST:
        wanted = ".".join(map(str, NEWEST[:2]))
        raise UsageError(f"SkyPilot {found}: only versions before {wanted} are known", hint=INSTALL)
    _check_not_hidden()
    return found


def _check_not_hidden() -> None:
    """Raise UsageError where another `sky` would be imported: one of the folder where we are."""
    spec = find_spec("sky")
    origin = None if spec is None else spec.origin
    if origin is None or not (Path(origin).parent / "skylet").is_dir():
        places = spec.submodule_search_locations if spec is not None else None
        where = origin or next(iter(places or ()), "a folder")
        raise UsageError(
            f"`import sky` would find {where} in SkyPilot's place",
            hint="start protein-sky from another folder, or call that one something else",
        )


def enabled_clouds(environ: Mapping[str, str] = os.environ) -> list[str] | None:
    """Return the clouds that SkyPilot's last check on this machine found; None: it cannot be told.

    Read from its state without importing it. A team's API server has its own: see `team`.
    """
    home = Path(environ.get("SKY_RUNTIME_DIR") or environ.get("HOME") or "~").expanduser()
    state = home / ".sky" / "state.db"
    if not state.is_file():
        return []
    query = "SELECT value FROM config WHERE key LIKE 'enabled\\_clouds\\_%compute%' ESCAPE '\\'"
    try:
        with closing(sqlite3.connect(f"{state.as_uri()}?mode=ro", uri=True)) as database:
            rows = database.execute(query).fetchall()
        return sorted({str(cloud).lower() for (row,) in rows for cloud in json.loads(row)})
    except (sqlite3.Error, ValueError, TypeError):
        return None


def why_not(cloud: str) -> UsageError:
    """Return why SkyPilot may not use a cloud, by asking for its credentials now.

    This imports SkyPilot, and goes to the cloud.
    """
    from sky import exceptions
    from sky.clouds import CloudCapability
    from sky.utils import registry

    try:
        found = registry.CLOUD_REGISTRY.from_str(cloud)
        reason = None if found is None else found.check_credentials(CloudCapability.COMPUTE)[1]
    except (ValueError, exceptions.NotSupportedError) as error:
        reason = str(error)
    if isinstance(reason, Mapping):  # by Kubernetes context
        reason = "\n".join(f"{name}: {said}" for name, said in reason.items())
    return not_enabled(cloud, reason or "")


def not_enabled(cloud: str, reason: str) -> UsageError:
    """Return what to tell and what to do, from SkyPilot's own words."""
    line = next((line for line in map(str.strip, reason.splitlines()) if line), "")
    first = _MORE.sub("", line).rstrip(" .:")[:200]
    commands = [command.strip() for command in _COMMAND.findall(reason)][:2]
    return UsageError(
        f"SkyPilot may not use {cloud} yet" + (f": {first}" if first else ""),
        hint="; ".join([*commands, f"sky check {cloud}"]),
    )
