"""Functions of the literature where their authors put them, and paths of Gaussian processes.

Nothing was tuned on them. Unlike the other families, their optima are where they are: at the end of
a range (Michalewicz, many paths) as well as in the middle (the cosine mixture).
"""

import math
from collections.abc import Callable, Iterator

import numpy as np
from scipy.optimize import minimize

from benchmarks.optimizer.problem import Params, Problem

Row = np.ndarray
Box = tuple[tuple[float, float], ...]


def branin(x: Row) -> float:
    a, b = x
    parabola = b - 5.1 / (4 * math.pi**2) * a * a + 5 / math.pi * a - 6
    return float(parabola**2 + 10 * (1 - 1 / (8 * math.pi)) * math.cos(a) + 10)


def goldstein_price(x: Row) -> float:
    """Its logarithm, as it spans six orders of magnitude."""
    a, b = x
    first = 19 - 14 * a + 3 * a * a - 14 * b + 6 * a * b + 3 * b * b
    second = 18 - 32 * a + 12 * a * a + 48 * b - 36 * a * b + 27 * b * b
    return math.log((1 + (a + b + 1) ** 2 * first) * (30 + (2 * a - 3 * b) ** 2 * second))


def camel(x: Row) -> float:
    a, b = x
    return float((4 - 2.1 * a * a + a**4 / 3) * a * a + a * b + (-4 + 4 * b * b) * b * b)


def hartmann3(x: Row) -> float:
    A = np.array([[3, 10, 30], [0.1, 10, 35], [3, 10, 30], [0.1, 10, 35]])
    P = 1e-4 * np.array(
        [[3689, 1170, 2673], [4699, 4387, 7470], [1091, 8732, 5547], [381, 5743, 8828]]
    )
    return -float(np.array([1, 1.2, 3, 3.2]) @ np.exp(-(A * (x - P) ** 2).sum(axis=1)))


def shekel(x: Row) -> float:
    columns = ([4, 1, 8, 6, 3, 2, 5, 8, 6, 7], [4, 1, 8, 6, 7, 9, 5, 1, 2, 3.6])
    centers = np.array([*columns, *columns]).T
    centers[6] = 5, 5, 3, 3
    widths = 0.1 * np.array([1, 2, 2, 4, 4, 6, 3, 7, 5, 5])
    return -float((1 / (((x - centers) ** 2).sum(axis=1) + widths)).sum())


def michalewicz(x: Row) -> float:
    i = np.arange(1, len(x) + 1)
    return -float((np.sin(x) * np.sin(i * x * x / math.pi) ** 20).sum())


def styblinski_tang(x: Row) -> float:
    return float((x**4 - 16 * x**2 + 5 * x).sum() / 2)


def dixon_price(x: Row) -> float:
    """Its logarithm, from 0.01 on."""
    i = np.arange(2, len(x) + 1)
    steps = float((i * (2 * x[1:] ** 2 - x[:-1]) ** 2).sum())
    return math.log(1e-2 + float((x[0] - 1) ** 2) + steps)


def rosenbrock(x: Row) -> float:
    """Its logarithm, from 1 on."""
    return math.log(1 + float((100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()))


def cosines(x: Row) -> float:
    return -float(0.1 * np.cos(5 * math.pi * x).sum() - (x * x).sum())


def trid(x: Row) -> float:
    return float(((x - 1) ** 2).sum() - (x[1:] * x[:-1]).sum())


PLAN: dict[str, tuple[Callable[[Row], float], Box, float]] = {  # with its minimum in the box
    "branin2": (branin, ((-5, 10), (0, 15)), 0.397887),
    "goldstein2": (goldstein_price, ((-2, 2),) * 2, math.log(3)),
    "camel2": (camel, ((-3, 3), (-2, 2)), -1.031628),
    "hartmann3": (hartmann3, ((0, 1),) * 3, -3.862782),
    "shekel4": (shekel, ((0, 10),) * 4, -10.536443),
    "michalewicz5": (michalewicz, ((0, math.pi),) * 5, -4.687658),
    "tang6": (styblinski_tang, ((-5, 5),) * 6, -234.996994),
    "dixon6": (dixon_price, ((-10, 10),) * 6, math.log(0.01)),
    "rosen10": (rosenbrock, ((-5, 10),) * 10, 0.0),
    "cosine8": (cosines, ((-1, 1),) * 8, -0.8),
    "trid10": (trid, ((-100, 100),) * 10, -210.0),
}
PATHS = ((2, 0.0), (4, 0.0), (4, 0.15), (8, 0.0), (8, 0.1), (16, 0.0))  # parameters, noise


def classic(_: int) -> Iterator[Problem]:
    """Known functions, 2 to 10 parameters; the seed is the optimizer's alone."""
    for name, (function, box, minimum) in PLAN.items():
        low, high = np.array(box, dtype=float).T
        rows = np.random.default_rng(5).uniform(low, high, (4000, len(low)))
        typical = -float(np.median([function(row) for row in rows]))
        space = {f"x{i:02d}": {"min": float(a), "max": float(b)} for i, (a, b) in enumerate(box)}

        def truth(p: Params, f: Callable[[Row], float] = function) -> float:
            return -f(_row(p))

        yield Problem(name, "classic", space, truth, -minimum, typical)


def paths(seed: int) -> Iterator[Problem]:
    """Draws of a process with Student's spectrum (rational, 5 degrees of freedom), a lengthscale
    for each of 2 to 16 parameters, as 400 random waves; smooth ones rise to an end of the range."""
    for d, noise in PATHS:
        rng = np.random.default_rng([seed, 77, d])
        lengths = np.exp(rng.normal(math.log(0.35 * math.sqrt(d)), 0.7, d))
        waves = rng.standard_normal((400, d)) / np.sqrt(rng.chisquare(5, (400, 1)) / 5) / lengths
        phases, heights = rng.uniform(0, 2 * math.pi, 400), rng.standard_normal(400) / 200**0.5

        def value(
            u: Row, waves: Row = waves, phases: Row = phases, heights: Row = heights
        ) -> float:
            return float(heights @ np.cos(waves @ u + phases))

        U = rng.random((4000, d))
        drawn = np.array([value(u) for u in U])
        ends = [
            minimize(lambda u: -value(u), U[k], method="L-BFGS-B", bounds=[(0, 1)] * d)
            for k in np.argsort(-drawn)[:20]
        ]
        best, typical = max(float(-end.fun) for end in ends), float(np.median(drawn))
        space = {f"x{i:02d}": {"min": 0.0, "max": 1.0} for i in range(d)}

        def truth(p: Params, value: Callable[[Row], float] = value) -> float:
            return value(_row(p))

        yield Problem(
            f"path{d}-{noise:g}", "paths", space, truth, best, typical, noise * (best - typical)
        )


def _row(params: Params) -> Row:
    return np.array(list(params.values()))
