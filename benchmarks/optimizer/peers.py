"""Adapters to the optimizers compared, each at its defaults. Heavy imports happen when used."""

import math
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from benchmarks.optimizer.cost_aware import Carbs, EarlierProtein
from benchmarks.optimizer.cube import Cube
from benchmarks.optimizer.problem import Params, Trial
from benchmarks.optimizer.simulate import Optimizer
from protein import Protein, Space
from protein.parameter import Categorical, Distribution, Parameter


class Ours:
    def __init__(self, space: Mapping[str, Any], seed: int, **options: Any) -> None:
        self.protein = Protein(Space.from_dict(space), seed=seed, **options)

    def ask(self) -> tuple[Any, Params]:
        params, info = self.protein.suggest()
        return info["suggestion_id"], params

    def tell(self, token: Any, trial: Trial) -> None:
        self.protein.observe(token, trial.score, trial.cost, is_failure=trial.score is None)


class Random:
    def __init__(self, space: Mapping[str, Any], seed: int) -> None:
        self.space, self.rng = Space.from_dict(space), np.random.default_rng(seed)

    def ask(self) -> tuple[Any, Params]:
        unit = tuple(self.rng.random(len(self.space.names)))
        return None, self.space.from_unit(unit) | dict(self.space.fixed)

    def tell(self, token: Any, trial: Trial) -> None:
        pass


class Optuna:
    """Optuna; failed trials are told as failed, which its samplers leave out.

    `from_center` begins where Protein does, at the centre of the space.
    """

    def __init__(
        self, space: Mapping[str, Any], seed: int, sampler: str, *, from_center: bool = False
    ) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        warnings.simplefilter("ignore")
        self.space = Space.from_dict(space)
        self.optuna = optuna
        samplers: dict[str, Callable[[], Any]] = {
            "tpe": lambda: optuna.samplers.TPESampler(
                seed=seed, multivariate=True, group=True, constant_liar=True
            ),
            "tpe-default": lambda: optuna.samplers.TPESampler(seed=seed),
            "gp": lambda: optuna.samplers.GPSampler(seed=seed),
        }
        self.study = optuna.create_study(direction="maximize", sampler=samplers[sampler]())
        if from_center:
            center = self.space.from_unit(tuple(p.center for p in self.space.parameters))
            told = [p for p in self.space.parameters if p.name in center]
            self.study.enqueue_trial({p.name: _scaled(p, center[p.name]) for p in told})

    def ask(self) -> tuple[Any, Params]:
        trial = self.study.ask()
        chosen: dict[str, Any] = dict(self.space.fixed)
        for parameter in self.space.parameters:
            when = parameter.when
            if when is None or chosen.get(when.parameter) in when.values:
                chosen[parameter.name] = self._pick(trial, parameter)
        return trial, chosen

    @staticmethod
    def _pick(trial: Any, p: Parameter) -> Any:
        if isinstance(p, Categorical):
            return trial.suggest_categorical(p.name, p.values)
        match p.distribution:
            case Distribution.INT_UNIFORM:
                return trial.suggest_int(p.name, int(p.min), int(p.max))
            case Distribution.UNIFORM_POW2:
                return 2 ** trial.suggest_int(p.name, _scaled(p, p.min), _scaled(p, p.max))
            case Distribution.LOGIT_NORMAL:
                low, high = _scaled(p, p.max), _scaled(p, p.min)
                return 1 - trial.suggest_float(p.name, low, high, log=True)
            case kind:
                return trial.suggest_float(
                    p.name, p.min, p.max, log=kind is Distribution.LOG_NORMAL
                )

    def tell(self, token: Any, trial: Trial) -> None:
        if trial.score is None:
            self.study.tell(token, state=self.optuna.trial.TrialState.FAIL)
        else:
            self.study.tell(token, trial.score)


def _scaled(parameter: Parameter, value: Any) -> Any:
    """Give a value on the scale on which Optuna is asked for it."""
    if isinstance(parameter, Categorical):
        return value
    match parameter.distribution:
        case Distribution.UNIFORM_POW2:
            return int(math.log2(value))
        case Distribution.LOGIT_NORMAL:
            return 1 - value
        case _:
            return value


class Hebo(Cube):
    def __init__(self, space: Mapping[str, Any], seed: int) -> None:
        super().__init__(space)
        from hebo.design_space.design_space import DesignSpace
        from hebo.optimizers.hebo import HEBO

        warnings.simplefilter("ignore")
        np.random.seed(seed)  # noqa: NPY002 - HEBO draws from the global generator
        columns = []
        for p in self.space.parameters:
            if isinstance(p, Categorical):
                kind: dict[str, Any] = {
                    "type": "cat",
                    "categories": [f"c{i}" for i in range(p.cells)],
                }
            elif p.cells is not None:
                kind = {"type": "int", "lb": 0, "ub": p.cells - 1}
            else:
                kind = {"type": "num", "lb": 0.0, "ub": 1.0}
            columns.append({"name": p.name, **kind})
        self.hebo = HEBO(DesignSpace().parse(columns), scramble_seed=seed)
        self.failed: list[Any] = []

    def ask(self) -> tuple[Any, Params]:
        row = self.hebo.suggest(1)
        return row, self.decode(row.iloc[0].to_dict())

    def tell(self, token: Any, trial: Trial) -> None:
        self.told.append((token, trial.score))
        if trial.score is None and all(score is None for _, score in self.told):
            self.failed.append(token)
            return
        for late in self.failed:
            self.hebo.observe(late, np.array([[-self.worst()]]))
        self.failed = []
        score = self.worst() if trial.score is None else trial.score
        self.hebo.observe(token, np.array([[-score]]))


class Smac(Cube):
    """SMAC3's facade for hyperparameters; crashed trials are told as crashed."""

    def __init__(self, space: Mapping[str, Any], seed: int) -> None:
        super().__init__(space)
        import logging
        import tempfile

        from ConfigSpace import (
            CategoricalHyperparameter,
            ConfigurationSpace,
            UniformFloatHyperparameter,
            UniformIntegerHyperparameter,
        )
        from smac import HyperparameterOptimizationFacade as Facade
        from smac import Scenario

        warnings.simplefilter("ignore")
        logging.disable(logging.CRITICAL)
        cs = ConfigurationSpace(seed=seed)
        for p in self.space.parameters:
            if isinstance(p, Categorical):
                cs.add(CategoricalHyperparameter(p.name, [f"c{i}" for i in range(p.cells)]))
            elif p.cells is not None:
                cs.add(UniformIntegerHyperparameter(p.name, 0, p.cells - 1))
            else:
                cs.add(UniformFloatHyperparameter(p.name, 0.0, 1.0))
        scenario = Scenario(
            cs, n_trials=100, seed=seed, output_directory=tempfile.mkdtemp(), deterministic=True
        )
        self.smac = Facade(scenario, _never_called, logging_level=False, overwrite=True)

    def ask(self) -> tuple[Any, Params]:
        info = self.smac.ask()
        return info, self.decode(dict(info.config))

    def tell(self, token: Any, trial: Trial) -> None:
        from smac.runhistory.dataclasses import TrialValue
        from smac.runhistory.enumerations import StatusType

        self.told.append((token, trial.score))
        if trial.score is None:
            value = TrialValue(cost=-self.worst(), status=StatusType.CRASHED)
        else:
            value = TrialValue(cost=-trial.score)
        self.smac.tell(token, value)


def _never_called(config: Any, seed: int = 0) -> float:  # noqa: ARG001 - names SMAC looks for
    """Stand for the function that SMAC would call itself; it is asked and told instead."""
    raise AssertionError


class Botorch(Cube):
    """BoTorch's recommended loop: mixed or plain GP at its defaults, qLogNoisyEI, Sobol start."""

    START = 10

    def __init__(self, space: Mapping[str, Any], seed: int) -> None:
        super().__init__(space)
        import torch

        warnings.simplefilter("ignore")
        torch.manual_seed(seed)
        self.torch = torch
        d = len(self.space.names)
        self.sobol = torch.quasirandom.SobolEngine(d, scramble=True, seed=seed)  # type: ignore[no-untyped-call]  # torch's
        self.pending: list[Any] = []

    def ask(self) -> tuple[Any, Params]:
        scored = [x for x, score in self.told if score is not None]
        if len(self.told) + len(self.pending) < self.START or len(scored) < 2:
            x = self.sobol.draw(1).double()[0]
        else:
            x = self._model_says()
        params = self.space.from_unit(tuple(x.tolist())) | dict(self.space.fixed)
        snapped = self.space.to_unit(params)
        x = self.torch.tensor(snapped, dtype=self.torch.float64)
        self.pending.append(x)
        return x, params

    def _model_says(self) -> Any:
        import botorch
        from gpytorch.mlls import ExactMarginalLogLikelihood

        torch = self.torch
        X = torch.stack([x for x, _ in self.told])
        worst = self.worst()
        y = torch.tensor([[worst if s is None else s] for _, s in self.told], dtype=torch.float64)
        y = (y - y.mean()) / y.std().clamp_min(1e-9)
        model = botorch.models.SingleTaskGP(X, y)
        botorch.fit_gpytorch_mll(ExactMarginalLogLikelihood(model.likelihood, model))
        acqf = botorch.acquisition.logei.qLogNoisyExpectedImprovement(
            model, X_baseline=X, X_pending=torch.stack(self.pending) if self.pending else None
        )
        d = X.shape[1]
        bounds = torch.stack([torch.zeros(d), torch.ones(d)]).double()
        x, _ = botorch.optim.optimize_acqf(acqf, bounds, q=1, num_restarts=4, raw_samples=128)
        return x[0]

    def tell(self, token: Any, trial: Trial) -> None:
        self.pending = [x for x in self.pending if x is not token]
        self.told.append((token, trial.score))


PEERS: dict[str, Callable[[Mapping[str, Any], int], Optimizer]] = {
    "protein": Ours,
    "random": Random,
    "optuna-tpe": lambda space, seed: Optuna(space, seed, "tpe"),
    "optuna-tpe-default": lambda space, seed: Optuna(space, seed, "tpe-default"),
    "optuna-gp": lambda space, seed: Optuna(space, seed, "gp"),
    "optuna-tpe-center": lambda space, seed: Optuna(space, seed, "tpe", from_center=True),
    "optuna-gp-center": lambda space, seed: Optuna(space, seed, "gp", from_center=True),
    "hebo": Hebo,
    "smac": Smac,
    "botorch": Botorch,
    "carbs": Carbs,
    "puffer": lambda space, seed: EarlierProtein(space, seed, "pufferlib.sweep"),
    "metta": lambda space, seed: EarlierProtein(
        space,
        seed,
        "metta.sweep.protein",  # as its ProteinSettings have it
        num_random_samples=0,
        resample_frequency=10,
        random_suggestions=15,
    ),
}
