import numpy as np
import pytest
import torch

from tests.trainer.training import config
from trainer.checkpoint import Checkpoints, check_same
from trainer.errors import ConfigError
from trainer.parse import as_mapping

STATE = {
    "numbers": np.arange(3),
    "flags": np.array([True, False]),
    "weights": torch.ones(2),
    "big": 2**100,
    "nested": [{"name": "x", "none": None}, 1.5],
    "scalar": np.float64(2.5),
}


def test_everything_comes_back(tmp_path):
    checkpoints = Checkpoints(tmp_path / "new", keep=2)
    checkpoints.save(7, STATE)
    loaded = checkpoints.load()
    np.testing.assert_array_equal(loaded["numbers"], [0, 1, 2])
    assert loaded["numbers"].dtype == STATE["numbers"].dtype
    assert loaded["weights"].equal(torch.ones(2))
    assert {k: loaded[k] for k in ("big", "nested", "scalar")} == {
        "big": 2**100,
        "nested": [{"name": "x", "none": None}, 1.5],
        "scalar": 2.5,
    }


def test_the_newest_are_kept_and_loaded(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=2)
    for step in (10, 20, 100):
        checkpoints.save(step, {"step": step})
    assert [file.name[-6:-3] for file in sorted(tmp_path.iterdir())] == ["020", "100"]
    assert checkpoints.load() == {"step": 100}


def test_what_a_kill_left_half_written_goes_with_the_next_checkpoint(tmp_path):
    (tmp_path / ".checkpoint-000000000000010.pt.4711").write_bytes(b"half")
    Checkpoints(tmp_path, keep=2).save(20, {})
    assert [file.name for file in tmp_path.iterdir()] == ["checkpoint-000000000000020.pt"]


def test_a_damaged_file_leaves_the_one_before(tmp_path, capsys):
    checkpoints = Checkpoints(tmp_path, keep=2)
    checkpoints.save(10, {"step": 10})
    checkpoints.save(20, {"step": 20})
    newest = max(tmp_path.iterdir())
    newest.write_bytes(newest.read_bytes()[:50])
    assert checkpoints.load() == {"step": 10}
    assert "damaged" in capsys.readouterr().err


def test_without_files_there_is_nothing_to_load(tmp_path):
    assert Checkpoints(tmp_path / "none", keep=1).load() is None


def test_a_file_that_would_run_code_is_not_loaded(tmp_path, capsys):
    torch.save({"x": print}, tmp_path / "checkpoint-1.pt")
    assert Checkpoints(tmp_path, keep=1).load() is None


def test_a_checkpoint_of_other_parameters_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"trainer\.gamma: 0\.5 there, 0\.9 here"):
        check_same(
            as_mapping(config("trainer.gamma=0.5")),
            as_mapping(config("trainer.gamma=0.9")),
            tmp_path,
        )


def test_a_run_may_go_on_for_longer_and_with_other_ranks(tmp_path):
    check_same(
        as_mapping(config()),
        as_mapping(config("trainer.total_timesteps=5", "num_processes=4", "run=x")),
        tmp_path,
    )
