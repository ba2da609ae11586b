"""The user's folder that other machines get: how large it is, and what stood in it at launch.

SkyPilot sends what git does not ignore, or with a `.skyignore` what that does not name. So does
this module count.
"""

import fnmatch
import os
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from launcher.config import SweepConfig
from launcher.errors import UsageError
from launcher.files import write_atomic
from launcher.sweepfile import yamlio
from launcher.wandb.environment import commit

MAX_BYTES = 1_000_000_000
"""A folder beyond this is a mistake: it would be sent to every machine, each time."""
MAX_DIFF_BYTES = 10_000_000
NAMED_FOLDERS = 5
IGNORE_FILES = (".gitignore", ".skyignore")


def sizes(folder: Path) -> Iterator[tuple[Path, int]]:
    """Yield the files that are sent, by their paths inside, and their bytes."""
    is_own = (folder / ".skyignore").is_file()
    listed = None if is_own else _by_git(folder)
    for path in _walked(folder) if listed is None else listed:
        try:
            yield path, (folder / path).lstat().st_size
        except OSError:
            continue  # gone, or not ours to read: it will not be sent either


def check_size(folder: Path, *, limit_bytes: int = MAX_BYTES) -> int:
    """Return the bytes that are sent. Raises UsageError beyond the limit, with what is large."""
    by_folder: Counter[str] = Counter()
    for path, size in sizes(folder):
        by_folder[path.parts[0] + ("/" if len(path.parts) > 1 else "")] += size
    total = by_folder.total()
    if total > limit_bytes:
        largest = "\n".join(
            f"  {_shown(size):>9}  {name}" for name, size in by_folder.most_common(NAMED_FOLDERS)
        )
        raise UsageError(
            f"{folder} would be sent to every machine, and holds {_shown(total)}"
            f" (at most {_shown(limit_bytes)}):\n{largest}",
            hint="name what trials don't need in .gitignore, or in a .skyignore of its own;"
            " or give a smaller folder: --set task.workdir=…",
        )
    return total


def record(config: SweepConfig, into: Path) -> None:
    """Write what code a sweep was launched with: `workdir.yaml`, and `workdir.diff` where it is
    not what was committed.

    The first is written last: where it lies, both are whole. Nothing is written where git does not
    know the folder. Raises OSError when the disk refuses.
    """
    folder = Path(config.task.workdir or ".").resolve()
    at = commit(folder)
    if at is None:
        return
    diff = _git(folder, "diff", "--no-color", "--no-ext-diff", "HEAD", "--", ".") or b""
    new = _git(folder, "ls-files", "-z", "--others", "--exclude-standard") or b""
    untracked = sorted(name for name in os.fsdecode(new).split("\0") if name)
    facts = {"folder": str(folder), "commit": at, "is_changed": bool(diff or untracked)}
    if diff:
        text = diff[:MAX_DIFF_BYTES].decode("utf-8", errors="replace")
        write_atomic(into / "workdir.diff", text)
    write_atomic(into / "workdir.yaml", yamlio.dump({**facts, "untracked": untracked[:1000]}))


def keep_out(folder: Path) -> None:
    """Say to git, and to SkyPilot, that nothing of a folder is the user's code.

    Raises OSError when the disk refuses.
    """
    for name in IGNORE_FILES:
        if folder.is_dir() and not (folder / name).exists():
            write_atomic(folder / name, "*\n", is_durable=False)


def _by_git(folder: Path) -> Iterator[Path] | None:
    """Return what git would send, and git's own folder, which SkyPilot sends too; None: no git."""
    found = _git(folder, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    if found is None:
        return None
    names = dict.fromkeys(name for name in os.fsdecode(found).split("\0") if name)
    return iter([*map(Path, names), *_walked(folder, ".git")])


def _git(folder: Path, *arguments: str) -> bytes | None:
    """Return what git says about a folder; None where it cannot tell."""
    command = ["git", "-c", "safe.directory=*", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, check=False, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def _walked(folder: Path, below: str = "") -> Iterator[Path]:
    """Yield the files of a folder that its `.skyignore` does not name."""
    ignored = _patterns(folder / ".skyignore")
    for root, folders, files in os.walk(folder / below):
        inside = Path(root).relative_to(folder)
        folders[:] = [
            name
            for name in folders
            if not _is_named(inside / name, ignored) and not _is_kept_out(Path(root) / name)
        ]
        yield from (inside / name for name in files if not _is_named(inside / name, ignored))


def _is_kept_out(folder: Path) -> bool:
    return any("*" in _patterns(folder / name) for name in IGNORE_FILES)


def _patterns(file: Path) -> list[str]:
    try:
        lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError):
        return []
    return [line.rstrip("/") for line in lines if line and not line.startswith("#")]


def _is_named(path: Path, patterns: list[str]) -> bool:
    """Whether a pattern names a path: from the top with a slash before it, else anywhere."""
    text = path.as_posix()
    return any(
        fnmatch.fnmatch(text, pattern[1:])
        if pattern.startswith("/")
        else fnmatch.fnmatch(text, pattern) or fnmatch.fnmatch(text, f"*/{pattern}")
        for pattern in patterns
    )


def _shown(size: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            return f"{size:.0f} {unit}" if unit in ("B", "kB") else f"{size:.1f} {unit}"
        size /= 1000
    raise AssertionError(size)
