"""What trials do in a rehearsal, when no program runs: a smooth score and cost of the parameters.

The functions know nothing of the search space. They are smooth in the logarithm of a number (in its
log-odds between 0 and 1), have several hills, depend on every parameter, and are the same for the
same parameters but for a small noise per attempt.
"""

import json
import math
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from launcher.executors.simulation import Report, SimulatedRun
from launcher.ports import Job

NOISE = 0.02  # standard deviation of the score, whose range is about 0 to 1
TYPICAL_SECONDS = 600.0
REPORTS = 5


def rehearsal(seed: int = 0) -> Callable[[Job], SimulatedRun]:
    """Return the run of each job, from its parameter file and the sweep's metric."""

    def run(job: Job) -> SimulatedRun:
        params = _params(job)
        metric = job.environment.get("PROTEIN_METRIC", "score")
        noise = NOISE * _normal(f"{seed} {job.name}")
        final, seconds = score(params, seed=seed) + noise, duration_seconds(params, seed=seed)
        reports = tuple(
            Report(seconds * k / REPORTS, k, {metric: final * (1 - math.exp(-3 * k / REPORTS))})
            for k in range(1, REPORTS)
        )
        return SimulatedRun(duration_seconds=seconds, metrics={metric: final}, reports=reports)

    return run


def score(params: Mapping[str, Any], *, seed: int = 0) -> float:
    """Return a score between 0 and 1: the mean of one wave per parameter."""
    waves = [0.5 + 0.5 * _wave(name, value, f"score {seed}") for name, value in params.items()]
    return sum(waves) / len(waves) if waves else 0.5


def duration_seconds(params: Mapping[str, Any], *, seed: int = 0) -> float:
    """Return a duration around 600 s, at most e² times longer or shorter."""
    waves = [_wave(name, value, f"cost {seed}") for name, value in params.items()]
    return TYPICAL_SECONDS * math.exp(2 * sum(waves) / len(waves) if waves else 0.0)


def _wave(name: str, value: object, seed: str) -> float:
    """A cosine over the parameter's natural scale, with its own phase; a category is a level."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return 2 * _uniform(f"{seed} {name} {value!r}") - 1
    return math.cos(_scale(value) + 2 * math.pi * _uniform(f"{seed} {name}"))


def _scale(value: float) -> float:
    """Log-odds between 0 and 1, else a logarithm that passes through 0."""
    if 0 < value < 1:
        return math.log(value / (1 - value))
    return math.asinh(value)


def _uniform(text: str) -> float:
    """A number in [0, 1) that is the same on every machine."""
    return (
        int.from_bytes(sha256(text.encode("utf-8", "backslashreplace")).digest()[:6], "big") / 2**48
    )


def _normal(text: str) -> float:
    """A standard normal number (Box and Muller, 1958)."""
    radius = math.sqrt(-2 * math.log(1 - _uniform(text + " r")))
    return radius * math.cos(2 * math.pi * _uniform(text + " a"))


def _params(job: Job) -> dict[str, Any]:
    """The parameter file, as the coordinator wrote it; empty if there is none."""
    path = Path(job.environment.get("PROTEIN_PARAMS", job.run_dir / "params.json"))
    try:
        params: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return params
