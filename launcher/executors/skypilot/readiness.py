"""Can SkyPilot be used? Told before anything starts, with the command that mends it.

The package's version is read from its metadata: where SkyPilot is not installed, `import sky` can
still succeed, as an empty namespace package made of a folder called `sky`.
"""

import re
from importlib.metadata import PackageNotFoundError, version

from launcher.errors import UsageError

OLDEST = (0, 14, 1)
NEWEST = (0, 15, 0)
"""From here on nobody has tried."""
INSTALL = "pip install 'protein-sky[sky]'"


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
    if parts >= NEWEST and not found.startswith("1.0.0.dev"):
        wanted = ".".join(map(str, NEWEST[:2]))
        raise UsageError(f"SkyPilot {found} is not older than {wanted}", hint=INSTALL)
    return found
