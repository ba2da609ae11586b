import math
import re
from typing import Any

import pytest

from launcher.budget import Offer
from launcher.events import Failure
from launcher.pages import figures, report, status
from launcher.pages.figures.figure import MAX_POINTS, Figure
from launcher.pages.status import Document
from launcher.state import TrialState
from tests.launcher.builders import (
    PARAMS,
    START,
    ATrial,
    a_config,
    a_state,
    failed,
    running,
    succeeded,
)


def doc(*trials: ATrial, goal: str = "maximize", **changes: Any) -> Document:
    config = a_config(**{"sweep": {"goal": goal}, **changes})
    state = a_state(config, *trials)
    return status.document(config, state, offer=Offer(), now=START + 60, is_live=True)


TRIALS = (
    succeeded(100.0, 3.0),
    succeeded(50.0, 5.0),
    succeeded(412.5, 6.0, failures=(Failure.PREEMPTED, None)),
    failed(),
    running(begins_at=START + 55),
)


def there(figure: Figure | None) -> Figure:
    assert figure is not None
    return figure


def trace(figure: Figure, name: str) -> dict[str, Any]:
    return next(trace for trace in figure.data if trace["name"] == name)


def with_colors(value: Any) -> Any:
    """Resolve the colours as the page does."""
    match value:
        case str() if value.startswith("--"):
            return "#123456"
        case dict():
            return {key: with_colors(item) for key, item in value.items()}
        case list():
            return [with_colors(item) for item in value]
        case _:
            return value


@pytest.mark.parametrize("goal", ["maximize", "minimize"])
def test_plotly_accepts_every_figure(goal: str) -> None:
    from plotly import graph_objects

    shown = report.plots(doc(*TRIALS, goal=goal))
    assert {figure.key for figure in shown} >= {"pareto", "history", "parallel", "timeline"}
    for figure in shown:
        graph_objects.Figure(with_colors(figure.data), with_colors(figure.layout))


def test_the_front_and_the_best_have_their_own_marks() -> None:
    figure = there(figures.pareto(doc(*TRIALS)))
    assert trace(figure, "trial")["y"] == [50.0]
    assert [trace["y"] for trace in figure.data if trace["name"] == "Pareto front"] == [
        [100.0, 412.5],
        [100.0],
    ]
    assert trace(figure, "best")["y"] == [412.5]
    symbols = [t["marker"]["symbol"] for t in figure.data if t["mode"] == "markers"]
    assert len(set(symbols)) == len(symbols)


def test_a_failure_is_a_cross_below_all_scores() -> None:
    figure = there(figures.history(doc(*TRIALS)))
    cross = trace(figure, "failed")
    assert cross["x"] == [4]
    assert cross["y"][0] < 50.0
    assert cross["marker"]["symbol"] == "x-thin"


def test_the_hover_names_trial_score_and_parameters() -> None:
    text = trace(there(figures.pareto(doc(*TRIALS))), "best")["hovertext"][0]
    assert text.startswith("<b>trial 3</b><br>reward 412.5<br>cost 6.0 s<br>learning_rate = 0.0012")


def test_parameters_spread_on_a_log_scale_have_a_log_axis() -> None:
    by_name = {figure.title: figure.layout["xaxis"] for figure in figures.slices(doc(*TRIALS))}
    assert by_name["trainer.learning_rate"]["type"] == "log"
    assert by_name["trainer.learning_rate"]["ticktext"] == ["1e-5", "1e-4", "0.001", "0.01"]
    assert by_name["trainer.batch_size"]["ticktext"] == ["16", "32", "64", "128", "256"]
    assert by_name["trainer.gamma"]["type"] == "linear"
    assert by_name["model.activation"]["categoryarray"] == ["relu", "tanh"]


def test_a_parameters_axis_shows_its_whole_range() -> None:
    by_name = {figure.title: figure.layout["xaxis"] for figure in figures.slices(doc(*TRIALS))}
    low, high = by_name["trainer.learning_rate"]["range"]
    assert -5.3 < low < -5 < -2 < high < -1.7
    low, high = by_name["trainer.gamma"]["range"]
    assert 0.89 < low < 0.9 < 0.999 < high < 1.01


def test_failures_alone_stand_on_an_axis_without_numbers() -> None:
    document = doc(failed(), failed())
    for figure in (there(figures.history(document)), *figures.slices(document)):
        assert figure.layout["yaxis"]["showticklabels"] is False


def test_booleans_are_categories() -> None:
    space = {"model.bias": {"distribution": "categorical", "values": [True, False]}}
    told = [
        succeeded(1.0, params={"model.bias": True}),
        succeeded(2.0, params={"model.bias": False}),
    ]
    document = doc(*told, sweep={"parameters": space})
    (figure,) = figures.slices(document)
    assert trace(figure, "trial")["x"] == ["true", "false"]
    lines = there(figures.parallel(document)).data
    assert sorted(
        y for line in lines for x, y in zip(line["x"], line["y"], strict=True) if x == 0
    ) == [
        0.25,
        0.75,
    ]


def test_a_parameter_that_a_trial_does_not_have_leaves_a_gap() -> None:
    without = {name: value for name, value in PARAMS.items() if name != "trainer.gamma"}
    document = doc(succeeded(1.0, params=without), succeeded(2.0))
    gamma = next(f for f in figures.slices(document) if f.title == "trainer.gamma")
    assert len(trace(gamma, "trial")["x"]) == 1
    worst = trace(there(figures.parallel(document)), "the rest")
    assert worst["y"][worst["x"].index(1)] is None


@pytest.mark.parametrize(("goal", "best"), [("maximize", 2.0), ("minimize", 1.0)])
def test_the_best_tenth_follows_the_goal(goal: str, best: float) -> None:
    document = doc(succeeded(1.0), succeeded(2.0), goal=goal)
    tenth = trace(there(figures.parallel(document)), "best tenth")
    assert f"reward {best:g}" in tenth["hovertext"][-2]


def test_attempts_that_run_at_the_same_time_have_rows_of_their_own() -> None:
    told = [succeeded(1.0, begins_at=START + at, seconds=10.0) for at in (0, 0, 10, 15)]
    bars = trace(there(figures.timeline(doc(*told))), "succeeded")
    assert bars["y"] == [1, 2, 1, 2]
    assert bars["base"] == [0, 0, 10, 15]


def test_each_kind_of_end_has_a_pattern_beside_its_colour() -> None:
    bars = there(figures.timeline(doc(*TRIALS))).data
    names = {bar["name"]: bar["marker"]["pattern"]["shape"] for bar in bars}
    assert set(names) == {"succeeded", "failed", "ended by the machine", "running"}
    assert len(set(names.values())) == len(names)


def test_a_running_attempt_reaches_until_now() -> None:
    bars = trace(there(figures.timeline(doc(running(begins_at=START + 55)))), "running")
    assert bars["x"] == [5.0]


@pytest.mark.parametrize("told", [(), (running(),), (failed(), failed())])
def test_without_scores_there_is_no_plot_of_scores(told: tuple[ATrial, ...]) -> None:
    document = doc(*told)
    assert figures.pareto(document) is None
    assert figures.parallel(document) is None


def test_before_the_first_start_there_is_nothing_to_plot() -> None:
    assert report.plots(doc()) == []


def test_one_score_makes_every_plot_but_the_parallel_one() -> None:
    keys = [figure.key for figure in report.plots(doc(succeeded(1.0)))]
    assert "parallel" not in keys
    assert {"pareto", "history", "timeline", "slice-0"} <= set(keys)


def test_many_trials_are_drawn_thinly_and_the_best_is_kept() -> None:
    told = [succeeded(math.sin(n), 1.0 + n % 7) for n in range(2500)]
    document = doc(*told, trials=2500)
    figure = there(figures.pareto(document))
    assert sum(len(t["x"]) for t in figure.data) <= MAX_POINTS + 20
    assert trace(figure, "best")["y"] == [document["best"]["score"]]
    assert re.search(r"2,000 of 2,4\d\d are drawn", figure.caption)
    for one in figures.slices(document):
        assert trace(one, "best")["y"] == [document["best"]["score"]]


def test_what_comes_from_outside_is_escaped_for_plotly() -> None:
    evil = "<a href='x'>"
    space = {"model.kind": {"distribution": "categorical", "values": [evil, "b"]}}
    told = [succeeded(n, params={"model.kind": evil}) for n in (1.0, 2.0)]
    for figure in report.plots(doc(*told, sweep={"parameters": space, "metric": evil})):
        assert "<a" not in repr([figure.data, figure.layout])


def test_a_trial_waiting_for_its_second_attempt_keeps_its_first_bar() -> None:
    waiting = ATrial(failures=(Failure.PREEMPTED,), state=TrialState.QUEUED)
    bars = there(figures.timeline(doc(waiting))).data
    assert [bar["name"] for bar in bars] == ["ended by the machine"]
