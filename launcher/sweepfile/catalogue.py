"""Finds sweep, hardware and task files: the user's own by path, ours by name from any folder.

Ours lie in `configs/` and `sky/` beside the package in a checkout or an editable install, and in
`launcher/shipped/` in a wheel.
"""

import difflib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from launcher.errors import Problem
from launcher.sweepfile.yamlio import Place, shown

Kind = Literal["sweep", "hardware", "task"]
SUFFIXES = (".yaml", ".yml")


def shipped_configs() -> Path:
    """Give the folder with the configs that come with protein-sky."""
    return _shipped("configs")


def shipped_tasks() -> Path:
    """Give the folder with the SkyPilot tasks that come with protein-sky."""
    return _shipped("sky")


def _shipped(name: str) -> Path:
    package = Path(__file__).resolve().parents[1]
    in_wheel = package / "shipped" / name
    return in_wheel if in_wheel.is_dir() else package.parent / name


def shipped_names(kind: Kind) -> list[str]:
    """Give the names of the shipped files of one kind."""
    folder = shipped_tasks() if kind == "task" else shipped_configs() / kind
    return sorted(path.stem for path in folder.glob("*.yaml"))


def find(kind: Kind, name: str, *, base: Path | None = None) -> Path | Problem:
    """Find a file by its path, or by a name such as `demo_sweep` or `sweep/demo_sweep`.

    A path counts from `base`, then from here; a name is looked up in `configs/` there (a task's in
    `sky/`), then among ours.
    """
    if not name.strip():
        return Place(Path(kind)).problem("", f"no {kind} file is named", _offers(kind, name))
    for path in _candidates(kind, name, base or Path()):
        if is_file(path, or_pipe=kind == "sweep"):
            return path
    return Place(label(name)).problem("", f"no such {kind} file", _offers(kind, name))


def is_file(path: Path, *, or_pipe: bool = False) -> bool:
    """Tell whether a path leads to a file, or to a pipe as in `launch <(generate)`."""
    try:
        return path.is_file() or (or_pipe and path.is_fifo())
    except (OSError, ValueError):  # longer than a name may be, or with a NUL
        return False


def label(path: str | Path) -> Path:
    """Give a path as messages show it: short, in one printable line."""
    text = os.fspath(path)
    here = f"{Path.cwd()}{os.sep}"
    return Path(shown(text.removeprefix(here), 300))


def _candidates(kind: Kind, name: str, base: Path) -> Iterator[Path]:
    given = Path(name).expanduser() if name.startswith("~/") else Path(name)
    for folder in dict.fromkeys((base, Path())):
        yield folder / given
        yield from _with_suffixes(folder / given)
    stem = name.removesuffix(".yaml").removesuffix(".yml").removeprefix("./")
    home = "sky" if kind == "task" else f"configs/{kind}"
    inner = Path(stem.removeprefix("configs/").removeprefix(f"{Path(home).name}/"))
    if inner.is_absolute() or ".." in inner.parts:
        return
    ours = shipped_tasks() if kind == "task" else shipped_configs() / kind
    for folder in (base / home, Path(home), ours):
        yield from _with_suffixes(folder / inner)


def _with_suffixes(path: Path) -> Iterator[Path]:
    yield from (path.parent / f"{path.name}{suffix}" for suffix in SUFFIXES)


def _offers(kind: Kind, name: str) -> str:
    names = shipped_names(kind)
    close = difflib.get_close_matches(Path(name).name.split(".")[0], names, n=1)
    return f"did you mean {close[0]}?" if close else f"a path, or one of: {', '.join(names)}"
