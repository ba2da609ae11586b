"""How other processes speak to a sweep's one writer: one small file for each request.

A request is an event that carries a `command_id`. The coordinator records it, once, and removes
the file; it survives any crash in between.
"""

import secrets
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from launcher.events import Command, encode
from launcher.files import write_atomic

_DECODER: msgspec.json.Decoder[Command] = msgspec.json.Decoder(Command)


def new_command_id() -> str:
    """Return an id that no other request has, greater than those before it on this machine.

    So requests have an order also where a file system keeps times to some milliseconds only.
    """
    return f"{time.time_ns():016x}{secrets.token_hex(4)}"


def post(folder: Path, command: Command) -> None:
    """Leave a request for the coordinator."""
    write_atomic(folder / f"{command.command_id}.json", encode(command).decode())


def read(folder: Path) -> Iterator[tuple[Path, Command | None]]:
    """Yield waiting requests, oldest first; None for a file that is no request of ours.

    What cannot be read now is left for later.
    """
    for path in sorted(folder.glob("[!.]*.json"), key=_posted_at):
        try:
            text = path.read_bytes()
        except OSError:
            continue
        try:
            yield path, _DECODER.decode(text)
        except (msgspec.DecodeError, UnicodeDecodeError):
            yield path, None


def _posted_at(path: Path) -> tuple[int, str]:
    try:
        return path.stat().st_mtime_ns, path.name
    except FileNotFoundError:
        return 0, path.name
