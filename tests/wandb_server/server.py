"""A strict stand-in for W&B's server: what its schema does not know is an error, and is kept.

Use it as a context manager. `errors` holds every request that it did not understand: a test that
uses it ends by looking there. `faults` are answered first, one for each request.
"""

import gzip
import json
import threading
from base64 import b64decode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from graphql import build_schema, graphql_sync

from tests.wandb_server.store import Store

KEY = "0" * 40
SCHEMA = build_schema(Path(__file__).with_name("schema.graphql").read_text(encoding="utf-8"))
DROP = -1  # close the connection without an answer
SILENT = -2  # keep the connection, and never answer


@dataclass
class WandbServer:
    """The server as tests see it."""

    url: str = ""
    store: Store = field(default_factory=Store)
    errors: list[str] = field(default_factory=list)
    operations: list[str] = field(default_factory=list)
    fault: Callable[[str], int | None] = lambda _operation: None
    """Gets the name of each operation; gives a status to fail with, DROP, SILENT, or None."""
    closing: threading.Event = field(default_factory=threading.Event)

    @property
    def environ(self) -> dict[str, str]:
        """What the client needs to find it."""
        return {
            "WANDB_BASE_URL": self.url,
            "WANDB_API_KEY": KEY,
            "WANDB_ERROR_REPORTING": "false",  # nothing leaves this machine
        }

    def answer(self, body: dict[str, Any]) -> dict[str, Any]:
        """Run one GraphQL operation, strictly."""
        with self.store.lock:
            done = graphql_sync(
                SCHEMA, body["query"], self.store.root, variable_values=body.get("variables")
            )
        self.errors += [f"{error.message}\n{body['query']}" for error in done.errors or ()]
        return done.formatted  # type: ignore[return-value]  # a typed dict


class _Handler(BaseHTTPRequestHandler):
    server: "_Http"
    protocol_version = "HTTP/1.1"

    def log_message(self, *_arguments: Any) -> None:
        """Tests are quiet."""

    def do_GET(self) -> None:
        self._send(200, {})

    def do_PUT(self) -> None:
        self._body()
        self._send(200, {})

    def do_POST(self) -> None:
        stand_in, body = self.server.stand_in, self._body()
        operation = self._operation(body)
        stand_in.operations.append(operation)
        status = stand_in.fault(operation)
        if status == DROP:
            self.close_connection = True
            self.connection.close()
        elif status == SILENT:
            stand_in.closing.wait()
            self.close_connection = True
        elif status is not None:
            self._send(status, "<html><body>no</body></html>")
        elif not self._is_allowed():
            self._send(401, {"errors": [{"message": "permission denied"}]})
        elif self.path == "/graphql":
            self._send(200, stand_in.answer(json.loads(body)))
        elif operation == "file_stream":
            self._stream(json.loads(body))
        else:
            stand_in.errors.append(f"POST {self.path}")
            self._send(404, {})

    def _operation(self, body: bytes) -> str:
        if self.path.endswith("/file_stream"):
            return "file_stream"
        if self.path != "/graphql":
            return self.path
        words = json.loads(body).get("query", "").replace("(", " ").replace("{", " ").split()
        kinds = [n for n, word in enumerate(words) if word in ("query", "mutation")]
        return words[kinds[0] + 1] if kinds else words[0]

    def _stream(self, body: dict[str, Any]) -> None:
        _, _files, _entity, project, run_id, _ = self.path.split("/")
        stand_in = self.server.stand_in
        try:
            with stand_in.store.lock:
                stand_in.store.stream(project, run_id, body)
        except KeyError:
            self._send(404, {"error": f"no run {run_id}"})
        else:
            self._send(200, {})

    def _is_allowed(self) -> bool:
        kind, _, secret = self.headers.get("Authorization", "").partition(" ")
        return kind == "Basic" and b64decode(secret).decode().split(":", 1)[1] == KEY

    def _body(self) -> bytes:
        data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        return gzip.decompress(data) if self.headers.get("Content-Encoding") == "gzip" else data

    def _send(self, status: int, content: object) -> None:
        is_page = isinstance(content, str)
        data = (content if is_page else json.dumps(content)).encode()  # type: ignore[union-attr]  # str
        self.send_response(status)
        self.send_header("Content-Type", "text/html" if is_page else "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128  # nobody is turned away while this process is busy
    stand_in: WandbServer


@contextmanager
def wandb_server() -> Iterator[WandbServer]:
    """Run a server on a free port of this machine."""
    http = _Http(("127.0.0.1", 0), _Handler)
    http.stand_in = WandbServer(f"http://127.0.0.1:{http.server_port}")
    thread = threading.Thread(target=http.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield http.stand_in
    finally:
        http.stand_in.closing.set()
        http.shutdown()
        http.server_close()
        thread.join()
