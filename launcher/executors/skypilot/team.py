"""A team's API server: whether it answers, lets us in and may use what a sweep asks for.

Credentials, login nodes and contexts are its, and not of this machine: it is asked.
"""

import contextlib
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from launcher import trainlog
from launcher.errors import ExecutorError, UsageError

ENDPOINT = "SKYPILOT_API_SERVER_ENDPOINT"
TOKEN = "SKYPILOT_SERVICE_ACCOUNT_TOKEN"  # noqa: S105  a variable's name
_PASSWORD = re.compile(r"(?<=//)[^/@\s]+@")


def endpoint(environ: Mapping[str, str] = os.environ) -> str | None:
    """Return the address of the team's server without a password in it; None: there is none.

    `sky api login` writes it into SkyPilot's settings.
    """
    settings = Path(environ.get("HOME") or "~").expanduser() / ".sky" / "config.yaml"
    found = environ.get(ENDPOINT)
    if not found:
        with contextlib.suppress(OSError, yaml.YAMLError, AttributeError):
            told = yaml.safe_load(settings.read_text(encoding="utf-8"))
            found = (told.get("api_server") or {}).get("endpoint")
    return without_password(str(found)) if found else None


def without_password(text: str) -> str:
    """Return a text without what stands before the host in its addresses."""
    return _PASSWORD.sub("", text)


def is_remote() -> bool:
    """Whether SkyPilot's API server is on another machine: the team's."""
    if os.environ.get(ENDPOINT):
        return True
    from sky.server import common

    return not common.is_api_server_local()


def clouds() -> list[str]:
    """Return what the team's server may use, such as `aws` and `slurm/cluster`.

    Raises UsageError where it lets nobody in, ExecutorError where it does not answer.
    """
    with _told():
        import sky
        from sky.client import sdk

        return sorted(str(cloud).lower() for cloud in sky.get(sdk.enabled_clouds(expand=True)))


def check(dag: Any) -> None:
    """Ask the team's server whether it could launch this.

    Raises SkyPilot's own error where it could not, else what `clouds` does.
    """
    with _told():
        import sky

        sky.get(sky.optimize(dag))


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """Say what is wrong between us and the server, and what mends it."""
    import requests
    from sky import exceptions
    from sky.server.common import get_server_url

    where = f"SkyPilot's API server at {without_password(get_server_url())}"
    refused = UsageError(
        f"{where} does not let you in" + ("" if os.environ.get(TOKEN) else f": {TOKEN} is not set"),
        hint=f"a token that it has made and that has not expired, as {TOKEN}; or `sky api login`",
    )
    nobody = ExecutorError(f"{where} does not answer", hint=f"is {ENDPOINT} right? sky api info")
    try:
        yield
    except exceptions.APIVersionMismatchError as error:
        said, wanted, *_ = [*map(trainlog.plain, str(error).splitlines()), "sky api info"]
        raise UsageError(f"{where} does not fit: {said}", hint=wanted) from error
    except exceptions.ApiServerAuthenticationError as error:
        raise refused from error
    except requests.exceptions.HTTPError as error:
        is_refused = error.response is not None and error.response.status_code in (401, 403)
        raise (refused if is_refused else nobody) from error
    except (exceptions.ApiServerConnectionError, requests.exceptions.RequestException) as error:
        raise nobody from error
    except ValueError as error:
        if "service account token" in str(error):  # its form
            raise refused from error
        raise
