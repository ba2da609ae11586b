"""The rules of the house, as tests: who may import whom, and what stays pure."""

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OURS = ("launcher", "protein", "trainer")
HEAVY = ("sky", "torch", "wandb", "plotly", "gymnasium", "optuna", "pandas", "matplotlib")
ADAPTERS = ("wandb_protein.py", "metta_protein.py")  # protein's edge

# Lower layers first; a module may import from its own and lower layers only.
LAUNCHER_LAYERS = [
    {"errors", "events", "files", "trial", "trainlog", "numbered", "pages.formats"},
    {"ports", "state", "inbox", "journal", "folder"},
    {"sweepfile"},
    {"config", "executors", "metrics", "early_stopping"},
    {"wandb.polling", "wandb.settings_file"},
    {"wandb.access", "wandb.environment", "wandb.history", "wandb.offline", "wandb.sweep_page"},
    {"wandb.curves", "wandb.metrics", "wandb.sync"},
    {"objectives", "workdir"},
    {"budget", "edits", "optimizer", "enqueueing", "jobs", "views", "standing", "wandb.sweep_run"},
    {"policy", "judging", "clouds", "reading", "restore", "snapshot"},
    {"pages.status", "pages.wording", "nodes", "notify"},
    {"coordinator", "pages.picture", "pages.figures", "pages.plan"},
    {"pages.table", "pages.report", "sweep"},
    {"pages.summary", "health"},
    {"cli"},
]


def sources(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def imports(path: Path) -> Iterator[str]:
    """Yield every module that a file names in an import, wherever it stands."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            assert node.level == 0, f"{path}: say where it comes from: no relative imports"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def top_level_imports(path: Path) -> Iterator[str]:
    """Yield what is imported when the module is."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module


def package(name: str) -> str:
    return name.split(".")[0]


@pytest.mark.parametrize("path", sources("trainer", "protein"), ids=str)
def test_protein_and_trainer_know_nobody(path: Path) -> None:
    own = path.relative_to(ROOT).parts[0]
    others = set(OURS) - {own}
    assert not {name for name in imports(path) if package(name) in others}


@pytest.mark.parametrize("path", sources("launcher"), ids=str)
def test_the_launcher_does_not_import_the_trainer(path: Path) -> None:
    assert "trainer" not in {package(name) for name in imports(path)}


FLOORS = {room: floor for floor, layer in enumerate(LAUNCHER_LAYERS) for room in layer}


def room_of(module: str) -> str | None:
    """Return the room of a module of the launcher, such as `state` or `pages.table`."""
    parts = module.removeprefix("launcher.").split(".")
    return next((r for r in (".".join(parts[:2]), parts[0]) if r in FLOORS), None)


@pytest.mark.parametrize("path", sources("launcher"), ids=str)
def test_nothing_in_the_launcher_imports_upward(path: Path) -> None:
    module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    if path.name in ("__init__.py", "__main__.py") and path.parent.name != "cli":
        return
    room = room_of(module)
    assert room is not None, f"{module} has no floor yet: add it to LAUNCHER_LAYERS"
    used = {room_of(name) for name in imports(path) if name.startswith("launcher.")} - {None}
    upward = {other for other in used if other and FLOORS[other] > FLOORS[room]}
    assert not upward, f"{module} imports upward: {upward}"


@pytest.mark.parametrize("path", sources("launcher/executors"), ids=str)
def test_executors_never_see_policy(path: Path) -> None:
    forbidden = {f"launcher.{name}" for name in ("policy", "state", "config", "coordinator")}
    assert not forbidden & set(imports(path))


IMPURE = {"time", "datetime", "random", "logging", "os", "pathlib", "sqlite3", "subprocess"}
PURE_MODULES = [
    *(p for p in sources("protein") if p.name not in ADAPTERS),
    *(
        ROOT / "launcher" / f"{name}.py"
        for name in ("events", "state", "policy", "judging", "budget", "edits")
    ),
]


@pytest.mark.parametrize("path", PURE_MODULES, ids=str)
def test_the_core_has_no_clock_no_file_and_no_logger(path: Path) -> None:
    assert not IMPURE & {package(name) for name in imports(path)}


@pytest.mark.parametrize("path", PURE_MODULES, ids=str)
def test_the_core_uses_no_global_random_state(path: Path) -> None:
    allowed = {"default_rng", "Generator", "SeedSequence", "PCG64"}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) in (
            "np.random",
            "numpy.random",
        ):
            assert node.attr in allowed, f"{path}:{node.lineno}: np.random.{node.attr}"


@pytest.mark.parametrize("path", sources("launcher", "protein"), ids=str)
def test_heavy_modules_are_loaded_only_where_used(path: Path) -> None:
    assert not set(HEAVY) & {package(name) for name in top_level_imports(path)}


def test_there_is_no_python_in_sky_or_configs() -> None:
    assert not sources("sky", "configs")


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from click.testing import CliRunner\n"
        "from launcher.cli import cli\n"
        "assert CliRunner().invoke(cli, ['--help']).exit_code == 0\n"
        "print(*{name.split('.')[0] for name in sys.modules})\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {*HEAVY, "numpy", "scipy", "pydantic", "msgspec", "yaml"} & set(ran.stdout.split())


def test_every_package_is_shipped() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    shipped = settings["tool"]["setuptools"]["packages"]
    found = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for path in sources(*OURS)
        if path.name == "__init__.py"
    }
    assert found <= set(shipped)
    assert not {"sky", "configs", "tests"} & set(shipped)
