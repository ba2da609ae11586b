import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protein.compress import merge, spread_by_rank


def some(n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(n)
    return rng.random((n, 3)), rng.standard_normal(n), rng.random(n)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 400), st.integers(10, 200))
def test_no_observation_is_forgotten(n: int, limit: int) -> None:
    X, y, doubt = some(n)
    rows = merge(X, y, X, limit=limit, doubt=doubt)
    assert len(rows.y) <= max(limit, 1)
    assert rows.weight.sum() == n
    assert rows.weight @ rows.y == pytest.approx(y.sum())
    assert rows.weight @ rows.X == pytest.approx(X.sum(axis=0))
    assert rows.weight**2 @ rows.doubt == pytest.approx(doubt.sum())


def test_the_best_rows_stay_as_they_are() -> None:
    X, y, doubt = some(300)
    rows = merge(X, y, X, limit=100, doubt=doubt)
    best = np.sort(y)[-40:]
    assert set(best) <= set(rows.y)
    assert rows.weight[np.isin(rows.y, best)] == pytest.approx(1.0)


def test_merged_rows_are_neighbours() -> None:
    X = np.repeat([[0.0], [1.0]], 100, axis=0)
    rows = merge(X, np.tile(np.arange(100.0), 2), X, limit=50)
    assert set(rows.X[:, 0]) == {0.0, 1.0}


def test_hyperparameters_see_the_best_and_all_ranks() -> None:
    y = np.arange(900.0)
    chosen = y[spread_by_rank(y, 90)]
    assert len(chosen) == 90
    assert chosen[-30:].tolist() == list(range(870, 900))
    assert chosen[0] == 0.0
    assert np.diff(chosen).max() < 20
