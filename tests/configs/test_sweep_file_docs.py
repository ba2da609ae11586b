"""docs/sweep-file.md says what is true, and all of it."""

import re
from pathlib import Path

from launcher.config import SweepConfig, load
from launcher.sweepfile.schema import keys, sections

DOCS = (Path(__file__).parents[2] / "docs" / "sweep-file.md").read_text(encoding="utf-8")


def _example() -> str:
    found = re.search(r"```yaml\n(.*?)```", DOCS, flags=re.DOTALL)
    assert found is not None
    return found[1]


def test_the_annotated_example_is_valid(tmp_path: Path) -> None:
    file = tmp_path / "example.yaml"
    file.write_text(_example(), encoding="utf-8")
    config = load(file)
    assert config.execution.timeout_seconds == 7200
    assert list(config.sweep.fixed) == ["trainer.num_epochs"]


def test_every_key_is_documented() -> None:
    known = {name for _, section in sections() for name in keys(section)}
    known |= set(keys(SweepConfig))
    known.discard("name")  # of a SkyPilot task: ignored
    assert {key for key in known if not re.search(rf"\b{key}\b", DOCS)} == set()


def test_every_section_key_stands_in_the_example_with_its_section() -> None:
    passed_on = {"resources", "file_mounts", "volumes", "config", "name"}
    for section, model in sections():
        inner = _example().split(f"\n{section}:")[1].split("\n\n")[0]
        if section == "sweep":
            inner = _example().split("\nsweep:")[1].split("\ntask:")[0]
        missing = {key for key in keys(model) if f"  {key}:" not in inner}
        assert missing <= passed_on
