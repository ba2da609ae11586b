"""How W&B is reached: its address, the key for it, and one question over GraphQL.

The questions that are ours (who are we, which sweeps are there, what did runs log) go by plain
HTTP: the client's own way of sending a query changes from version to version.
"""

import base64
import json
import netrc
import os
import socket
from collections.abc import Callable, Mapping
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from launcher.errors import UsageError
from launcher.wandb.settings_file import asked

DEFAULT_BASE_URL = "https://api.wandb.ai"
_OTHER_NAMES = ("https://api.forge.coreweave.com", "https://forge.coreweave.com/api/wandb")
"""How wandb 0.31 calls W&B's own server; it is the same, and under this host are the keys."""
CONNECT_SECONDS = 3.0
ACCESS_SECONDS = 10.0
KEY_HINT = "set WANDB_API_KEY, or run `wandb login`; trials log without one with WANDB_MODE=offline"
_PROXIES = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy")

Ask = Callable[[str, Mapping[str, Any]], Mapping[str, Any]]
"""Asks one GraphQL question with its variables, and returns the `data`; see `asking`."""


def base_url(environ: Mapping[str, str] = os.environ) -> str:
    """Return where W&B is: a self-hosted server, by $WANDB_BASE_URL or `wandb login`, or W&B's."""
    url = (asked(environ, "WANDB_BASE_URL") or DEFAULT_BASE_URL).rstrip("/")
    return DEFAULT_BASE_URL if url in _OTHER_NAMES else url


def can_connect(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether something listens where W&B is. Behind a proxy this cannot be seen: taken as yes."""
    if any(environ.get(name) for name in _PROXIES):
        return True
    url = urlsplit(base_url(environ))
    port = url.port or (80 if url.scheme == "http" else 443)
    try:
        socket.create_connection((url.hostname or "", port), timeout=CONNECT_SECONDS).close()
    except OSError:
        return False
    return True


def asking(environ: Mapping[str, str] = os.environ, *, timeout_seconds: float = 30.0) -> Ask:
    """Return what asks W&B with the key and the address of an environment.

    It raises OSError (HTTPError among them) or HTTPException where W&B does not answer, ValueError
    where the answer is none, and UsageError without a key.
    """

    def ask(question: str, values: Mapping[str, Any]) -> Mapping[str, Any]:
        key = api_key(environ)
        if key is None:
            raise UsageError("there is no key for W&B", hint=KEY_HINT)
        basic = base64.b64encode(f"api:{key}".encode()).decode()
        request = Request(  # noqa: S310 - the user's own server
            f"{base_url(environ)}/graphql",
            data=json.dumps({"query": question, "variables": values}).encode(),
            headers={"Authorization": f"Basic {basic}", "Content-Type": "application/json"},
        )
        with urlopen(request, timeout=timeout_seconds) as answer:  # noqa: S310 - as above
            told = json.load(answer)
        if not isinstance(told, dict) or told.get("errors") or not isinstance(told["data"], dict):
            raise ValueError(f"no answer: {str(told)[:200]}")
        data: Mapping[str, Any] = told["data"]
        return data

    return ask


def check_access(environ: Mapping[str, str] = os.environ) -> str:
    """Ask W&B who we are; to be called before runs are to be online.

    Returns why it cannot tell now, empty if all is well: trials will log offline while that lasts.
    Raises UsageError if there is no key, or not the right one.
    """
    if api_key(environ) is None and environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return ""  # only the client knows how to exchange it
    url = base_url(environ)
    try:
        told = asking(environ, timeout_seconds=ACCESS_SECONDS)("query Viewer { viewer { id } }", {})
    except HTTPError as error:
        if error.code in (401, 403):
            raise UsageError(f"{url} refuses the key", hint=KEY_HINT) from None
        return f"{url} answers HTTP {error.code}"
    except (OSError, ValueError, HTTPException) as error:
        return f"{url} cannot be reached: {error}"
    if not told.get("viewer"):
        raise UsageError(f"{url} does not know the key", hint=KEY_HINT)
    return ""


def has_key(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether W&B would let us in without asking: by a key or an identity token."""
    return bool(environ.get("WANDB_IDENTITY_TOKEN_FILE")) or api_key(environ) is not None


def api_key(environ: Mapping[str, str] = os.environ) -> str | None:
    """Return the key for W&B's host: by $WANDB_API_KEY, the netrc file, or W&B's settings."""
    return environ.get("WANDB_API_KEY") or _netrc_key(environ) or asked(environ, "WANDB_API_KEY")


def _netrc_key(environ: Mapping[str, str]) -> str | None:
    url = base_url(environ)
    urls = (url, *_OTHER_NAMES) if url == DEFAULT_BASE_URL else (url,)
    home = Path(environ.get("HOME") or Path.home())
    named = environ.get("NETRC")
    candidates = [Path(named)] if named else [home / ".netrc", home / "_netrc"]
    for path in candidates:
        try:
            known = netrc.netrc(str(path))
        except (OSError, netrc.NetrcParseError):
            continue
        for entry in (known.authenticators(urlsplit(url).netloc) for url in urls):
            if entry is not None and entry[2]:
                return entry[2]
    return None
