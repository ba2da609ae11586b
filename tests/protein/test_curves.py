import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protein import Observation, Protein, Settings, Space
from protein.curves import Curve, Finished
from protein.data import Data
from protein.encoding import Encoding
from protein.surrogates import learn

LINE = Space.from_dict({"x": {"min": 0.0, "max": 1.0}})


def rising(final: float, start: float, *, until: int = 20, of: int = 20) -> Curve:
    """A power law that starts at `start` and comes to `final` at the end."""
    share = [(1 / step - 1 / of) / (1 - 1 / of) for step in range(1, until + 1)]
    return tuple((float(step + 1), final - (final - start) * s) for step, s in enumerate(share))


def pair(final: float, start: float) -> tuple[Curve, float]:
    return rising(final, start), final


FINISHED = [pair(final, start) for final in (0.5, 1.0, 2.0) for start in (-1.0, 0.0, 0.3)]


def test_curves_of_one_law_are_forecast_to_their_end() -> None:
    known = Finished.of(FINISHED * 20)
    mean, sd = known.forecast(rising(1.5, -0.5, until=8))
    assert mean == pytest.approx(1.5, abs=0.05)
    assert sd < 0.1


def test_the_last_score_is_not_the_final_one() -> None:
    stopped = rising(1.5, -0.5, until=6)
    mean, _ = Finished.of(FINISHED).forecast(stopped)
    assert abs(mean - 1.5) < 0.5 * abs(stopped[-1][1] - 1.5)


def test_a_forecast_is_as_sure_as_curves_before_were_alike() -> None:
    rng = np.random.default_rng(0)
    lucky = [(curve, final + float(rng.normal())) for curve, final in FINISHED * 4]
    stopped = rising(1.5, -0.5, until=6)
    _, sure = Finished.of(FINISHED * 4).forecast(stopped)
    _, unsure = Finished.of(lucky).forecast(stopped)
    assert unsure > 5 * sure


def test_forecasts_are_honest_about_their_deviation() -> None:
    rng = np.random.default_rng(1)
    known = Finished.of([(c, f + 0.2 * float(rng.normal())) for c, f in FINISHED * 3])
    missed = []
    for _ in range(200):
        final, start = rng.uniform(0.5, 2.0), rng.uniform(-1.0, 0.3)
        mean, sd = known.forecast(rising(final, start, until=7))
        missed.append((final + 0.2 * rng.normal() - mean) / sd)
    assert 0.7 < np.std(missed) < 1.3


def test_where_no_trial_went_as_far_little_is_known() -> None:
    short = [(curve[:5], final) for curve, final in FINISHED]
    stopped = rising(1.5, -0.5, until=8)
    for known in (Finished.of([]), Finished.of(short)):
        mean, sd = known.forecast(stopped)
        assert mean == pytest.approx(np.mean([v for at, v in stopped if at >= 4]))
        assert sd > np.std([value for _, value in stopped])


@given(st.floats(0.01, 1e4), st.floats(-1e4, 1e4))
def test_forecasts_follow_an_affine_change_of_all_values(factor: float, offset: float) -> None:
    def moved(curve: Curve) -> Curve:
        return [(at, factor * value + offset) for at, value in curve]

    stopped = rising(1.5, -0.5, until=6)
    mean, sd = Finished.of(FINISHED).forecast(stopped)
    other = Finished.of([(moved(c), factor * f + offset) for c, f in FINISHED])
    assert other.forecast(moved(stopped)) == (
        pytest.approx(factor * mean + offset, rel=1e-6, abs=1e-6 * factor),
        pytest.approx(factor * sd, rel=1e-5),
    )


points = st.lists(st.tuples(st.floats(0, 1e6), st.floats(-1e6, 1e6)), min_size=1, max_size=5)


@given(points, st.lists(st.tuples(points, st.floats(-1e6, 1e6)), max_size=4))
def test_any_curves_give_a_forecast(stopped, finished) -> None:
    told = [(sorted(curve), final) for curve, final in finished]
    mean, sd = Finished.of(told).forecast(sorted(stopped))
    assert math.isfinite(mean)
    assert sd >= 0.0


def seen(x: float, start: float = 0.0, *, stopped: bool = False) -> Observation:
    """A trial whose score is x at its end."""
    curve = rising(x, start, until=5 if stopped else 20)
    cost = 5.0 if stopped else 20.0
    return Observation({"x": x}, curve[-1][1], cost, curve=tuple(curve), is_stopped=stopped)


def test_a_stopped_trial_teaches_what_it_would_have_come_to() -> None:
    encoding = Encoding(LINE)
    finished = [seen(x, start) for x in (0.0, 0.1, 0.2, 0.4) for start in (-1.0, 0.0)]
    stopped = seen(0.8, -1.0, stopped=True)
    assert stopped.score is not None
    assert stopped.score < 0.6  # what it had come to
    data = Data.of(encoding, Settings(), [*finished, stopped])
    assert data.score[-1] == pytest.approx(0.8, abs=0.1)
    assert (data.doubt > 0).tolist() == [False] * 8 + [True]
    assert np.isnan(data.cost).tolist() == [False] * 8 + [True]


def test_a_doubtful_forecast_bends_the_model_less() -> None:
    encoding = Encoding(LINE)
    sure = [Observation({"x": x}, x, 1.0) for x in np.linspace(0.0, 0.6, 7)]
    alone = learn(encoding, Data.of(encoding, Settings(), sure))
    outlier = Observation({"x": 0.55}, -1.0, 1.0)
    doubtful = Observation({"x": 0.55}, -1.0, 1.0, curve=((1.0, -1.0),), is_stopped=True)
    at = np.array([[0.55]])

    def expected(last: Observation) -> float:
        taught = learn(encoding, Data.of(encoding, Settings(), [*sure, last]))
        return taught.scale.backward(float(taught.score.predict_mean(at)[0]))

    undisturbed = alone.scale.backward(float(alone.score.predict_mean(at)[0]))
    assert abs(expected(doubtful) - undisturbed) < 0.5 * abs(expected(outlier) - undisturbed)


def test_a_stopped_trial_is_not_recommended() -> None:
    protein = Protein(LINE)
    for x in (0.1, 0.2, 0.3):
        protein.observe({"x": x}, x, 1.0, curve=rising(x, 0.0))
    protein.observe({"x": 0.9}, 0.8, 0.5, curve=rising(0.9, 0.0, until=10), is_stopped=True)
    assert protein.best is not None
    assert protein.best.params == {"x": 0.3}
    params, _ = protein.suggest()
    assert LINE.contains(params)
