"""Adapters to the peers that look at costs: CARBS and the earlier Proteins, at their defaults.

None of them knows categories or conditions: they see cells by their numbers, as their manuals say.
"""

import contextlib
import importlib
import io
import math
import random
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from benchmarks.optimizer.cube import Cube
from benchmarks.optimizer.problem import Params, Trial


def _seed_global_generators(seed: int) -> None:
    import torch

    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - these peers draw from the global generators


def _forget_earlier_sweeps() -> None:
    """Empty pyro's store, which is the process's: fits would begin with an earlier sweep's."""
    import pyro

    pyro.clear_param_store()


class Carbs(Cube):
    """CARBS of Imbue, failures told as such; trials that run are believed by Thompson sampling."""

    def __init__(self, space: Mapping[str, Any], seed: int) -> None:
        super().__init__(space, seed)
        import carbs
        from loguru import logger

        warnings.simplefilter("ignore")
        logger.remove()
        _seed_global_generators(seed)
        self.observation = carbs.ObservationInParam
        settings = carbs.CARBSParams(
            better_direction_sign=1,
            is_wandb_logging_enabled=False,
            is_saved_on_every_observation=False,
            seed=seed,
        )
        columns = []
        for p in self.space.parameters:
            high = 1 if p.cells is None else p.cells - 1
            scale = 0.5 if p.cells is None else max(4.0, high / 2)  # a neighbour is in reach
            kind = carbs.LinearSpace(min=0, max=high, is_integer=p.cells is not None, scale=scale)
            columns.append(carbs.Param(p.name, kind, search_center=high / 2))
        _forget_earlier_sweeps()
        self.carbs = carbs.CARBS(settings, columns)

    def ask(self) -> tuple[Any, Params]:
        token = self.carbs.suggest().suggestion
        return token, self.decode(token)

    def tell(self, token: Any, trial: Trial) -> None:
        failed = trial.score is None
        self.told.append((token, trial.score))
        self.carbs.observe(
            self.observation(
                input=token,
                output=self.worst() if failed else trial.score,
                cost=trial.cost,
                is_failure=failed,
            )
        )


class EarlierProtein(Cube):
    """Protein of PufferLib or Metta; both store a failure as an observation of what they are told.

    They are told the worst score seen, and no limit of cost: its default, 3600, is of their unit.
    """

    def __init__(self, space: Mapping[str, Any], seed: int, module: str, **options: Any) -> None:
        super().__init__(space, seed)
        warnings.simplefilter("ignore")
        _seed_global_generators(seed)
        config: dict[str, Any] = {"metric": "score", "goal": "maximize"}
        for p in self.space.parameters:
            high = 1.0 if p.cells is None else p.cells - 1
            config[p.name] = {
                "distribution": "uniform" if p.cells is None else "int_uniform",
                "min": 0,
                "max": high,
                "mean": high / 2,
                "scale": "auto",
            }
        with contextlib.redirect_stdout(io.StringIO()):
            earlier = importlib.import_module(module)
            _forget_earlier_sweeps()
            self.protein = earlier.Protein(config, max_suggestion_cost=math.inf, **options)

    def ask(self) -> tuple[Any, Params]:
        with contextlib.redirect_stdout(io.StringIO()):
            token, _ = self.protein.suggest(fill=None)
        return token, self.decode(token)

    def tell(self, token: Any, trial: Trial) -> None:
        self.told.append((token, trial.score))
        score = self.worst() if trial.score is None else trial.score
        self.protein.observe(token, score, trial.cost, is_failure=trial.score is None)
