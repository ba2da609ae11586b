"""Problem families. Each instance is shifted and turned by its seed: no optimum is at a centre."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from scipy.stats import special_ortho_group

from benchmarks.optimizer.problem import Params, Problem
from protein import Space

Function = Callable[[np.ndarray], float]  # of a row of the unit cube
Parts = Callable[[Params], tuple[float, float, float]]  # rate, batch, mismatch of PPO's


def sphere(z: np.ndarray) -> float:
    return float(z @ z)


def ellipsoid(z: np.ndarray) -> float:
    return float(np.logspace(0, 3, len(z)) @ z**2)


def rosenbrock(z: np.ndarray) -> float:
    z = z + 1.0
    return float((100 * (z[1:] - z[:-1] ** 2) ** 2 + (1 - z[:-1]) ** 2).sum())


def ackley(z: np.ndarray) -> float:
    rms, wave = math.sqrt(float((z * z).mean())), float(np.cos(2 * math.pi * z).mean())
    return 20 + math.e - 20 * math.exp(-0.2 * rms) - math.exp(wave)


def rastrigin(z: np.ndarray) -> float:
    return float(10 * len(z) + (z * z - 10 * np.cos(2 * math.pi * z)).sum())


def levy(z: np.ndarray) -> float:
    w = 1 + z / 4
    middle = (w[:-1] - 1) ** 2 * (1 + 10 * np.sin(math.pi * w[:-1] + 1) ** 2)
    end = (w[-1] - 1) ** 2 * (1 + np.sin(2 * math.pi * w[-1]) ** 2)
    return float(np.sin(math.pi * w[0]) ** 2 + middle.sum() + end)


def steps(z: np.ndarray) -> float:
    return float((np.floor(2 * z + 0.5) ** 2).sum() / 4 + 0.01 * abs(z[0]))


BOWLS = {  # name: (function with its minimum 0 at 0, half width of the box)
    "sphere": (sphere, 3.0),
    "ellipsoid": (ellipsoid, 3.0),
    "rosenbrock": (rosenbrock, 2.0),
    "ackley": (ackley, 8.0),
    "rastrigin": (rastrigin, 2.5),
    "levy": (levy, 8.0),
    "steps": (steps, 4.0),
}


def peaks(d: int, rng: np.random.Generator) -> tuple[Function, float]:
    """Gallagher's idea: the highest of 21 Gaussian peaks."""
    centers = rng.uniform(0.1, 0.9, (21, d))
    heights = np.append(1.0, rng.uniform(0.1, 0.8, 20))
    widths = np.append(0.25, rng.uniform(0.1, 0.4, 20)) * math.sqrt(d) / 1.5

    def value(u: np.ndarray) -> float:
        square = ((u - centers) ** 2).sum(axis=1)
        return float((heights * np.exp(-square / (2 * widths**2))).max())

    return value, 1.0


def hartmann6(u: np.ndarray) -> float:
    alpha = np.array([1.0, 1.2, 3.0, 3.2])
    A = np.array(
        [[10, 3, 17, 3.5, 1.7, 8], [0.05, 10, 17, 0.1, 8, 14], [3, 3.5, 1.7, 10, 17, 8],
         [17, 8, 0.05, 10, 0.1, 14]]
    )  # fmt: skip
    P = 1e-4 * np.array(
        [[1312, 1696, 5569, 124, 8283, 5886], [2329, 4135, 8307, 3736, 1004, 9991],
         [2348, 1451, 3522, 2883, 3047, 6650], [4047, 8828, 8732, 5743, 1091, 381]]
    )  # fmt: skip
    return float(alpha @ np.exp(-(A * (u - P) ** 2).sum(axis=1)))


def _cube(d: int) -> dict[str, Any]:
    return {f"x{i:02d}": {"min": 0.0, "max": 1.0} for i in range(d)}


def _row(params: Params, d: int) -> np.ndarray:
    return np.array([params[f"x{i:02d}"] for i in range(d)])


def bowl(name: str, d: int, rng: np.random.Generator, *, turned: bool) -> Function:
    function, half_width = BOWLS[name]
    center = rng.uniform(0.15, 0.85, d)
    turn = special_ortho_group.rvs(d, random_state=rng) if turned and d > 1 else np.eye(d)
    return lambda u: -function(turn @ ((u - center) * 2 * half_width))


def _typical(space: dict[str, Any], truth: Callable[[Params], float], fails: Any) -> float:
    """The median truth of 500 random trials that do not fail."""
    cube, rng = Space.from_dict(space), np.random.default_rng(0)
    draws = [
        cube.from_unit(tuple(rng.random(len(cube.names)))) | dict(cube.fixed) for _ in range(500)
    ]
    return float(np.median([truth(p) for p in draws if not fails(p)]))


def _problem(
    name: str, family: str, space: dict[str, Any], truth: Any, best: float, **kw: Any
) -> Problem:
    typical = _typical(space, truth, kw.get("fails", lambda _: False))
    if "noise" in kw:
        kw["noise"] *= best - typical
    return Problem(name, family, space, truth, best, typical, **kw)


def synthetic(seed: int) -> Iterator[Problem]:
    """Smooth and rugged functions, 2 to 20 parameters, without noise."""
    plan = [("levy", 2), ("rosenbrock", 4), ("ackley", 5), ("sphere", 10), ("levy", 20)]
    for name, d in plan:
        f = bowl(name, d, np.random.default_rng([seed, d]), turned=False)
        yield _problem(f"{name}{d}", "synthetic", _cube(d), lambda p, f=f, d=d: f(_row(p, d)), 0.0)
    yield _problem("hartmann6", "synthetic", _cube(6), lambda p: hartmann6(_row(p, 6)), 3.32237)


def noisy(seed: int) -> Iterator[Problem]:
    """The same with noise of 5 to 20 % of what there is to gain."""
    for name, d, noise in [("levy", 3, 0.1), ("sphere", 6, 0.05), ("ackley", 4, 0.2)]:
        f = bowl(name, d, np.random.default_rng([seed, 7, d]), turned=False)
        truth = lambda p, f=f, d=d: f(_row(p, d))  # noqa: E731
        yield _problem(f"noisy-{name}{d}", "noisy", _cube(d), truth, 0.0, noise=noise)
    yield _problem(
        "noisy-hartmann6", "noisy", _cube(6), lambda p: hartmann6(_row(p, 6)), 3.32237, noise=0.1
    )


def turned(seed: int) -> Iterator[Problem]:
    """In the kind of BBOB: rotated, ill-conditioned, stepped, many peaks."""
    for name, d in [("ellipsoid", 5), ("rastrigin", 3), ("steps", 5), ("rosenbrock", 8)]:
        f = bowl(name, d, np.random.default_rng([seed, 13, d]), turned=True)
        truth = lambda p, f=f, d=d: f(_row(p, d))  # noqa: E731
        yield _problem(f"turned-{name}{d}", "turned", _cube(d), truth, 0.0)
    value, best = peaks(4, np.random.default_rng([seed, 17]))
    yield _problem("peaks4", "turned", _cube(4), lambda p: value(_row(p, 4)), best)


def failing(seed: int) -> Iterator[Problem]:
    """15 to 60 % of the space fails, and the best lies near the edge of what fails."""
    for name, d, share in [("sphere", 4, 0.6), ("levy", 6, 0.4), ("ackley", 3, 0.15)]:
        rng = np.random.default_rng([seed, 23, d])
        f = bowl(name, d, rng, turned=False)
        center = np.random.default_rng([seed, 23, d]).uniform(0.15, 0.85, d)
        normal = rng.standard_normal(d)
        normal /= np.linalg.norm(normal)
        reach = np.sort((np.random.default_rng(1).random((2000, d)) - center) @ normal)
        limit = max(float(np.quantile(reach, 1 - share)), 0.02)

        def fails(
            p: Params, d: int = d, c: Any = center, w: Any = normal, t: float = limit
        ) -> bool:
            return bool((_row(p, d) - c) @ w > t)

        truth = lambda p, f=f, d=d: f(_row(p, d))  # noqa: E731
        yield _problem(f"failing-{name}{d}", "failing", _cube(d), truth, 0.0, fails=fails)


def costly(seed: int) -> Iterator[Problem]:
    """Costs vary 1000-fold, once beside the score and once with it."""
    for name, d in [("levy", 4), ("sphere", 6)]:
        rng = np.random.default_rng([seed, 29, d])
        f = bowl(name, d, rng, turned=False)
        lean = rng.dirichlet(np.ones(d))
        truth = lambda p, f=f, d=d: f(_row(p, d))  # noqa: E731

        def cost(p: Params, d: int = d, lean: Any = lean) -> float:
            return math.exp(math.log(1000.0) * float(lean @ _row(p, d)))

        yield _problem(f"costly-{name}{d}", "costly", _cube(d), truth, 0.0, cost=cost)


def reinforcement(seed: int) -> Iterator[Problem]:
    """Sweeps like those of PPO: more compute helps and costs, high rates diverge, seeds matter."""
    for index, strictness in enumerate((-2.9, -2.2)):
        rng = np.random.default_rng([seed, 31, index])
        best_rate, best_entropy = rng.uniform(-3.6, -2.6), rng.uniform(-3.5, -2.0)
        best_gamma, best_clip = rng.uniform(1.6, 2.5), rng.uniform(0.12, 0.3)
        space = {
            "trainer.total_timesteps": {"distribution": "log_normal", "min": 1e5, "max": 1e8},
            "trainer.learning_rate": {"distribution": "log_normal", "min": 1e-5, "max": 1e-1},
            "trainer.batch_size": {"distribution": "uniform_pow2", "min": 256, "max": 16384},
            "trainer.gamma": {"distribution": "logit_normal", "min": 0.8, "max": 0.9999},
            "trainer.entropy_coeff": {"distribution": "log_normal", "min": 1e-5, "max": 1e-1},
            "trainer.clip_param": {"distribution": "uniform", "min": 0.02, "max": 0.5},
            "trainer.num_epochs": {"distribution": "int_uniform", "min": 1, "max": 8},
            "model.activation": {"values": ["relu", "tanh", "gelu"]},
        }

        def parts(
            p: Params, b: Any = (best_rate, best_entropy, best_gamma, best_clip)
        ) -> tuple[float, float, float]:
            rate = math.log10(p["trainer.learning_rate"])
            batch = math.log2(p["trainer.batch_size"] / 2048)
            mismatch = (
                0.9 * (rate - b[0] - 0.12 * batch) ** 2
                + 0.25 * (math.log10(p["trainer.entropy_coeff"]) - b[1]) ** 2
                + 0.8 * (-math.log10(1 - p["trainer.gamma"]) - b[2]) ** 2
                + 6.0 * (p["trainer.clip_param"] - b[3]) ** 2
                + 0.02 * abs(p["trainer.num_epochs"] - 4)
                + {"relu": 0.1, "tanh": 0.0, "gelu": 0.05}[p["model.activation"]]
            )
            return rate, batch, mismatch

        def truth(p: Params, parts: Parts = parts) -> float:
            _, batch, mismatch = parts(p)
            steps = math.log10(p["trainer.total_timesteps"]) - 5 - 0.1 * batch
            steps += 0.3 * math.log(p["trainer.num_epochs"] / 4)
            ceiling = math.exp(-mismatch)
            return ceiling / (1 + math.exp(-2.2 * (steps - 1.2 - 0.8 * mismatch)))

        def fails(p: Params, parts: Parts = parts, strictness: float = strictness) -> bool:
            rate, batch, _ = parts(p)
            hot = rate - 0.15 * batch + 0.6 * math.log10(p["trainer.num_epochs"] / 2)
            tanh: bool = p["model.activation"] == "tanh"
            return hot > strictness + 1.2 * tanh * 0.3

        def cost(p: Params) -> float:
            epochs: float = p["trainer.num_epochs"]
            steps: float = p["trainer.total_timesteps"]
            return steps / 1e5 * (0.5 + 0.125 * epochs)

        best = _climb(space, truth, fails)
        yield _problem(f"ppo{index}", "rl", space, truth, best, noise=0.04, cost=cost, fails=fails)


def mixed(seed: int) -> Iterator[Problem]:
    """Categories, integers and a conditional branch: which optimizer, and its own parameters."""
    rng = np.random.default_rng([seed, 37])
    good = rng.permutation(5)
    at = rng.uniform(0.2, 0.8, 4)
    space = {
        "kind": {"values": ["a", "b", "c", "d", "e"]},
        "depth": {"distribution": "int_uniform", "min": 1, "max": 12},
        "rate": {"distribution": "log_normal", "min": 1e-5, "max": 1.0},
        "decay": {"distribution": "log_normal", "min": 1e-6, "max": 1e-1},
        "flag": {"values": [True, False]},
        "momentum": {"min": 0.0, "max": 1.0, "when": {"kind": ["a", "b", "c"]}},
    }

    def truth(p: Params) -> float:
        kind = "abcde".index(p["kind"])
        loss: float = 0.08 * good[kind] + 0.03 * abs(p["depth"] - 1 - round(11 * at[0]))
        loss += (math.log10(p["rate"]) / 5 + at[1]) ** 2 * 2
        loss += (math.log10(p["decay"]) / 5 + 0.2 + at[2]) ** 2 + 0.1 * (p["flag"] == (good[0] > 2))
        loss += (p["momentum"] - at[3]) ** 2 if kind < 3 else 0.05
        return -loss

    yield _problem("mixed6", "mixed", space, truth, _climb(space, truth, lambda _: False))


def _climb(space: dict[str, Any], truth: Any, fails: Any) -> float:
    """The best value that a long random climb finds."""
    cube, rng = Space.from_dict(space), np.random.default_rng(3)
    d = len(cube.names)

    def value(u: np.ndarray) -> float:
        p = cube.from_unit(tuple(u)) | dict(cube.fixed)
        return -math.inf if fails(p) else truth(p)

    best_u = max((rng.random(d) for _ in range(2000)), key=value)
    best = value(best_u)
    for i in range(6000):
        width = 0.3 * 0.999**i
        moved = rng.random(d) < max(0.3, 1 / d)
        u = np.clip(best_u + moved * width * rng.standard_normal(d), 0, 1)
        if i % 10 == 0:
            j = rng.integers(d)
            u = best_u.copy()
            u[j] = rng.random()
        if (new := value(u)) > best:
            best, best_u = new, u
    return best


FAMILIES: dict[str, Callable[[int], Iterator[Problem]]] = {
    "synthetic": synthetic,
    "noisy": noisy,
    "turned": turned,
    "mixed": mixed,
    "failing": failing,
    "costly": costly,
    "rl": reinforcement,
}
