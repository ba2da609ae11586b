"""Small files that are there whole or not at all."""

import os
from pathlib import Path


def write_atomic(path: Path, content: str | bytes, *, is_durable: bool = True) -> None:
    """Write bytes or UTF-8 text so that a reader, or a crash, sees the old file or the new one.

    `is_durable`: also after a power cut; a file that can be written again does without.
    Raises OSError when the disk refuses; the old file is untouched then.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        with draft.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            if is_durable:
                file.flush()
                os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
