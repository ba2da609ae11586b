"""The shipped files are found from anywhere: a checkout, an editable install, a wheel."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from launcher.config import load
from launcher.errors import Problem
from launcher.sweepfile.catalogue import find, shipped_configs, shipped_names

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    "name",
    ["demo_sweep", "sweep/demo_sweep", "demo_sweep.yaml", "configs/sweep/demo_sweep.yaml"],
)
def test_a_shipped_sweep_is_found_from_any_folder(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert load(name).name == "demo_sweep"


def test_the_user_s_own_file_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    own = Path("configs/sweep/demo_sweep.yaml")
    own.parent.mkdir(parents=True)
    own.write_text("sweep: {metric: mine, goal: minimize, parameters: {}}")
    assert load("demo_sweep").sweep.metric == "mine"


def test_a_folder_of_the_same_name_is_no_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("demo_sweep").mkdir()
    assert load("demo_sweep").trials == 16


@pytest.mark.parametrize("name", ["../hardware/aws", "sweep/../../hardware/aws", "/aws"])
def test_a_name_never_leads_out_of_the_shipped_folder(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert isinstance(find("sweep", name), Problem)


def test_the_files_of_the_checkout_are_the_shipped_ones() -> None:
    assert shipped_configs() == ROOT / "configs"
    assert len(shipped_names("sweep")) >= 9
    assert len(shipped_names("hardware")) >= 6


@pytest.mark.slow
def test_a_wheel_brings_every_config_and_finds_them(tmp_path: Path) -> None:
    source = tmp_path / "source"
    for package in ("launcher", "protein", "trainer", "configs", "sky"):
        shutil.copytree(ROOT / package, source / package, ignore=shutil.ignore_patterns("__py*"))
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, source)
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "-o", str(tmp_path)]
    subprocess.run([*build, str(source)], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    shipped = {p.relative_to(site / "launcher/shipped") for p in site.rglob("configs/**/*.yaml")}
    assert shipped == {p.relative_to(ROOT) for p in (ROOT / "configs").rglob("*.yaml")}
    module = "launcher.sweepfile.catalogue"
    code = f"import {module} as c; print(c.shipped_configs(), *c.shipped_names('sweep'))"
    ran = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(site)!r}); {code}"],
        check=True,
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert ran.stdout.split()[0] == str(site / "launcher" / "shipped" / "configs")
    assert "demo_sweep" in ran.stdout
