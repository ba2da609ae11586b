import io
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from launcher.budget import Offer
from launcher.events import EndReason, Event, Failure, Origin, PauseRequested, SweepEnded
from launcher.pages import status, table
from launcher.pages.status import Document
from launcher.pages.summary import next_steps, summary
from launcher.pages.table import LiveView, PlainView, Screen, Spoken, interesting
from launcher.pages.wording import changes, money_parts
from launcher.state import TrialState
from tests.launcher.builders import (
    START,
    ATrial,
    a_config,
    a_state,
    failed,
    queued,
    running,
    succeeded,
)


def doc(
    *trials: ATrial,
    is_live: bool = True,
    price: float = 0.0,
    then: tuple[Event, ...] = (),
    **changes: Any,
) -> Document:
    config = a_config(**changes)
    state = a_state(config, *trials, then=then, then_at=START + 60)
    offer = Offer(price, 1, 2)
    return status.document(config, state, offer=offer, now=START + 60, is_live=is_live)


def a_terminal(width: int = 100, height: int = 30, **changes: Any) -> Console:
    facts: dict[str, Any] = {"force_terminal": True, "_environ": {"TERM": "xterm-256color"}}
    return Console(file=io.StringIO(), width=width, height=height, **{**facts, **changes})


def text(console: Console, renderable: Any) -> str:
    with console.capture() as capture:
        console.print(renderable)
    return capture.get()


def plain(renderable: Any, width: int = 100, height: int = 30) -> str:
    return text(a_terminal(width, height, no_color=True, color_system=None), renderable)


def test_the_table_shows_state_parameters_score_and_cost_in_words() -> None:
    shown = plain(Screen(doc(succeeded(412.5, 6.2))))
    row = next(line for line in shown.splitlines() if "succeeded" in line)
    assert " ".join(row.split()) == "1 ✓ succeeded 0.0012 0.99 64 tanh 412.5 6.2 s ★ best"


def test_the_header_says_how_far_the_sweep_is() -> None:
    shown = plain(Screen(doc(succeeded(412.5, 6.2), failed(), running(begins_at=START + 58))))
    assert "demo  running  2/12 trials, 1 running, 1 failed  1 min 00 s, about " in shown
    assert "maximize reward: best 412.5 ★ at 6.2 s (trial 1)" in shown


def test_money_is_shown_only_where_it_is_involved() -> None:
    assert "spent" not in plain(Screen(doc(succeeded(1.0))))
    paid = doc(succeeded(1.0, seconds=100, price_usd_per_hour=36), price=36.0, budget={"usd": 20})
    assert "spent $1.00 of $20.00" in plain(Screen(paid))


def test_status_shows_what_is_spent_reserved_lost_and_to_come() -> None:
    paid: dict[str, Any] = {"seconds": 100, "price_usd_per_hour": 36}
    lost = ATrial(1.0, 100.0, [Failure.PREEMPTED, None], **paid)
    begun = running(begins_at=START + 60, price_usd_per_hour=36, reserved_usd=3.0)
    shown = doc(lost, begun, price=36.0, trials=3, budget={"usd": 20})
    assert money_parts(shown) == [
        "spent $2.00 of $20.00",
        "$3.00 reserved",
        "$1.00 lost to preemption",
        "$2.00 a trial",
        "forecast $6.00",
    ]


def test_a_failed_trial_names_its_class_and_its_exit_code() -> None:
    shown = plain(Screen(doc(failed(Failure.OUT_OF_MEMORY, detail="exit code 137"))))
    assert "✗ out of memory" in shown
    assert "exit code 137" in shown


BROKEN = failed(detail="exit code 3\nloading data\nreading \x1b[2J it\nRuntimeError: no such file")


def test_the_last_lines_of_a_failed_trials_log_are_shown() -> None:
    shown = plain(Screen(doc(succeeded(1.0), BROKEN))).splitlines()
    at = shown.index("trial 2, exit code 3:")
    assert shown[at + 1 : at + 4] == [
        "    loading data",
        "    reading \N{REPLACEMENT CHARACTER}[2J it",
        "    RuntimeError: no such file",
    ]


def test_a_cause_of_many_lines_is_told_in_one() -> None:
    cause = "exit code 3: RuntimeError: no such file"
    document = doc(BROKEN, BROKEN, is_live=False)
    assert f"2 trials crashed: {cause}" in plain(summary(document))
    assert plain(Screen(document), width=160).count(cause) == 2
    assert f"trial 1 failed: crashed ({cause})" in lines(doc(running()), doc(BROKEN))


def test_a_long_reason_is_shown_to_its_end() -> None:
    reason = "4 trials in a row broke (execution.max_consecutive_failures is 4)"
    shown = plain(Screen(doc(failed(), then=(PauseRequested(reason),))), width=40).splitlines()
    assert shown[0] == "demo  paused  1/12 trials, 1 failed"
    assert reason in " ".join(line.strip() for line in shown)


def test_a_sweep_without_a_coordinator_says_how_to_go_on() -> None:
    shown = plain(Screen(doc(succeeded(1.0), is_live=False)))
    assert "interrupted (no coordinator runs)" in shown
    assert "protein-sky resume demo" in shown


def test_a_spent_budget_is_not_resumed_but_explained() -> None:
    ended = SweepEnded(EndReason.BUDGET, "budget.usd 1.00: 0.99 spent or reserved")
    shown = plain(summary(doc(succeeded(1.0), then=(ended,), is_live=False)))
    assert "stopped by its budget (budget.usd 1.00: 0.99 spent or reserved)" in shown
    assert "resume" not in shown


@pytest.mark.parametrize(
    ("reason", "command"),
    [
        ("budget.usd 1.00: 0.99 spent or reserved", "extend demo --budget-usd X"),
        ("budget.hours 2 are over", "extend demo --hours H"),
        ("budget.gpu_hours 2: 1.9 used", "edit demo budget.gpu_hours=H"),
    ],
)
def test_what_a_spent_budget_left_undone_comes_with_the_command(reason: str, command: str) -> None:
    ended = SweepEnded(EndReason.BUDGET, reason)
    steps = next_steps(doc(succeeded(1.0), then=(ended,), is_live=False))
    assert steps[0] == (f"protein-sky {command}", "11 trials left, with a larger budget")


def test_a_trial_that_waits_for_its_next_attempt_says_why_and_how_long() -> None:
    waiting = ATrial(failures=(Failure.PREEMPTED,), state=TrialState.QUEUED, begins_at=START + 51)
    shown = plain(Screen(doc(waiting)))
    assert "waiting" in shown
    assert "preempted, again in 2.0 s" in shown


def test_your_own_configuration_is_marked() -> None:
    assert "yours" in plain(Screen(doc(queued(origin=Origin.USER))))


@given(st.integers(20, 160), st.integers(15, 60), st.integers(0, 40))
def test_the_screen_never_outgrows_the_terminal(width: int, height: int, trials: int) -> None:
    told = [succeeded(float(n), detail="x" * 200) for n in range(trials)] + [BROKEN, running()]
    for events in (("event " * 40,), ()):
        shown = plain(Screen(doc(*told, trials=50), events), width, height).splitlines()
        assert max(map(len, shown)) <= width
        assert len(shown) < height


def test_what_finds_no_room_is_counted() -> None:
    told = [succeeded(float(n)) for n in range(40)]
    shown = plain(Screen(doc(*told, trials=40)), width=50, height=12)
    assert "more trials and 3 more parameters not shown" in shown


def test_live_trials_and_the_best_stay_on_a_small_screen() -> None:
    told = [succeeded(9.0), *(succeeded(float(n)) for n in range(8)), running(), queued()]
    shown = interesting(doc(*told), 4)
    assert [trial["number"] for trial in shown] == [1, 8, 9, 10]


def test_short_parameter_names_stay_distinct() -> None:
    space = {name: {"min": 0.1, "max": 0.2} for name in ("a.rate", "b.rate", "c.size")}
    params = dict.fromkeys(space, 0.15)
    shown = plain(Screen(doc(succeeded(1.0, params=params), sweep={"parameters": space})))
    assert "a.rate" in shown
    assert "b.rate" in shown
    assert "c.size" not in shown


@pytest.mark.parametrize("hostile", ["[red]x[/red]", "a\x1b[2Jb", "a\nb", "‮abc"])
def test_what_a_trial_says_cannot_steer_the_terminal(hostile: str) -> None:
    document = doc(failed(detail=hostile, params={"model.activation": hostile}))
    for shown in (plain(Screen(document)), plain(summary(document)), *changes(None, document)):
        assert "\x1b" not in shown
        assert "‮" not in shown
        assert "a\nb" not in shown


def test_colours_are_left_out_under_no_color() -> None:
    console = a_terminal(_environ={"TERM": "xterm-256color", "NO_COLOR": "1"})
    shown = text(console, Screen(doc(succeeded(1.0), failed())))
    assert "\x1b[3" not in shown


def test_ascii_terminals_get_ascii_symbols() -> None:
    file = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    console = Console(file=file, width=100)
    document = doc(succeeded(412.5), succeeded(1.0, 2.0), failed(detail="größer"))
    for renderable in (Spoken(Screen(document)), summary(document)):
        assert text(console, renderable).isascii()
    with table.view(console) as view:
        view.update(document)


def lines(before: Document | None, after: Document) -> list[str]:
    return list(changes(before, after))


def test_plain_lines_tell_a_trials_story() -> None:
    nothing, started, ended = doc(), doc(running()), doc(succeeded(412.5, 6.2))
    assert lines(nothing, started) == [
        "trial 1 started: learning_rate=0.0012 gamma=0.99 batch_size=64 activation=tanh"
    ]
    assert lines(started, ended) == ["trial 1: score 412.5, cost 6.2 s, best so far ★"]
    assert lines(ended, ended) == []


def test_a_trial_that_began_and_ended_between_two_looks_has_both_lines() -> None:
    told = lines(doc(), doc(succeeded(1.0)))
    assert [line.split()[:3] for line in told] == [
        ["trial", "1", "started:"],
        ["trial", "1:", "score"],
    ]


def test_a_worse_trial_is_not_called_the_best() -> None:
    before, after = doc(succeeded(2.0), running()), doc(succeeded(2.0), succeeded(1.0, 8.0))
    assert lines(before, after) == ["trial 2: score 1, cost 8.0 s"]


def test_a_preempted_trial_says_when_it_goes_on() -> None:
    story = ATrial(failures=(Failure.PREEMPTED,), state=TrialState.QUEUED, begins_at=START + 51)
    before = doc(running(begins_at=START + 51))
    assert lines(before, doc(story)) == ["trial 1: preempted; next attempt in 2.0 s"]


def test_a_second_attempt_is_called_one() -> None:
    again = ATrial(failures=(Failure.PREEMPTED,), state=TrialState.RUNNING)
    told = lines(doc(running()), doc(again))
    assert told[0].startswith("trial 1 started again (attempt 2): ")


def test_a_failure_and_a_pause_are_told_with_their_reasons() -> None:
    after = doc(failed(), then=(PauseRequested("3 in a row broke"),))
    assert lines(doc(running()), after) == [
        "trial 1 failed: crashed (exit code 1)",
        "demo paused (3 in a row broke), 1 of 12 trials done, 1 failed",
    ]


def test_a_resumed_sweep_does_not_tell_its_past_again() -> None:
    told = lines(None, doc(succeeded(1.0), succeeded(2.0)))
    assert told == ["demo: maximize reward, 2 of 12 trials done, best 2 (trial 2)"]


def test_a_resumed_sweep_tells_of_a_running_trial_what_is_new() -> None:
    lost = replace(running(), failures=(Failure.NODE_LOST,))
    assert lines(None, doc(lost)) == ["demo: maximize reward, 0 of 12 trials done, 1 running"]
    ended = replace(lost, failures=(Failure.NODE_LOST, None), state=None, score=3.0)
    assert [line.split(":")[0] for line in lines(doc(lost), doc(ended))] == ["trial 1"]


def test_nobody_watching_means_plain_lines_without_escapes() -> None:
    out = io.StringIO()
    console = Console(file=out, width=40)
    with table.view(console) as view:
        assert isinstance(view, PlainView)
        view.update(doc())
        view.update(doc(succeeded(412.5)))
    assert "\x1b" not in out.getvalue()
    assert out.getvalue().count("\n") == 3


def test_a_dumb_terminal_gets_plain_lines() -> None:
    console = a_terminal(_environ={"TERM": "dumb"})
    assert isinstance(table.view(console), PlainView)


def test_a_live_view_shows_the_last_events_below_the_table() -> None:
    console = a_terminal(height=24, color_system=None)
    with table.view(console) as view:
        assert isinstance(view, LiveView)
        view.update(doc(running()))
        view.update(doc(succeeded(412.5, 6.2)))
    file = console.file
    assert isinstance(file, io.StringIO)
    assert "trial 1: score 412.5, cost 6.2 s, best so far ★" in file.getvalue()


def test_the_summary_has_the_best_the_front_and_what_to_do_next() -> None:
    told = [succeeded(100.0, 3.0), succeeded(412.5, 6.2), failed()]
    shown = plain(summary(doc(*told, then=(SweepEnded(EndReason.COMPLETED),), is_live=False)))
    assert "demo completed: 3 trials, 1 failed" in shown
    assert "★ best reward 412.5" in shown
    assert "trainer.learning_rate" in shown
    assert "Pareto front" in shown
    assert "protein-sky best demo --yaml" in shown
    assert "protein-sky logs demo 3" in shown
    assert "protein-sky retry demo --failed" in shown


def test_a_summary_without_a_score_says_what_broke() -> None:
    shown = plain(summary(doc(failed(), failed(), failed(Failure.TIMEOUT, detail=""))))
    assert "No trial has a score." in shown
    assert "2 trials crashed: exit code 1" in shown
    assert "1 trial timeout" in shown


def test_commands_to_copy_are_quoted() -> None:
    document = {**doc(succeeded(1.0), is_live=False), "sweep": "my sweep"}
    assert next_steps(document)[0][0] == "protein-sky resume 'my sweep'"


def test_an_empty_sweep_can_be_shown_and_summed_up() -> None:
    assert "no score yet" in plain(Screen(doc()))
    assert "No trial has a score." in plain(summary(doc()))
