"""Tells a sweep's story one event at a time, as the coordinator would record it."""

from typing import Self

from launcher import policy
from launcher.budget import Offer, worst_case_usd
from launcher.config import SweepConfig
from launcher.events import (
    AttemptCancelling,
    AttemptEnded,
    AttemptStarted,
    AttemptSubmitted,
    AttemptSubmitting,
    EndReason,
    Event,
    Failure,
    Origin,
    Recorded,
    SweepCreated,
    SweepEnded,
    TrialDropped,
    TrialSuggested,
)
from launcher.policy import Action
from launcher.state import State, TrialState, apply
from tests.launcher.builders import PARAMS, START


class Story:
    """Every method records what it says and returns the story; time goes on by a second each."""

    def __init__(self, config: SweepConfig, offer: Offer | None = None) -> None:
        self.config = config
        self.offer = offer or Offer(parallel=4)
        self.now = START
        created = SweepCreated("abcd", config.to_mapping(), "0")
        self.state: State = apply(None, Recorded(1, 1, START, created))

    def record(self, event: Event) -> Self:
        self.now += 1.0
        self.state = apply(self.state, Recorded(self.state.seq + 1, 1, self.now, event))
        return self

    def decide(self, offer: Offer, now: float | None = None) -> Action:
        return policy.decide(self.config, self.state, offer, self.now if now is None else now)

    def suggest(self) -> Self:
        number = len(self.state.trials) + 1
        run_id = policy.run_id(self.config, self.state.sweep_id, number)
        return self.record(TrialSuggested(number, run_id, dict(PARAMS), Origin.OPTIMIZER, {}))

    def intend(self) -> Self:
        trial = self.state.trials[len(self.state.trials)]
        attempt = len(trial.attempts) + 1
        name = policy.job_name(self.config, self.state, trial.number, attempt)
        price, reserved = self.offer.price_usd_per_hour, worst_case_usd(self.config, self.offer)
        return self.record(AttemptSubmitting(trial.number, attempt, name, price, reserved))

    def start(self) -> Self:
        self.suggest().intend()
        number = len(self.state.trials)
        self.record(AttemptSubmitted(number, 1))
        price = self.offer.price_usd_per_hour
        return self.record(AttemptStarted(number, 1, self.now, price))

    def succeed(self, score: float) -> Self:
        return self.start().end_attempt(len(self.state.trials), score=score)

    def fail(self, failure: Failure) -> Self:
        return self.start().end_attempt(len(self.state.trials), failure=failure)

    def lose(self, *, retry_at: float) -> Self:
        self.start()
        number = len(self.state.trials)
        lost = AttemptEnded(number, 1, Failure.NODE_LOST, will_retry=True, retry_at=retry_at)
        return self.record(lost)

    def end_attempt(
        self,
        trial: int,
        *,
        score: float | None = None,
        failure: Failure | None = None,
        cost_usd: float = 0.0,
        metrics: dict[str, float] | None = None,
    ) -> Self:
        attempt = len(self.state.trials[trial].attempts)
        ended = AttemptEnded(
            trial, attempt, failure, score=score, cost_usd=cost_usd, metrics=metrics or {}
        )
        return self.record(ended)

    def cancel_attempt(self, trial: int) -> Self:
        attempt = len(self.state.trials[trial].attempts)
        return self.record(AttemptCancelling(trial, attempt, Failure.CANCELLED))

    def drop_all_waiting(self) -> Self:
        for trial in self.state.open_trials:
            if trial.state is TrialState.QUEUED:
                self.record(TrialDropped(trial.number))
        return self

    def end(self, reason: EndReason) -> Self:
        return self.record(SweepEnded(reason))
