import os
import signal
import socket
import subprocess
import sys

import pytest

from tests.trainer.training import config
from trainer.errors import ConfigError
from trainer.processes import (
    count_processes,
    exit_code,
    places,
    rank_variables,
    run_processes,
    wait_for,
)
from trainer.ranks import LISTENING, Place
from trainer.signals import PARENT


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


def test_ranks_of_one_machine_meet_at_a_port_that_is_theirs_already():
    with socket.create_server(("127.0.0.1", 0)) as here:
        first, second = (rank_variables(place, Place(), here) for place in places(2, Place()))
        assert int(first["MASTER_PORT"]) == here.getsockname()[1]
        assert first.pop(LISTENING) == str(here.fileno())
    assert first["MASTER_PORT"] == second["MASTER_PORT"]
    assert (second["RANK"], second["WORLD_SIZE"], second["LOCAL_RANK"]) == ("1", "2", "1")
    assert second[PARENT] == str(os.getpid())
    assert LISTENING not in second


def test_several_machines_must_be_told_where_to_meet(monkeypatch):
    monkeypatch.setenv("NUM_NODES", "2")
    monkeypatch.delenv("MASTER_PORT", raising=False)
    with pytest.raises(ConfigError, match="MASTER_PORT"):
        run_processes(2, [], stop=lambda: "")


@pytest.mark.parametrize(
    ("codes", "together"),
    [
        ([0, 0], 0),
        ([75, 75], 75),
        ([75, 3], 3),
        ([75, -9], 1),
        ([2, 75], 2),
        ([0, 75], 75),
        ([2, 1], 2),
        ([-15, 75], 75),
    ],
)
def test_who_failed_first_says_more_than_who_lost_it(codes, together):
    assert exit_code(codes) == together


def program(code):
    return subprocess.Popen([sys.executable, "-c", code])


def test_where_one_rank_fails_the_others_are_asked_to_go():
    """They may wait for it at the start, where nothing else would tell them."""
    waiting, failing = program("import time; time.sleep(1000)"), program("raise SystemExit(2)")
    assert wait_for([waiting, failing], lambda: "") == [2, -signal.SIGTERM]


def test_a_rank_that_hears_nothing_is_not_waited_for():
    """A stopped process hears SIGTERM only when it goes on."""
    deaf, failing = program("import time; time.sleep(1000)"), program("raise SystemExit(75)")
    deaf.send_signal(signal.SIGSTOP)
    assert wait_for([deaf, failing], lambda: "", grace_seconds=0.1) == [75]
    deaf.kill()
    deaf.wait()


def test_a_wish_to_stop_is_passed_on():
    assert wait_for([program("import time; time.sleep(1000)")], lambda: "SIGINT") == [-15]
