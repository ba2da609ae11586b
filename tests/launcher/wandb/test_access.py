"""How W&B is reached, and what is told where it is not."""

import socket
from pathlib import Path

import pytest

from launcher.errors import UsageError
from launcher.wandb.access import asking, can_connect, check_access, has_key
from tests.wandb_server.server import DROP, wandb_server


def test_an_unreadable_netrc_is_no_key(tmp_path: Path) -> None:
    (tmp_path / ".netrc").write_text("machine\n")
    assert not has_key({"HOME": str(tmp_path)})


def test_behind_a_proxy_wandb_is_taken_to_be_there(port: int) -> None:
    url = f"http://127.0.0.1:{port}"
    assert not can_connect({"WANDB_BASE_URL": url})
    assert can_connect({"WANDB_BASE_URL": url, "HTTPS_PROXY": "http://proxy"})


def test_a_wrong_key_is_found_before_anything_is_launched(tmp_path: Path) -> None:
    with wandb_server() as server:
        known = {"HOME": str(tmp_path), **server.environ}
        assert check_access(known) == ""
        with pytest.raises(UsageError, match="refuses the key"):
            check_access({**known, "WANDB_API_KEY": "1" * 40})
        with pytest.raises(UsageError, match="no key"):
            check_access({"HOME": str(tmp_path)})
        assert server.errors == []


def test_a_server_that_is_away_is_no_wrong_key(tmp_path: Path) -> None:
    with wandb_server() as server:
        known = {"HOME": str(tmp_path), **server.environ}
        assert can_connect(known)
        for status, words in ((503, "HTTP 503"), (429, "HTTP 429"), (DROP, "cannot be reached")):
            server.fault = lambda _operation, status=status: status
            assert words in check_access(known)
        server.fault = lambda _operation: 200  # a page, as of a captive portal
        assert "cannot be reached" in check_access(known)
    assert "cannot be reached" in check_access(known)


def test_a_server_that_never_answers_is_not_waited_for(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        known = {"HOME": str(tmp_path), "WANDB_BASE_URL": url, "WANDB_API_KEY": "0" * 40}
        with pytest.raises(TimeoutError):
            asking(known, timeout_seconds=0.2)("query Viewer { viewer { id } }", {})
