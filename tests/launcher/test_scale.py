"""A thousand trials at once, with the sweeps of the scale benchmark."""

from pathlib import Path

import pytest

from launcher import reading
from launcher.folder import SweepFolder

scale = pytest.importorskip("benchmarks.scale.sweeps", reason="not in an installed package")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_thousand_trials_are_in_flight_at_once(tmp_path: Path) -> None:
    scale.in_flight(tmp_path / "wide", 1000)
    state = reading.read(SweepFolder(tmp_path / "wide"))
    attempts = [trial.attempts[0] for trial in state.ordered]
    assert len(attempts) == 1000
    assert max(a.started_at or 0.0 for a in attempts) < min(a.ended_at or 0.0 for a in attempts)
