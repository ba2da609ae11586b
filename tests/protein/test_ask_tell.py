import math
import subprocess
import sys

import pytest

from protein import Protein, Space

SPACE = Space.from_dict(
    {
        "rate": {"distribution": "log_normal", "min": 1e-5, "max": 1e-1},
        "width": {"distribution": "int_uniform", "min": 1, "max": 9},
        "kind": {"values": ["a", "b"]},
        "seed": 3,
    }
)


def score_of(params: dict[str, object]) -> float:
    rate, width = params["rate"], params["width"]
    assert isinstance(rate, float)
    assert isinstance(width, int)
    bend = (math.log10(rate) + 2.5) ** 2 + 0.1 * (width - 4) ** 2
    return -bend - (0.5 if params["kind"] == "a" else 0.0)


def test_a_suggestion_holds_the_fixed_values_and_lies_in_the_space() -> None:
    params, info = Protein(SPACE, seed=1).suggest()
    assert SPACE.contains(params)
    assert params["seed"] == 3
    assert info["origin"] == "initial"


def test_the_first_suggestion_is_the_centre() -> None:
    params, _ = Protein(SPACE, seed=5).suggest()
    assert params == {"rate": pytest.approx(1e-3), "width": 5, "kind": "a", "seed": 3}


def test_it_finds_the_optimum_of_a_smooth_function() -> None:
    protein = Protein(SPACE, seed=0)
    for _ in range(30):
        params, _ = protein.suggest()
        protein.observe(params, score_of(params), cost=1.0)
    assert protein.best is not None
    assert protein.best.score == pytest.approx(0.0, abs=0.01)


def test_it_is_told_by_id_or_by_params() -> None:
    protein = Protein(SPACE, seed=0)
    first, first_info = protein.suggest()
    second, _ = protein.suggest()
    protein.observe(second, 1.0, 2.0)
    protein.observe(first_info["suggestion_id"], 2.0, 1.0)
    assert protein.best is not None
    assert protein.best.params == first
    with pytest.raises(KeyError):
        protein.observe(first_info["suggestion_id"], 2.0, 1.0)


def test_the_same_seed_gives_the_same_sweep_and_another_seed_another() -> None:
    def run(seed: int) -> list[dict[str, object]]:
        protein = Protein(SPACE, seed=seed)
        sweep = []
        for _ in range(9):
            params, _ = protein.suggest()
            protein.observe(params, score_of(params), cost=1.0)
            sweep.append(params)
        return sweep

    assert run(1) == run(1)
    assert run(1) != run(2)


def test_importing_protein_and_a_space_loads_neither_numpy_nor_scipy() -> None:
    program = (
        "import sys, protein, protein.space, protein.pareto\n"
        "protein.Space.from_dict({'a': {'min': 0, 'max': 1}})\n"
        "print([m for m in ('numpy', 'scipy', 'jaxtyping') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


def test_a_cost_parameter_gives_the_front_over_compute() -> None:
    protein = Protein(SPACE, cost_parameter="width")
    for width, score in [(9, 1.0), (2, 0.7), (5, 0.6)]:
        protein.observe({"rate": 1e-3, "width": width, "kind": "a"}, score)
    assert [o.cost for o in protein.pareto_front] == [2, 9]
    recommended = protein.recommendation(at_cost=5)
    assert recommended is not None
    assert recommended.observation.params["width"] == 2
