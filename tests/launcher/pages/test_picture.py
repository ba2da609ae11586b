import builtins
import contextlib
import io
import itertools
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from launcher.budget import Offer
from launcher.pages import picture, status
from launcher.pages.picture import Picture, running_best
from launcher.pages.status import Document
from tests.launcher.builders import START, ATrial, a_config, a_state, failed, succeeded


def doc(*trials: ATrial, goal: str = "maximize") -> Document:
    config = a_config(sweep={"goal": goal})
    state = a_state(config, *trials)
    return status.document(config, state, offer=Offer(), now=START + 60, is_live=True)


def drawn(document: Document, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width)
    with console.capture() as capture:
        console.print(Picture(document))
    return capture.get()


TRIALS = (succeeded(100.0, 3.0), succeeded(50.0, 5.0), succeeded(412.5, 6.0))


def test_the_picture_marks_trials_the_front_and_the_best() -> None:
    plot = picture.pareto(doc(*TRIALS), 60)
    assert plot is not None
    assert (plot.count("·"), plot.count("◆"), plot.count("★")) == (1, 1, 1)


def test_higher_scores_are_drawn_higher() -> None:
    plot = picture.pareto(doc(*TRIALS), 60)
    assert plot is not None
    rows = plot.splitlines()
    height = {mark: next(i for i, row in enumerate(rows) if mark in row) for mark in "·◆★"}
    assert height["★"] < height["◆"] < height["·"]


def test_costs_far_apart_are_drawn_on_a_log_axis() -> None:
    told = [succeeded(float(n), 10.0**n) for n in range(5)]
    plot = picture.pareto(doc(*told), 60)
    assert plot is not None
    columns = sorted(row.index(mark) for row in plot.splitlines() for mark in "◆★" if mark in row)
    steps = [b - a for a, b in itertools.pairwise(columns)]
    assert max(steps) - min(steps) <= 1


@pytest.mark.parametrize(("goal", "expected"), [("maximize", [2, 2, 5]), ("minimize", [2, 1, 1])])
def test_the_best_so_far_never_gets_worse(goal: str, expected: list[float]) -> None:
    assert running_best([2, 1, 5], goal) == expected


def test_trials_are_counted_in_whole_numbers() -> None:
    plot = picture.best_so_far(doc(*TRIALS), 60)
    assert plot is not None
    assert plot.splitlines()[-1].split() == ["1", "2", "3"]


def test_plots_stand_side_by_side_where_there_is_room() -> None:
    narrow, wide = drawn(doc(*TRIALS), 80), drawn(doc(*TRIALS), 120)
    assert len(wide.splitlines()) < len(narrow.splitlines())
    assert "reward against cost" in wide.splitlines()[0]
    assert "reward by trial" in wide.splitlines()[0]


def test_there_is_no_picture_of_fewer_than_two_scores() -> None:
    assert drawn(doc()).strip() == ""
    assert drawn(doc(succeeded(1.0), failed())).strip() == ""


def test_trials_without_a_known_cost_are_drawn_by_trial_only() -> None:
    shown = drawn(doc(succeeded(1.0, None), succeeded(2.0, None)))
    assert "against cost" not in shown
    assert "reward by trial" in shown


def test_a_table_stands_in_where_plotext_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without_plotext(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "plotext":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_plotext)
    shown = drawn(doc(*TRIALS))
    assert "412.5" in shown
    assert "┌" not in shown


numbers = st.floats(-1e300, 1e300)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(numbers, st.none() | st.floats(0, 1e300)), max_size=8))
def test_any_scores_and_costs_can_be_drawn(points: list[tuple[float, float | None]]) -> None:
    complaints = io.StringIO()
    with contextlib.redirect_stderr(complaints), contextlib.redirect_stdout(complaints):
        shown = drawn(doc(*[succeeded(score, cost) for score, cost in points]), 60)
    assert complaints.getvalue() == ""
    assert all(len(line) <= 60 for line in shown.splitlines())


def test_plotext_is_loaded_only_to_draw() -> None:
    pages = "launcher.pages.picture, launcher.pages.summary"
    code = f"import sys, {pages}; sys.exit('plotext' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
