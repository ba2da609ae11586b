"""YAHPO Gym (Pfisterer et al. 2022): networks fitted to real tuning, with conditions and seconds.

Its data are not a package: `YAHPO_DATA` names a checkout of `slds-lmu/yahpo_data` (Apache-2.0),
`onnxruntime` reads them (their own package wants numpy below 2). A seed is a data set; compute is
at its full, as in their suite of single objectives; in `lcbench-epochs` it is a parameter.
"""

import functools
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.optimizer.problem import Params, Problem
from protein import Space

DATA = "YAHPO_DATA"  # names the folder in the environment
IMPUTE = "num.impute.selected.cpo"
RBV2 = {"trainsize": 1.0, "repl": 10}  # all rows, ten folds


@dataclass(frozen=True)
class Scenario:
    """A model of YAHPO Gym: its inputs in its own order, and the places of its outputs."""

    ordered: tuple[str, ...]
    categories: tuple[str, ...]  # the first names the data set
    score: int
    seconds: int
    full: dict[str, Any]  # compute, not searched


LCBENCH = (
    "epoch", "batch_size", "learning_rate", "momentum",
    "weight_decay", "num_layers", "max_units", "max_dropout",
)  # fmt: skip
XGBOOST = (
    "nrounds", "eta", "gamma", "lambda", "alpha", "subsample", "max_depth", "min_child_weight",
    "colsample_bytree", "colsample_bylevel", "rate_drop", "skip_drop",
)  # fmt: skip
RPART = ("cp", "maxdepth", "minbucket", "minsplit")
SCENARIOS = {
    "lcbench": Scenario(LCBENCH, ("OpenML_task_id",), 1, 0, {"epoch": 52}),
    "lcbench-epochs": Scenario(LCBENCH, ("OpenML_task_id",), 1, 0, {}),
    "rbv2_xgboost": Scenario((*XGBOOST, *RBV2), ("task_id", "booster", IMPUTE), 0, 6, RBV2),
    "rbv2_rpart": Scenario((*RPART, *RBV2), ("task_id", IMPUTE), 0, 6, RBV2),
}


class Surrogate:
    """One scenario's network, its search space and its data sets."""

    def __init__(self, name: str) -> None:
        self.scenario = SCENARIOS[name]
        folder = Path(os.environ.get(DATA, "")) / name.partition("-")[0]
        if DATA not in os.environ or not (folder / "model.onnx").is_file():
            raise SystemExit(
                f"{DATA} must name a checkout of slds-lmu/yahpo_data with {folder.name}"
            )
        declared = json.loads((folder / "config_space.json").read_text())
        self.codes = json.loads((folder / "encoding.json").read_text())
        self.data = sorted(set(self.codes[self.scenario.categories[0]]) - {"#na#"}, key=int)
        conditions = {one["child"]: one for one in declared["conditions"]}
        left_out = {self.scenario.categories[0], *self.scenario.full}
        self.whole = {p["name"] for p in declared["hyperparameters"] if p["type"] == "uniform_int"}
        self.space = {
            p["name"]: _parameter(p, conditions.get(p["name"]))
            for p in declared["hyperparameters"]
            if p["name"] not in left_out
        }
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(
            str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"]
        )

    def predict(self, data: str, many: list[Params]) -> np.ndarray:
        """Scores and seconds of configurations, one row each; 0 where a condition does not hold."""
        s = self.scenario
        rows = [{**p, **s.full, s.categories[0]: data} for p in many]
        whole = [[self.codes[n][r.get(n, "#na#")] for n in s.categories] for r in rows]
        ordered = [
            [round(r.get(n, 0)) if n in self.whole else r.get(n, 0.0) for n in s.ordered]
            for r in rows
        ]
        (out,) = self.session.run(
            None, {"x_cat": np.array(whole, np.int32), "x_cont": np.array(ordered, np.float32)}
        )
        return np.asarray(out, float)[:, [s.score, s.seconds]]

    @functools.cache  # noqa: B019 - each object is kept as long as the process
    def extremes(self, data: str) -> tuple[float, float]:
        """The best score found among 40,000 random ones and around them, and the median."""
        space, rng = Space.from_dict(self.space), np.random.default_rng(0)
        d = len(space.names)

        def scores(units: np.ndarray) -> np.ndarray:
            return self.predict(data, [space.from_unit(tuple(u)) for u in units])[:, 0]

        units = rng.random((40_000, d))
        values = scores(units)
        typical = float(np.median(values))
        for width in np.geomspace(0.3, 0.003, 20):
            top = np.argsort(-values)[:50]
            units, values = units[top], values[top]
            steps = width * rng.standard_normal((20, 50, d)) * (rng.random((20, 50, d)) < 0.4)
            near = np.clip(units + steps, 0, 1 - 1e-9).reshape(-1, d)
            units, values = np.vstack([units, near]), np.append(values, scores(near))
        return float(values.max()), typical


def _parameter(declared: dict[str, Any], condition: dict[str, Any] | None) -> dict[str, Any]:
    when: dict[str, Any] = {}
    if condition:
        values = condition.get("values", [condition.get("value")])
        when = {"when": {condition["parent"]: sorted(values)}}
    if declared["type"] == "categorical":
        return {"values": declared["choices"]} | when
    ends = {"min": declared["lower"], "max": declared["upper"]}
    if declared["log"]:
        return {"distribution": "log_normal"} | ends | when
    whole = declared["type"] == "uniform_int"
    return {"distribution": "int_uniform" if whole else "uniform"} | ends | when


@functools.cache
def surrogate(name: str) -> Surrogate:
    return Surrogate(name)


def yahpo(seed: int) -> Iterator[Problem]:
    """One data set of each scenario, by the seed."""
    for name in SCENARIOS:
        model = surrogate(name)
        data = model.data[seed % len(model.data)]
        best, typical = model.extremes(data)

        def truth(p: Params, model: Surrogate = model, data: str = data) -> float:
            return float(model.predict(data, [p])[0, 0])

        def cost(p: Params, model: Surrogate = model, data: str = data) -> float:
            return max(float(model.predict(data, [p])[0, 1]), 1e-3)

        yield Problem(f"{name}-{data}", "yahpo", model.space, truth, best, typical, cost=cost)
