import numpy as np

from protein import Observation, Settings, Space
from protein.importance import importance

SPACE = Space.from_dict(
    {
        "much": {"min": 0.0, "max": 1.0},
        "little": {"min": 0.0, "max": 1.0},
        "nothing": {"min": 0.0, "max": 1.0},
        "kind": {"values": ["a", "b"]},
    }
)


def history(n: int) -> list[Observation]:
    rng = np.random.default_rng(0)
    seen = []
    for _ in range(n):
        params = SPACE.from_unit(tuple(rng.random(4)))
        much, little = (float(params[name]) for name in ("much", "little"))
        score = 3 * much + 0.7 * little + (1.5 if params["kind"] == "a" else 0.0)
        seen.append(Observation(params, score, 1.0))
    return seen


def test_what_matters_more_comes_first() -> None:
    found = importance(SPACE, Settings(), history(50))
    assert [one.parameter for one in found][:3] == ["much", "kind", "little"]
    assert found[-1].parameter == "nothing"
    assert found[-1].mean < 0.05


def test_shares_are_those_of_the_true_function() -> None:
    found = {one.parameter: one for one in importance(SPACE, Settings(), history(80))}
    variance = {"much": 9 / 12, "little": 0.49 / 12, "kind": 1.5**2 / 4, "nothing": 0.0}
    for name, own in variance.items():
        share = own / sum(variance.values())
        assert abs(found[name].mean - share) < 0.12


def test_more_observations_leave_less_open() -> None:
    few, many = (importance(SPACE, Settings(), history(n))[0].sd for n in (6, 80))
    assert many < few


def test_a_few_observations_say_nothing() -> None:
    assert importance(SPACE, Settings(), history(3)) == ()
