import pytest

from tests.trainer.training import config
from trainer.errors import ConfigError
from trainer.processes import count_processes, exit_code, places, rank_variables
from trainer.ranks import Place


def test_on_the_cpu_one_process_is_enough():
    assert count_processes(config("device=cpu"), {}) == 1


@pytest.mark.parametrize(("num_gpus", "count"), [("", 4), ("2", 2), ("8", 4), ("0", 1)])
def test_each_gpu_gets_a_rank_unless_fewer_are_allowed(monkeypatch, num_gpus, count):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 4)
    environment = {"NUM_GPUS": num_gpus}
    assert count_processes(config("device=cuda"), environment) == count
    assert count_processes(config("device=cpu"), environment) == 1


def test_the_config_may_ask_for_more():
    assert count_processes(config("device=cpu", "num_processes=3"), {}) == 3


def test_ranks_that_torchrun_started_start_no_others():
    assert count_processes(config("num_processes=3"), {"WORLD_SIZE": "3"}) == 1


def test_machines_number_their_ranks_one_after_the_other():
    assert places(2, Place(1, 3)) == [Place(2, 6, 0), Place(3, 6, 1)]


def test_ranks_of_one_machine_find_a_port_of_their_own(monkeypatch):
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    monkeypatch.delenv("MASTER_PORT", raising=False)
    first, second = rank_variables(places(2, Place()), Place())
    assert first["MASTER_PORT"] == second["MASTER_PORT"]
    assert (second["RANK"], second["WORLD_SIZE"], second["LOCAL_RANK"]) == ("1", "2", "1")


def test_several_machines_must_be_told_where_to_meet(monkeypatch):
    monkeypatch.delenv("MASTER_PORT", raising=False)
    with pytest.raises(ConfigError, match="MASTER_PORT"):
        rank_variables(places(2, Place(0, 2)), Place(0, 2))


@pytest.mark.parametrize(
    ("codes", "together"),
    [
        ([0, 0], 0),
        ([75, 75], 75),
        ([75, 3], 3),
        ([75, -9], 1),
        ([2, 75], 2),
        ([0, 75], 75),
    ],
)
def test_who_failed_says_more_than_who_lost_it(codes, together):
    assert exit_code(codes) == together
