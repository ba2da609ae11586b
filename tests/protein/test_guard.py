"""The optimizer is not worse than it was when these figures were recorded (2026-11-22).

`python -m benchmarks.optimizer guard` prints them: regret after 25 trials as a share of that of
random search, over all families of problems. Half a tenth to a tenth is chance.
"""

import pytest

guard = pytest.importorskip("benchmarks.optimizer.guard", reason="not in an installed package")

RECORDED = {1: 0.51, 8: 0.82}
CHANCE = 0.10


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 8])
def test_the_optimizer_is_as_good_as_recorded(workers: int) -> None:
    assert guard.ratio_to_random(workers) <= RECORDED[workers] + CHANCE
