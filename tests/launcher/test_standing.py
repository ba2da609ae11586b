"""What trials have taught so far, kept trial by trial."""

from hypothesis import given, settings
from hypothesis import strategies as st

from launcher.events import AttemptEnded, Event, Failure, TrialRetried
from launcher.optimizer import observation
from launcher.standing import Standing
from launcher.state import State
from protein import pareto_front
from protein.pareto import Goal
from tests.launcher.builders import a_config
from tests.launcher.story import Story

ends = st.lists(
    st.tuples(
        st.sampled_from([None, None, None, Failure.DIVERGED, Failure.CANCELLED, "retried"]),
        st.integers(-3, 3).map(float),
        st.none() | st.integers(0, 3).map(float),
    ),
    max_size=14,
)


@given(ends, st.sampled_from(["maximize", "minimize"]))
@settings(deadline=None)
def test_kept_trial_by_trial_it_is_what_a_whole_count_gives(
    ends: list[tuple[Failure | str | None, float, float | None]], goal: Goal
) -> None:
    story, standing = Story(a_config(sweep={"goal": goal})), Standing(goal)
    for number, (failure, score, cost) in enumerate(ends, start=1):
        events: list[Event] = [AttemptEnded(number, 1, None, score=score, cost_seconds=cost)]
        if failure == "retried":
            again = TrialRetried(number, str(number))
            events = [AttemptEnded(number, 1, Failure.CRASHED), again]
        elif failure is not None:
            events = [AttemptEnded(number, 1, Failure(failure))]
        story.start()
        for event in events:
            before = story.state.trials[number]
            story.record(event)
            standing = standing.after(before, story.state.trials[number])
    assert standing == Standing.of(goal, story.state)
    check(standing, story.state, goal)


def check(standing: Standing, state: State, goal: Goal) -> None:
    known = [o for o in map(observation, state.ordered) if o is not None]
    assert standing.observations == len(known)
    assert standing.failures == sum(o.is_failure for o in known)
    shown = [state.trials[number] for _, _, number in standing.front]
    expected = [(o.score, o.cost) for o in pareto_front(known, goal)]
    assert [(trial.score, trial.cost_seconds) for trial in shown] == expected
