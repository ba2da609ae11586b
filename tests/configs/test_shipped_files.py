"""Every shipped sweep is valid, with every hardware file, and speaks the trainer's language."""

from pathlib import Path

import pytest

from launcher.config import SweepConfig, check, load, trial_config
from launcher.sweepfile.catalogue import shipped_configs, shipped_names
from launcher.sweepfile.schema import LAUNCHER_KEYS
from launcher.sweepfile.yamlio import dump, read
from protein.space import Space
from trainer import parse

SWEEPS = shipped_names("sweep")
HARDWARE = shipped_names("hardware")


def test_the_reference_s_sweeps_and_hardware_files_are_all_there() -> None:
    assert {
        "cogeval_sweep", "demo_sweep", "empty", "fast", "full", "my_sweep", "pong",
        "protein_complex", "protein_simple",
    } <= set(SWEEPS)  # fmt: skip
    assert {"aws", "github", "mac_parallel", "mac_serial", "macbook", "pufferbox"} <= set(HARDWARE)


@pytest.mark.parametrize("name", SWEEPS)
def test_every_sweep_is_valid(name: str) -> None:
    assert check(name) == []


@pytest.mark.parametrize("hardware", HARDWARE)
@pytest.mark.parametrize("name", SWEEPS)
def test_the_trainer_understands_every_sweep_on_every_hardware(
    name: str, hardware: str, tmp_path: Path
) -> None:
    config = load(name, overrides=[f"hardware={hardware}"])
    space = Space.from_dict(config.sweep.tuned)
    for unit in (0.0, 0.5, 1.0):
        params = space.from_unit((unit,) * len(space.parameters))
        file = tmp_path / "train_config_overrides.yaml"
        file.write_text(dump(trial_config(config, params)))
        trained = parse.as_mapping(parse.load(file))
        known = {key.removeprefix("config."): value for key, value in trained.items()}
        assert all(known[key] == pytest.approx(value) for key, value in params.items())


def test_only_the_template_has_nothing_to_search() -> None:
    assert [name for name in SWEEPS if not load(name).sweep.tuned] == ["empty"]


@pytest.mark.parametrize("path", sorted(shipped_configs().rglob("*.yaml")), ids=lambda p: p.stem)
def test_every_file_begins_with_a_comment_that_explains_it(path: Path) -> None:
    assert path.read_text(encoding="utf-8").startswith("# ")


@pytest.mark.parametrize("name", ["demo_sweep", "fast"])
def test_what_a_newcomer_runs_stays_small(name: str) -> None:
    config: SweepConfig = load(name)
    assert config.trials <= 16
    assert config.parallel == 2
    assert config.execution.cloud == "local"
    assert config.sweep.fixed["device"] == "cpu"


def test_the_simple_and_the_complex_sweep_have_four_and_ten_parameters() -> None:
    assert len(load("protein_simple").sweep.tuned) == 4
    assert len(load("protein_complex").sweep.tuned) == 10


@pytest.mark.parametrize("name", HARDWARE)
def test_hardware_files_hold_values_for_trials_and_resources(name: str) -> None:
    node = read(shipped_configs() / "hardware" / f"{name}.yaml").node
    assert node is not None
    known = {option.key.split(".")[0] for option in parse.options()}
    assert set(node.entries) <= known | set(LAUNCHER_KEYS)
