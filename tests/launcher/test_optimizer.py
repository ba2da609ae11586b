import msgspec
import pytest

from launcher.events import AttemptCancelling, AttemptEnded, Failure, SweepEdited
from launcher.judging import judge
from launcher.optimizer import Optimizer, observation, recommendation
from launcher.ports import Outcome, Phase, Result
from launcher.state import TrialState
from protein import Budget
from tests.launcher.builders import START, a_config
from tests.launcher.story import Story

TWO = {"second_objective": {"metric": "latency", "goal": "minimize"}}


def ended(trial: int, score: float, *, usd: float, seconds: float) -> AttemptEnded:
    return AttemptEnded(trial, 1, None, score=score, cost_usd=usd, cost_seconds=seconds)


def test_dollars_left_count_as_costs_at_what_costs_have_come_to() -> None:
    config = a_config(budget={"usd": 10.0, "trials": 5})
    story = Story(config).start().record(ended(1, 0.5, usd=1.0, seconds=100.0))
    story.start().record(ended(2, 0.7, usd=3.0, seconds=300.0)).start()
    left = Optimizer.of(config).left(story.state)
    assert left.cost == pytest.approx(600.0)
    assert left.trials == 2


def test_hours_left_count_as_what_hours_have_bought() -> None:
    def left(**budget: float) -> Budget:
        story = Story(a_config(budget=budget)).start().start()
        story.now = START + 1799.0
        story.record(ended(1, 0.5, usd=2.0, seconds=300.0))
        return Optimizer.of(story.config).left(story.state)

    assert left(hours=2.0).cost == pytest.approx(300.0 / 0.5 * 1.5)
    assert left(hours=2.0, usd=3.0).cost == pytest.approx(150.0)


def test_gpu_hours_left_count_as_what_gpu_hours_have_bought() -> None:
    story = Story(a_config(budget={"gpu_hours": 5.0})).start().start()
    story.record(AttemptEnded(1, 1, None, score=0.5, cost_seconds=300.0, machine_seconds=1800.0))
    assert Optimizer.of(story.config, gpus=2).left(story.state).cost == pytest.approx(4 * 300.0)
    assert Optimizer.of(story.config).left(story.state).cost is None


def test_without_a_cap_or_a_bill_only_trials_are_counted() -> None:
    free = Story(a_config(budget={"usd": 10.0})).start()
    free.record(ended(1, 0.5, usd=0.0, seconds=100.0))
    assert Optimizer.of(free.config).left(free.state) == Budget(cost=None, trials=11)
    uncapped = Story(a_config()).start().record(ended(1, 0.5, usd=1.0, seconds=100.0))
    assert Optimizer.of(uncapped.config).left(uncapped.state) == Budget(cost=None, trials=11)


def test_a_stopped_trial_teaches_its_curve() -> None:
    curve = ((1.0, 0.1), (2.0, 0.3))
    story = Story(a_config()).start()
    story.record(AttemptEnded(1, 1, Failure.STOPPED_EARLY, score=0.3, curve=curve))
    trial = story.state.trials[1]
    assert trial.state is TrialState.STOPPED
    taught = observation(trial)
    assert taught is not None
    assert (taught.curve, taught.is_stopped, taught.score) == (curve, True, 0.3)


def test_a_trial_stopped_by_another_metric_has_no_score_and_still_teaches() -> None:
    rule = {"method": "median", "metric": "loss", "resource": "step", "grace": 1}
    config = a_config(sweep={"early_stopping": rule})
    story = Story(config).start()
    killed = Outcome(Phase.KILLED, started_at=START, ended_at=START + 60.0)
    asked = AttemptCancelling(1, 1, Failure.STOPPED_EARLY)
    stopping = story.record(asked).state.trials[1]
    assert stopping.attempt is not None
    result = Result({"loss": 3.5})
    ended = judge(config, stopping, stopping.attempt, killed, result, [], START + 60.0)
    assert ended.score is None
    story.record(msgspec.structs.replace(ended, curve=((1.0, 4.0), (2.0, 3.5))))
    taught = observation(story.state.trials[1])
    assert taught is not None
    assert (taught.is_stopped, taught.curve[-1]) == (True, (2.0, 3.5))


def test_two_objectives_are_still_known_after_an_edit() -> None:
    config = a_config(sweep=TWO)
    story = Story(config)
    for reward, latency in [(1.0, 100.0), (0.95, 10.0), (0.2, 5.0)]:
        story.start()
        metrics = {"latency": latency}
        story.end_attempt(len(story.state.trials), score=reward, metrics=metrics)
    story.record(SweepEdited(config.to_mapping()))
    found = recommendation(config, story.state)
    assert found is not None
    assert found.observation.suggestion_id == "2"
