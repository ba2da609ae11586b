"""Families that the optimizer was never tuned on: functions in the kind of BBOB, live training."""

import math
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from typing import Any

import numpy as np
from scipy.stats import special_ortho_group

from benchmarks.optimizer.problem import Params, Problem
from protein import Space

_TURNED: dict[str, Callable[[np.ndarray], float]] = {  # minimum 0 at 0, box of half width 5
    "bent-cigar": lambda z: float(z[0] ** 2 + 1e6 * (z[1:] ** 2).sum()),
    "discus": lambda z: float(1e6 * z[0] ** 2 + (z[1:] ** 2).sum()),
    "sharp-ridge": lambda z: float(z[0] ** 2 + 100 * math.sqrt(float((z[1:] ** 2).sum()))),
    "powers": lambda z: float((np.abs(z) ** np.linspace(2, 6, len(z))).sum() ** 0.5),
    "schaffers": lambda z: _schaffers(z),
    "griewank": lambda z: _griewank(z),
}


def _schaffers(z: np.ndarray) -> float:
    s = np.sqrt(z[:-1] ** 2 + z[1:] ** 2)
    return float((np.sqrt(s) * (1 + np.sin(50 * s**0.2) ** 2)).mean() ** 2)


def _griewank(z: np.ndarray) -> float:
    waves = np.cos(z / np.sqrt(np.arange(1, len(z) + 1)))
    return float(1 + (z * z).sum() / 40 - waves.prod())


def bbob(seed: int) -> Iterator[Problem]:
    """Rotated, ill-conditioned, ridged and rugged functions, shifted by their seed."""
    for index, (name, function) in enumerate(_TURNED.items()):
        d = (3, 5, 8)[index % 3]
        rng = np.random.default_rng([seed, 41, index])
        center, turn = rng.uniform(-3.5, 3.5, d), special_ortho_group.rvs(d, random_state=rng)
        space = {f"x{i}": {"min": -5.0, "max": 5.0} for i in range(d)}

        def truth(p: Params, f: Any = function, c: Any = center, t: Any = turn) -> float:
            return -f(t @ (np.array(list(p.values())) - c))

        typical = float(np.median([truth(_drawn(space, rng)) for _ in range(500)]))
        yield Problem(f"{name}{d}", "bbob", space, truth, 0.0, typical)


def live(seed: int) -> Iterator[Problem]:
    """Classifiers of scikit-learn, trained on half of a data set and scored on the other half.

    Mixed and conditional parameters. Cost is a count of the work (support vectors times kernel,
    weights times epochs), so that it is the same on every machine. The best is that of 150 random
    trials and 50 steps from their best: regret cannot fall below 0.
    """
    for name, space, build, cost in (_vectors(), _network()):
        truth = _accuracy(name, build, seed)
        rng = np.random.default_rng([seed, 43])
        drawn = [_drawn(space, rng) for _ in range(150)]
        scores = [truth(p) for p in drawn]
        best = _climbed(space, truth, drawn[int(np.argmax(scores))], rng)
        typical = float(np.median(scores))
        yield Problem(name, "live", space, truth, best, typical, cost=cost)


def _drawn(space: dict[str, Any], rng: np.random.Generator) -> Params:
    cube = Space.from_dict(space)
    return cube.from_unit(tuple(rng.random(len(cube.names))))


def _climbed(space: dict[str, Any], truth: Any, start: Params, rng: np.random.Generator) -> float:
    cube = Space.from_dict(space)
    u, best = np.array(cube.to_unit(start)), truth(start)
    for _ in range(50):
        moved = np.clip(u + 0.1 * rng.standard_normal(len(u)) * (rng.random(len(u)) < 0.4), 0, 1)
        if (score := truth(cube.from_unit(tuple(moved)))) > best:
            u, best = moved, score
    return float(best)


def _accuracy(name: str, build: Any, seed: int) -> Callable[[Params], float]:
    from sklearn.datasets import load_breast_cancer, load_digits
    from sklearn.preprocessing import StandardScaler

    X, y = (load_digits if name == "svm-digits" else load_breast_cancer)(return_X_y=True)
    chosen = np.random.default_rng([seed, 47]).permutation(len(X))[:400]
    X, y = StandardScaler().fit_transform(X[chosen]), y[chosen]

    @cache
    def score(items: tuple[tuple[str, Any], ...]) -> float:
        """Negative log loss: finer than accuracy, and diverging where probabilities are sure."""
        model = build(dict(items)).fit(X[:200], y[:200])
        p = np.clip(model.predict_proba(X[200:]), 1e-4, 1.0)
        index = np.searchsorted(model.classes_, y[200:])
        return float(np.log(p[np.arange(200), index]).mean())

    return lambda params: score(tuple(sorted(params.items())))


def _vectors() -> tuple[str, dict[str, Any], Any, Any]:
    space = {
        "C": {"distribution": "log_normal", "min": 1e-3, "max": 1e3},
        "gamma": {"distribution": "log_normal", "min": 1e-5, "max": 1.0},
        "kernel": {"values": ["rbf", "linear", "poly", "sigmoid"]},
        "degree": {
            "distribution": "int_uniform", "min": 2, "max": 5, "when": {"kernel": ["poly"]},
        },
        "coef0": {"min": -1.0, "max": 1.0, "when": {"kernel": ["poly", "sigmoid"]}},
    }  # fmt: skip

    def build(p: dict[str, Any]) -> Any:
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.svm import SVC

        vectors = SVC(**p, max_iter=2000)
        return _Stacked(vectors, make_pipeline(LogisticRegression(max_iter=200)))

    return "svm-digits", space, build, lambda p: 1.0 + math.log10(p["C"] * 1e3)


class _Stacked:
    """Decisions of a support vector machine made into probabilities, without its random folds."""

    def __init__(self, vectors: Any, on_top: Any) -> None:
        self.vectors, self.on_top = vectors, on_top

    def fit(self, X: np.ndarray, y: np.ndarray) -> "_Stacked":
        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.on_top.fit(self.vectors.fit(X, y).decision_function(X), y)
        self.classes_ = self.vectors.classes_
        return self

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        p: np.ndarray = self.on_top.predict_proba(self.vectors.decision_function(X))
        return p


def _network() -> tuple[str, dict[str, Any], Any, Any]:
    space = {
        "alpha": {"distribution": "log_normal", "min": 1e-6, "max": 10.0},
        "rate": {"distribution": "log_normal", "min": 1e-5, "max": 1.0},
        "width": {"distribution": "uniform_pow2", "min": 2, "max": 32},
        "epochs": {"distribution": "int_uniform", "min": 1, "max": 12},
        "batch": {"distribution": "uniform_pow2", "min": 16, "max": 128},
        "solver": {"values": ["adam", "sgd"]},
        "momentum": {"min": 0.0, "max": 0.99, "when": {"solver": ["sgd"]}},
    }

    def build(p: dict[str, Any]) -> Any:
        from sklearn.neural_network import MLPClassifier

        return _Quiet(
            MLPClassifier(
                (p["width"],),
                alpha=p["alpha"],
                learning_rate_init=p["rate"],
                max_iter=p["epochs"],
                batch_size=p["batch"],
                solver=p["solver"],
                momentum=p.get("momentum", 0.9),
                random_state=0,
            )
        )

    return "mlp-cancer", space, build, lambda p: p["epochs"] * (8 + p["width"]) / 16


class _Quiet:
    """A network that does not complain of its few epochs, and says nothing where it diverged."""

    def __init__(self, network: Any) -> None:
        self.network = network

    def fit(self, X: np.ndarray, y: np.ndarray) -> "_Quiet":
        import warnings

        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            with suppress(ValueError):  # weights that are no longer finite: no better than guesses
                self.network.fit(X, y)
        self.classes_ = np.unique(y)
        return self

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        p = np.full((len(X), len(self.classes_)), 1e-4)
        with np.errstate(all="ignore"), suppress(ValueError):
            p = np.asarray(self.network.predict_proba(X))
        return np.nan_to_num(p, nan=1e-4)


MORE: dict[str, Callable[[int], Iterator[Problem]]] = {"bbob": bbob, "live": live}
