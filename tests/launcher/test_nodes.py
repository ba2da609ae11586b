"""One command on each machine: a sweep whose nodes the user starts by hand."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

SWEEP = """
name: pair
trials: 2
parallel: 1
sweep:
  metric: score
  goal: maximize
  parameters:
    x: {min: 0.0, max: 1.0}
task:
  run: |
    cd "$PROTEIN_RUN_DIR"
    echo $(( NODE_INDEX + 1 )) > "node-$NODE_INDEX"
    until [ -s node-0 ] && [ -s node-1 ]; do sleep 0.05; done
    [ $NODE_INDEX = 1 ] || echo "PROTEIN_RESULT {\\"score\\": $(( $(cat node-0) + $(cat node-1) ))}"
"""


def start(folder: Path, *, node: int, nodes: int = 2) -> subprocess.Popen[str]:
    file = folder / "pair.yaml"
    if not file.exists():  # or the other node may be reading it
        file.write_text(SWEEP)
    root = str(Path(__file__).parents[2])
    place = {"NODE_INDEX": str(node), "NUM_NODES": str(nodes), "MASTER_ADDR": "127.0.0.1"}
    return subprocess.Popen(
        [sys.executable, "-m", "launcher", "launch", "pair.yaml"],
        cwd=folder,
        env={**os.environ, **place, "PYTHONPATH": root},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_workers_wait_for_node_0_and_leave_with_it(tmp_path: Path) -> None:
    worker = start(tmp_path, node=1)
    assert worker.stdout is not None
    assert "waiting for node 0" in worker.stdout.readline()
    first = start(tmp_path, node=0)
    said, _ = first.communicate()
    assert first.returncode == 0, said
    told, _ = worker.communicate()
    assert worker.returncode == 0, told
    assert "node 0 has left" in told
    results = [
        json.loads(f.read_text()) for f in tmp_path.glob("train_dir/sweep/pair/runs/*/node-*")
    ]
    assert sorted(results) == [1, 1, 2, 2]
    assert said.count("score 3") >= 2


def test_a_worker_that_is_told_to_go_goes(tmp_path: Path) -> None:
    worker = start(tmp_path, node=1)
    assert worker.stdout is not None
    worker.stdout.readline()
    worker.send_signal(signal.SIGTERM)
    worker.communicate()
    assert worker.returncode == 130


@pytest.mark.parametrize(("node", "nodes"), [(2, 2), (1, 1)])
def test_a_node_that_there_is_not_is_refused(tmp_path: Path, node: int, nodes: int) -> None:
    refused = start(tmp_path, node=node, nodes=nodes)
    said, _ = refused.communicate()
    assert refused.returncode == 2
    assert said.startswith("error: NODE_INDEX")
    assert not (tmp_path / "train_dir").exists()


def test_a_sweep_of_pairs_does_not_go_on_with_three(tmp_path: Path) -> None:
    pair = [start(tmp_path, node=node) for node in range(2)]
    for one in pair:
        one.communicate()
    refused = start(tmp_path, node=0, nodes=3)
    said, _ = refused.communicate()
    assert refused.returncode == 2
    assert "task.num_nodes" in said
