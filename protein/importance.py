# ruff: noqa: F722 - jaxtyping's shapes are strings, not forward references
"""Which parameters matter, with how sure that is.

Total-effect Sobol indices: the share of the score's variance over the space that vanishes when a
parameter is known last (Jansen 1999's estimator; Saltelli et al. 2010, table 2, f). They are
computed for draws of the score process, so that their spread is what the observations leave open.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from protein.data import Data
from protein.encoding import Encoding
from protein.initial import stratified
from protein.observation import Observation
from protein.settings import Settings
from protein.space import Space
from protein.surrogates import learn
from protein.threads import one_thread

Array = NDArray[np.float64]

_ROWS = 100
_DRAWS = 64
_NEEDS = 4  # successes


@dataclass(frozen=True, slots=True)
class Importance:
    """A parameter's total-effect index: mean and standard deviation over draws, about 0 to 1."""

    parameter: str
    mean: float
    sd: float


def importance(
    space: Space, settings: Settings, observed: Sequence[Observation]
) -> tuple[Importance, ...]:
    """Give each parameter's importance, the greatest first; nothing before four successes."""
    encoding = Encoding(space)
    data = Data.of(encoding, settings, observed)
    if len(data.U) < _NEEDS or encoding.dimension == 0:
        return ()
    with one_thread():
        shares = _shares(encoding, data)
    found = [
        Importance(p.name, float(share.mean()), float(share.std()))
        for p, share in zip(encoding.parameters, shares.T, strict=True)
    ]
    return tuple(sorted(found, key=lambda one: (-one.mean, one.parameter)))


def _shares(encoding: Encoding, data: Data) -> Float[Array, "draws d"]:
    rng = np.random.default_rng(0)
    d = encoding.dimension
    A, B = (stratified(_ROWS, d, rng) for _ in range(2))
    swapped = [np.where(np.arange(d) == index, B, A) for index in range(d)]
    U = encoding.snap(np.vstack([A, *swapped]))
    draws = learn(encoding, data).score.draw(encoding.features(U), _DRAWS, rng)
    values = draws.reshape(_DRAWS, d + 1, _ROWS)
    change = 0.5 * ((values[:, 1:] - values[:, :1]) ** 2).mean(axis=2)
    variance = np.maximum(values[:, 0].var(axis=1, keepdims=True), 1e-12)
    shares: Array = change / variance
    return shares
