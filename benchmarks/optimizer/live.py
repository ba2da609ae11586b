"""Real training while the benchmark runs: scikit-learn's models on the data that come with it.

A score is that of held-out data, a truth that of test data, so that the noise is that of real
validation; the test data are always the same, the seed divides the rest. Trials fail where
scikit-learn refuses a combination or a network diverges. Costs are counted, not timed
(multiplications, to a factor), so that a sweep is the same on any machine.
"""

import functools
import math
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from benchmarks.optimizer.problem import Params, Problem, Trial

Arrays = tuple[np.ndarray, np.ndarray]

NETWORK = {
    "epochs": {"distribution": "uniform_pow2", "min": 1, "max": 16},
    "width": {"distribution": "uniform_pow2", "min": 4, "max": 64},
    "batch_size": {"distribution": "uniform_pow2", "min": 16, "max": 256},
    "learning_rate": {"distribution": "log_normal", "min": 1e-4, "max": 10.0},
    "momentum": {"distribution": "logit_normal", "min": 0.1, "max": 0.99},
    "decay": {"distribution": "log_normal", "min": 1e-7, "max": 1.0},
    "activation": {"values": ["relu", "tanh", "logistic"]},
}

VECTORS = {
    "model": {"values": ["linear", "polynomial", "radial", "sigmoid"]},
    "C": {"distribution": "log_normal", "min": 1e-4, "max": 1e4},
    "components": {"distribution": "int_uniform", "min": 2, "max": 40},
    "scaled": {"values": [True, False]},
    "penalty": {"values": ["l1", "l2"], "when": {"model": ["linear"]}},
    "loss": {"values": ["hinge", "squared_hinge"], "when": {"model": ["linear"]}},
    "dual": {"values": [True, False], "when": {"model": ["linear"]}},
    "gamma": {
        "distribution": "log_normal",
        "min": 1e-6,
        "max": 1e1,
        "when": {"model": ["polynomial", "radial", "sigmoid"]},
    },
    "degree": {
        "distribution": "int_uniform",
        "min": 2,
        "max": 5,
        "when": {"model": ["polynomial"]},
    },
}

TREES = {
    "trees": {"distribution": "uniform_pow2", "min": 4, "max": 64},
    "learning_rate": {"distribution": "log_normal", "min": 1e-3, "max": 1.0},
    "depth": {"distribution": "int_uniform", "min": 1, "max": 8},
    "leaf": {"distribution": "int_uniform", "min": 1, "max": 40},
    "rows": {"min": 0.2, "max": 1.0},
    "columns": {"min": 0.1, "max": 1.0},
    "loss": {"values": ["squared_error", "absolute_error", "huber"]},
}


def network(p: Params, rows: int) -> tuple[Any, float]:
    from sklearn.neural_network import MLPClassifier

    model = MLPClassifier(
        (p["width"],),
        activation=p["activation"],
        solver="sgd",
        alpha=p["decay"],
        batch_size=p["batch_size"],
        learning_rate_init=p["learning_rate"],
        momentum=p["momentum"],
        max_iter=p["epochs"],
        random_state=0,
    )
    return model, p["epochs"] * p["width"] * rows * (1 + 32 / p["batch_size"])


def vectors(p: Params, rows: int) -> tuple[Any, float]:
    from sklearn.decomposition import PCA
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC, LinearSVC

    if p["model"] == "linear":
        machine = LinearSVC(
            C=p["C"], penalty=p["penalty"], loss=p["loss"], dual=p["dual"], random_state=0,
            max_iter=300,
        )  # fmt: skip
        work = 300.0 * rows
    else:
        kernel = {"polynomial": "poly", "radial": "rbf", "sigmoid": "sigmoid"}[p["model"]]
        machine = SVC(
            C=p["C"], kernel=kernel, gamma=p["gamma"], degree=p.get("degree", 3), max_iter=3000
        )
        work = float(rows * rows)
    first = [StandardScaler()] if p["scaled"] else []
    return make_pipeline(*first, PCA(p["components"], random_state=0), machine), (
        work * p["components"]
    )


def trees(p: Params, rows: int) -> tuple[Any, float]:
    from sklearn.ensemble import GradientBoostingRegressor

    model = GradientBoostingRegressor(
        n_estimators=p["trees"],
        learning_rate=p["learning_rate"],
        max_depth=p["depth"],
        min_samples_leaf=p["leaf"],
        subsample=p["rows"],
        max_features=p["columns"],
        loss=p["loss"],
        random_state=0,
    )
    return model, p["trees"] * p["depth"] * p["rows"] * p["columns"] * rows


@functools.lru_cache(maxsize=8)
def split(data: str, seed: int) -> tuple[Arrays, Arrays, Arrays]:
    """Give what is trained on, validated on (both small, as noise is wanted) and tested on."""
    import sklearn.datasets

    x, y = getattr(sklearn.datasets, f"load_{data}")(return_X_y=True)
    learned, test_part = np.array_split(np.random.default_rng(43).permutation(len(y)), 2)
    order = np.random.default_rng([seed, 43]).permutation(learned)
    parts = (*np.split(order, [2 * len(order) // 3]), test_part)
    train, valid, test = ((x[part], y[part]) for part in parts)
    return train, valid, test


def _problem(name: str, data: str, seed: int, space: Any, build: Any, ends: Any) -> Problem:
    @functools.cache
    def trained(key: tuple[tuple[str, Any], ...]) -> tuple[float, float, float]:
        """Give the scores on validation and test data, NaN where the trial fails, and the cost."""
        train, valid, test = split(data, seed)
        model, cost = build(dict(key), len(train[1]))
        try:
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                model.fit(*train)
        except ValueError:  # a combination that is refused, a network that diverged
            return math.nan, math.nan, cost
        return model.score(*valid), model.score(*test), cost

    def draw(p: Params, _: np.random.Generator) -> Trial:
        score, _test, cost = trained(tuple(p.items()))
        return Trial(None if math.isnan(score) else score, cost)

    def truth(p: Params) -> float:
        return trained(tuple(p.items()))[1]

    best, typical = ends
    return Problem(f"live-{name}", "live", space, truth, best, typical, draw=draw)


ENDS = {  # best test score seen in any sweep, median of random trainings; scikit-learn 1.9.1
    "network": (0.965, 0.13),
    "vectors": (0.980, 0.31),
    "trees": (0.500, 0.13),
}
PLAN: dict[str, tuple[str, dict[str, Any], Callable[[Params, int], tuple[Any, float]]]] = {
    "network": ("digits", NETWORK, network),
    "vectors": ("digits", VECTORS, vectors),
    "trees": ("diabetes", TREES, trees),
}


def live(seed: int) -> Iterator[Problem]:
    """A network, support vector machines and boosted trees."""
    for name, (data, space, build) in PLAN.items():
        yield _problem(name, data, seed, space, build, ENDS[name])
