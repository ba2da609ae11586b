"""The wheel of our own code: made offline, the same each time, and pip installs it."""

import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

from launcher import __version__
from launcher.executors.skypilot import wheel


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return wheel.build(tmp_path_factory.mktemp("wheels"))


def test_it_is_named_after_the_version_and_the_code(built: Path) -> None:
    assert built.name.startswith(f"protein_sky-{__version__}+")
    assert built.name.endswith("-py3-none-any.whl")


def test_the_same_code_gives_the_same_bytes(built: Path, tmp_path: Path) -> None:
    again = wheel.build(tmp_path)
    assert again.name == built.name
    assert again.read_bytes() == built.read_bytes()


def test_a_wheel_that_is_there_is_not_written_again(built: Path) -> None:
    before = built.stat()
    assert wheel.build(built.parent) == built
    assert built.stat().st_mtime_ns == before.st_mtime_ns


def test_other_code_gets_another_version() -> None:
    assert wheel._digest({"a.py": b"1"}) != wheel._digest({"a.py": b"2"})
    assert wheel._digest({"a": b"bc"}) != wheel._digest({"ab": b"c"})


def test_it_holds_the_code_the_sweeps_and_the_tasks_and_nothing_that_was_made(built: Path) -> None:
    names = set(zipfile.ZipFile(built).namelist())
    assert {
        "trainer/__main__.py",
        "protein/suggest.py",
        "launcher/shipped/configs/sweep/demo_sweep.yaml",
        "launcher/shipped/sky/trial.yaml",
        "launcher/py.typed",
    } <= names
    assert not [name for name in names if "__pycache__" in name or name.endswith(".pyc")]
    assert not [name for name in names if name.startswith("sky/")]


def test_the_record_has_every_file_with_its_hash(built: Path) -> None:
    archive = zipfile.ZipFile(built)
    record = next(name for name in archive.namelist() if name.endswith("RECORD"))
    listed = dict(line.split(",", 1) for line in archive.read(record).decode().splitlines())
    assert set(listed) == set(archive.namelist())
    for name, said in listed.items():
        if name != record:
            assert said.endswith(f",{len(archive.read(name))}")


def test_the_metadata_has_the_extras_that_a_trial_needs(built: Path) -> None:
    archive = zipfile.ZipFile(built)
    info = next(name for name in archive.namelist() if name.endswith("METADATA"))
    said = Parser().parsestr(archive.read(info).decode())
    assert said["Version"] == built.name.split("-")[1]
    assert {"trainer", "wandb"} <= set(said.get_all("Provides-Extra") or [])


def test_pip_installs_it_without_a_network_and_it_runs(built: Path, tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    where = tmp_path / "there"
    offline = ["--no-index", "--no-deps", "--target", str(where), str(built)]
    subprocess.run([*pip, *offline], check=True, capture_output=True)
    code = (
        "import launcher, protein, trainer; from launcher.sweepfile import catalogue;"
        "print(launcher.__file__, catalogue.shipped_names('sweep'), catalogue.shipped_tasks())"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(where)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout.count(str(where)) == 2
    assert "demo_sweep" in ran.stdout


def test_two_that_build_at_once_end_with_one_whole_wheel(tmp_path: Path) -> None:
    code = (
        f"from pathlib import Path; from launcher.executors.skypilot import wheel;"
        f"print(wheel.build(Path({str(tmp_path)!r})))"
    )
    both = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    named = {Path(process.communicate()[0].strip()) for process in both}
    assert set(tmp_path.iterdir()) == named
    for one in named:
        assert zipfile.ZipFile(one).testzip() is None
