"""Our own code as a wheel, made on this machine without any network.

Trials on other machines then run the very code that launches them, released or not. A wheel is a
zip archive with a few files about itself (PEP 427): the packages are taken from where they are
imported from, an installation or a checkout, and the rest from the installed metadata. The same
code gives the same bytes, and its hash is part of the version: pip on a machine that is used again
sees that the code has changed.
"""

import base64
import hashlib
import os
import re
import zipfile
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path

from launcher import __version__
from launcher.errors import UsageError
from launcher.sweepfile.catalogue import shipped_configs, shipped_tasks

PACKAGES = ("launcher", "protein", "trainer")
_OLDEST_TIME = (1980, 1, 1, 0, 0, 0)  # a zip archive knows none before
_MODE = 0o100644 << 16
_WHEEL = "Wheel-Version: 1.0\nGenerator: protein-sky\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def cache() -> Path:
    """Return the folder in which wheels are kept: the user's cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "protein-sky"


def build(folder: Path) -> Path:
    """Write the wheel of the running code into `folder` unless it is there; return its path.

    Raises UsageError where protein-sky is not installed, OSError when the disk refuses.
    """
    contents = dict(_contents())
    digest = _digest(contents)
    version = f"{__version__}+{digest[:12]}"
    wheel = folder / f"protein_sky-{version}-py3-none-any.whl"
    if not wheel.is_file():
        info = f"protein_sky-{version}.dist-info"
        described = {f"{info}/{name}": text for name, text in _about(version).items()}
        _write(wheel, contents | described, record=f"{info}/RECORD")
    return wheel


def _contents() -> Iterator[tuple[str, bytes]]:
    """Yield the files of our packages by their names in the wheel."""
    for package in PACKAGES:
        spec = find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            raise _not_installed()
        yield from _files(Path(next(iter(spec.submodule_search_locations))), package)
    yield from _files(shipped_configs(), "launcher/shipped/configs")
    yield from _files(shipped_tasks(), "launcher/shipped/sky")


def _files(folder: Path, prefix: str) -> Iterator[tuple[str, bytes]]:
    for path in sorted(folder.rglob("*")):
        inner = path.relative_to(folder)
        is_made = any(part == "__pycache__" or part.startswith(".") for part in inner.parts)
        if path.is_file() and not is_made and path.suffix not in (".pyc", ".so"):
            yield f"{prefix}/{inner.as_posix()}", path.read_bytes()


def _digest(contents: dict[str, bytes]) -> str:
    """Return the hash of all files and their names."""
    found = hashlib.sha256()
    for name, data in sorted({**contents, **_about("")}.items()):
        found.update(f"{len(name)} {name} {len(data)} ".encode() + data)
    return found.hexdigest()


def _about(version: str) -> dict[str, bytes]:
    """Return what the wheel says about itself, but for its record."""
    found = _distribution()
    metadata = found.read_text("METADATA") or found.read_text("PKG-INFO") or ""
    entries = found.read_text("entry_points.txt") or ""
    stated = re.sub(r"(?m)^Version: .*$", f"Version: {version}", metadata, count=1)
    texts = {"METADATA": stated, "WHEEL": _WHEEL, "entry_points.txt": entries}
    return {name: text.encode() for name, text in texts.items()}


def _distribution() -> Distribution:
    try:
        return distribution("protein-sky")
    except PackageNotFoundError as error:
        raise _not_installed() from error


def _not_installed() -> UsageError:
    return UsageError(
        "protein-sky runs from a folder and is not installed: trials elsewhere could not have it",
        hint="pip install -e . in its checkout",
    )


def _write(wheel: Path, contents: dict[str, bytes], *, record: str) -> None:
    """Write the archive with its record; a crash leaves none."""
    lines = [
        f"{name},sha256={_urlsafe(hashlib.sha256(data).digest())},{len(data)}"
        for name, data in sorted(contents.items())
    ]
    contents = {**contents, record: "\n".join([*lines, f"{record},,", ""]).encode()}
    wheel.parent.mkdir(parents=True, exist_ok=True)
    draft = wheel.with_name(f".{wheel.name}.{os.getpid()}.new")
    try:
        with zipfile.ZipFile(draft, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in contents.items():
                entry = zipfile.ZipInfo(name, _OLDEST_TIME)
                entry.compress_type = zipfile.ZIP_DEFLATED
                entry.external_attr = _MODE
                archive.writestr(entry, data)
        draft.replace(wheel)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def _urlsafe(digest: bytes) -> str:
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
