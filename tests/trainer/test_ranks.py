import socket
import subprocess
import sys

import pytest
import torch
import torch.distributed as dist

from tests.trainer.training import ROOT
from trainer.errors import ConfigError, InterruptedRunError, LostRanksError, TrainerError
from trainer.ranks import Place, Ranks, find_place, interface_towards, meeting_point


@pytest.mark.parametrize(
    ("environment", "place"),
    [
        ({}, Place(0, 1, 0)),
        ({"NODE_INDEX": "1", "NUM_NODES": "3"}, Place(1, 3, 0)),
        ({"NODE_INDEX": "", "NUM_NODES": ""}, Place(0, 1, 0)),
        (
            {
                "RANK": "5",
                "WORLD_SIZE": "8",
                "LOCAL_RANK": "1",
                "NODE_INDEX": "2",
                "NUM_NODES": "4",
            },
            Place(5, 8, 1),
        ),
    ],
)
def test_torchrun_goes_before_the_nodes_own_numbers(environment, place):
    assert find_place(environment) == place


@pytest.mark.parametrize("environment", [{"NODE_INDEX": "2", "NUM_NODES": "2"}, {"NUM_NODES": "x"}])
def test_an_impossible_place_is_a_config_error(environment):
    with pytest.raises(ConfigError, match="NODE_INDEX"):
        find_place(environment)


@pytest.mark.parametrize(
    ("host", "port"), [("", "29501"), ("10.0.0.1", ""), ("a", "b"), ("a", "0"), ("a", "65536")]
)
def test_ranks_need_to_know_where_to_meet(host, port):
    with pytest.raises(ConfigError, match="MASTER_ADDR"):
        meeting_point({"MASTER_ADDR": host, "MASTER_PORT": port})
    assert meeting_point({"MASTER_ADDR": "a", "MASTER_PORT": "29501"}) == ("a", 29501)


@pytest.mark.parametrize("rank", [0, 1])
def test_a_rank_that_waits_for_others_hears_a_signal(rank, monkeypatch, port):
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", str(port))
    with pytest.raises(InterruptedRunError, match="SIGTERM before all ranks were there"):
        Ranks(Place(rank, 2), run_id="x", device=torch.device("cpu"), stop=lambda: "SIGTERM")


def test_a_port_that_is_taken_is_no_fault_of_the_run(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
        monkeypatch.setenv("MASTER_PORT", str(taken.getsockname()[1]))
        with pytest.raises(LostRanksError, match="rank 0 of 2"):
            Ranks(Place(0, 2), run_id="x", device=torch.device("cpu"))


def test_ranks_of_different_runs_leave_the_group_before_they_say_so(monkeypatch, port):
    """The other rank's interpreter must not end with threads of the group at work: it aborts."""
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", str(port))
    code = (
        "import torch\n"
        "from trainer.ranks import Place, Ranks\n"
        "Ranks(Place(1, 2), run_id='other', device=torch.device('cpu'))"
    )
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stderr=subprocess.PIPE) as other:
        with pytest.raises(TrainerError, match="one, other"):
            Ranks(Place(0, 2), run_id="one", device=torch.device("cpu"))
        assert not dist.is_initialized()
        assert b"one, other" in other.communicate()[1]
    assert other.returncode == 1


def test_alone_sums_are_what_they_were():
    alone = Ranks(Place(), run_id="x", device=torch.device("cpu"))
    x = torch.tensor([1.0, 2.0, 6.0])
    assert alone.sum_(x) is x
    mean, deviation = alone.mean_and_deviation(x)
    assert (mean, deviation) == (x.mean(), x.std())
    assert alone.from_first("a") == "a"
    alone.close()


def test_one_number_has_no_deviation():
    alone = Ranks(Place(), run_id="x", device=torch.device("cpu"))
    assert alone.mean_and_deviation(torch.tensor([3.0])) == (3.0, 0.0)


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux")
def test_the_way_to_oneself_is_the_loopback():
    assert interface_towards("127.0.0.1") == "lo"
    assert interface_towards("no.such.host.invalid") is None
