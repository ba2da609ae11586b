"""`python -m tests.infra.slurm`: bring the site up, say how to use it, and wait for Enter."""

import shlex
import signal
import sys

from tests.infra.slurm.site import slurm_site

NAMES = (
    "HOME",
    "PATH",
    "SKYPILOT_API_SERVER_LOCAL_PORT",
    "SKYPILOT_DISABLE_LOCAL_API_SERVER",
    "SKYPILOT_DISABLE_USAGE_COLLECTION",
    "SLURM_CONF",
    "TMPDIR",
)

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with slurm_site() as site:
        for name in NAMES:
            print(f"export {name}={shlex.quote(site.env[name])}")
        print("unset PYTHONDONTWRITEBYTECODE", flush=True)
        sys.stdin.read(1)
