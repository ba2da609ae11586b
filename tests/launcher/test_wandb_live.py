"""The real service, by choice only: it needs an account and leaves a run in its project.

    WANDB_API_KEY=… PROTEIN_SKY_LIVE_WANDB=my-scratch-project \\
        python -m pytest tests/launcher/test_wandb_live.py -m slow
"""

import os
import time
from pathlib import Path

import pytest

from launcher.folder import SweepFolder
from launcher.ports import Run
from launcher.wandb.access import check_access
from launcher.wandb.curves import sources_elsewhere
from launcher.wandb.metrics import from_api
from launcher.wandb.sweep_page import FILE
from launcher.wandb.sync import sync
from tests.launcher.builders import a_config
from tests.launcher.waiting import eventually
from tests.launcher.wandb_programs import RUN_ID, run_trial

PROJECT = os.environ.get("PROTEIN_SKY_LIVE_WANDB", "")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not PROJECT, reason="PROTEIN_SKY_LIVE_WANDB names no project"),
]


def test_the_key_is_accepted() -> None:
    assert check_access() == ""


def test_a_run_made_offline_arrives_and_is_read_back(tmp_path: Path) -> None:
    place = {"WANDB_MODE": "offline", "WANDB_PROJECT": PROJECT}
    run_trial(tmp_path, place, values=(0.25, 0.75), wandb_sweep_id=None)
    (tmp_path / FILE).write_text('{"wandb_sweep_id": "none"}')  # leave no sweep behind
    report = sync(SweepFolder(tmp_path), a_config(), "abc123")
    assert (len(report.uploaded), report.failed) == (1, ())
    config = a_config(wandb={"project": PROJECT, "mode": "online"})
    fetch = from_api(config)
    deadline = time.monotonic() + 300  # a summary may be minutes late
    while time.monotonic() < deadline:
        found = fetch([RUN_ID]).get(RUN_ID)
        if found is not None and found.summary.get("reward") == 0.75:
            assert found.config["protein"]["attempt"] == 1
            break
        time.sleep(15)
    else:
        pytest.fail("the summary did not arrive within five minutes")
    (source,) = sources_elsewhere(config, time.time)
    runs = [Run(RUN_ID, tmp_path, 1), Run("a run that is not there", tmp_path, 1)]
    curve = eventually(
        lambda: source.read(runs, metric="reward", resource="step")[RUN_ID], seconds=180
    )
    assert [value for _, value in curve] == [0.25, 0.75]
