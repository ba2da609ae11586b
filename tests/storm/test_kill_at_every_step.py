"""A coordinator killed at any step, whichever it is, leaves a sweep that ends as if it had not."""

from pathlib import Path

import pytest

from launcher.optimizer import Ask, ask
from tests.launcher.builders import a_config
from tests.storm.lab import (
    Lab,
    Points,
    check_nothing_lost,
    fast_folder,
    finish,
    kill_at,
    params_of,
    random_ask,
)

pytestmark = pytest.mark.storm


def undisturbed(path: Path, ask: Ask, trials: int) -> tuple[list[dict[str, object]], list[str]]:
    """Return the parameters of a sweep that nobody kills, and the steps that it takes."""
    lab, points = Lab(path, a_config(trials=trials), ask=ask), Points()
    lab.coordinate(points)
    return params_of(check_nothing_lost(lab, trials=trials)), points.seen


def killed_and_resumed(path: Path, ask: Ask, trials: int, step: int) -> list[dict[str, object]]:
    """Kill a sweep's coordinator at a step, start another, and return the parameters."""
    lab = Lab(path, a_config(trials=trials), ask=ask)
    assert kill_at(lab, step)
    finish(lab)
    return params_of(check_nothing_lost(lab, trials=trials))


@pytest.mark.timeout(1800)
def test_a_sweep_killed_at_any_step_ends_as_if_it_had_not_been() -> None:
    with fast_folder() as folder:
        wanted, steps = undisturbed(folder / "undisturbed", random_ask, 20)
        for kind in (
            "BEGIN",
            "INSERT",
            "COMMIT",
            "committed",
            "submit",
            "poll",
            "names",
            "snapshot",
        ):
            assert any(kind in step for step in steps)
        for step in range(1, len(steps) + 1):
            with fast_folder() as place:
                assert killed_and_resumed(place, random_ask, 20, step) == wanted, steps[step - 1]


@pytest.mark.timeout(1800)
def test_the_optimizer_suggests_the_same_after_a_kill() -> None:
    with fast_folder() as folder:
        wanted, steps = undisturbed(folder / "undisturbed", ask, 5)
        at = [n for n, step in enumerate(steps, 1) if step == "COMMIT" or "submit" in step]
        for step in at:
            with fast_folder() as place:
                assert killed_and_resumed(place, ask, 5, step) == wanted, steps[step - 1]
