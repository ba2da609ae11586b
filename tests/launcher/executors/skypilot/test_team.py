"""A team's API server: where it is, and one message for each way in which it turns us away."""

import json
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from launcher.executors.skypilot import team
from launcher.executors.skypilot.readiness import installed_version
from tests.launcher.executors.skypilot.offline_sky import environment

_ASK = """
from launcher.errors import ProteinSkyError
from launcher.executors.skypilot import team
try:
    print(team.clouds())
except ProteinSkyError as error:
    print(type(error).__name__, error.message, error.hint, sep="|")
"""
OLD = {"X-SkyPilot-API-Version": "10", "X-SkyPilot-Version": "0.10.0"}


def test_without_a_team_s_server_there_is_no_address(tmp_path: Path) -> None:
    assert team.endpoint({"HOME": str(tmp_path)}) is None


def test_a_password_in_the_address_is_not_told() -> None:
    assert (
        team.endpoint({team.ENDPOINT: "https://me:secret@sky.team/api"}) == "https://sky.team/api"
    )


def test_the_address_that_sky_api_login_wrote_is_found(tmp_path: Path) -> None:
    settings = tmp_path / ".sky" / "config.yaml"
    settings.parent.mkdir()
    settings.write_text("api_server: {endpoint: 'https://sky.team'}\n")
    assert team.endpoint({"HOME": str(tmp_path)}) == "https://sky.team"


@pytest.mark.parametrize("text", ["", "[", "jobs: {}", "api_server:", "- 1"])
def test_settings_that_name_no_server_name_none(tmp_path: Path, text: str) -> None:
    settings = tmp_path / ".sky" / "config.yaml"
    settings.parent.mkdir()
    settings.write_text(text)
    assert team.endpoint({"HOME": str(tmp_path)}) is None


class Server(ThreadingHTTPServer):
    """Answers everything with one status: about its health, and about all else."""

    def __init__(self, health: int, rest: int, headers: dict[str, str]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.statuses = {"/api/health": health}
        self.rest = rest
        self.headers = headers


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        server = self.server
        assert isinstance(server, Server)
        self.send_response(server.statuses.get(self.path, server.rest))
        for name, value in server.headers.items():
            self.send_header(name, value)
        self.end_headers()
        about = {"status": "healthy", "api_version": "10", "version": "0.10.0", "commit": "1"}
        self.wfile.write(json.dumps(about).encode())

    def log_message(self, *_args: object) -> None:
        """Say nothing."""


def ask(home: Path, server: Server, **variables: str) -> list[str]:
    """Return the kind of error, its message and its hint."""
    where = f"http://me:secret@127.0.0.1:{server.server_port}"
    variables = {team.ENDPOINT: where, "no_proxy": "127.0.0.1", **variables}
    told = subprocess.run(
        [sys.executable, "-c", _ASK],
        env=environment(home) | variables,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "secret" not in told.stdout
    return told.stdout.strip().split("|")


@pytest.fixture
def serving(request: pytest.FixtureRequest) -> Iterator[Server]:
    with Server(*request.param) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.infra
@pytest.mark.skipif(installed_version() is None, reason="needs SkyPilot")
class TestOfSkyPilot:
    """What its client makes of such servers."""

    @pytest.mark.parametrize("serving", [(401, 401, {})], indirect=True)
    def test_a_token_that_is_refused_is_told(self, serving: Server, tmp_path: Path) -> None:
        kind, message, hint = ask(tmp_path, serving, **{team.TOKEN: "sky_old"})
        assert (kind, message.endswith("does not let you in")) == ("UsageError", True)
        assert team.TOKEN in hint

    @pytest.mark.parametrize("serving", [(401, 401, {})], indirect=True)
    def test_a_token_that_is_missing_is_told(self, serving: Server, tmp_path: Path) -> None:
        assert ask(tmp_path, serving)[1].endswith(f"{team.TOKEN} is not set")

    @pytest.mark.parametrize("serving", [(401, 401, {})], indirect=True)
    def test_what_is_no_token_is_told(self, serving: Server, tmp_path: Path) -> None:
        kind, message, _ = ask(tmp_path, serving, **{team.TOKEN: "hunter2"})
        assert (kind, message.endswith("does not let you in")) == ("UsageError", True)

    @pytest.mark.parametrize("serving", [(404, 404, {})], indirect=True)
    def test_what_is_no_server_of_skypilot_s_is_told(self, serving: Server, tmp_path: Path) -> None:
        kind, message, hint = ask(tmp_path, serving)
        assert (kind, message.endswith("does not answer")) == ("ExecutorError", True)
        assert team.ENDPOINT in hint

    @pytest.mark.parametrize("serving", [(200, 200, OLD)], indirect=True)
    def test_a_server_that_is_too_old_is_told(self, serving: Server, tmp_path: Path) -> None:
        kind, message, hint = ask(tmp_path, serving)
        assert kind == "UsageError"
        assert message.endswith("API server version is too old: 0.10.0")
        assert "minimum compatible version" in hint
