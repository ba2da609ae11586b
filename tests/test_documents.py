"""The documents say what the program does."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from launcher.cli import cli
from launcher.sweepfile.reader import read_sweep
from launcher.sweepfile.schema import SweepConfig

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("name", list(cli.commands))
def test_every_command_is_in_the_readme(name: str) -> None:
    assert re.search(rf"protein-sky {name}\b", README)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_command_that_a_document_names_exists(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    named = set(re.findall(r"(?:^|[`(])\s*protein-sky ([a-z]+)\b", text, re.MULTILINE))
    assert named <= set(cli.commands), named - set(cli.commands)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_file_that_a_document_links_to_is_there(document: Path) -> None:
    links = re.findall(r"\]\((?!http|#)([^)#]+)", document.read_text(encoding="utf-8"))
    missing = [link for link in links if not (document.parent / link).exists()]
    assert not missing


def test_the_readmes_sweep_is_valid(tmp_path: Path) -> None:
    (text,) = re.findall(r"```yaml\n# mine\.yaml.*?```", README, re.DOTALL)
    path = tmp_path / "mine.yaml"
    path.write_text(text.removeprefix("```yaml\n").removesuffix("```"), encoding="utf-8")
    config, problems = read_sweep(path)
    assert not problems
    assert isinstance(config, SweepConfig)


def test_the_readmes_loop_runs() -> None:
    (code,) = (
        block
        for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL)
        if "Space.from_dict" in block
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


@pytest.mark.parametrize("target", ["demo", "test", "lint", "test-slow"])
def test_every_make_target_that_documents_name_is_there(target: str) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(rf"^{target}:", makefile, re.MULTILINE)
