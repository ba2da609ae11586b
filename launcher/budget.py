"""Money and time as hard limits: what is spent, what is promised, and what still fits.

Before an attempt starts its worst case is reserved: price × the longest it can be held. Spend plus
reservations never exceeds the cap, whatever happens in which order. US dollars and Unix seconds.
"""

import math
from dataclasses import dataclass

from launcher.config import SweepConfig
from launcher.state import Attempt, State, Trial

TEARDOWN_SECONDS = 120.0
"""From the decision to end a job until its machine is gone: one poll, 30 s of grace, the kill."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What the executor can give: the price of one trial's machines together, and how many fit.

    `gpus` counts those of one trial over all its nodes. `parallel` is the executor's own limit.
    `overhead_seconds`: the longest that machines are paid for before and after a program runs.
    `start_seconds`: how long a machine that is there waits for its next trial, where that can be
    sent ahead; 0: it cannot.
    """

    price_usd_per_hour: float = 0.0
    gpus: int = 0
    parallel: int = 1
    overhead_seconds: float = 0.0
    start_seconds: float = 0.0


def attempt_spend_usd(state: State, attempt: Attempt, now: float) -> float:
    """Return what an attempt has cost until now: nothing while it waits for its machine.

    An executor ends a job at its time limit by itself. So a running attempt counts for no longer,
    also while no coordinator has looked.
    """
    if attempt.is_over:
        return attempt.cost_usd
    if attempt.started_at is None:
        return 0.0
    timeout = state.config["execution"]["timeout_seconds"]
    longest = math.inf if timeout is None else timeout + TEARDOWN_SECONDS
    held = min(max(0.0, now - attempt.started_at), longest) + _warm_up_seconds(attempt)
    return float(held / 3600 * attempt.price_usd_per_hour)


def trial_spend_usd(state: State, trial: Trial, now: float) -> float:
    """Return what all attempts of a trial have cost until now."""
    return sum([attempt_spend_usd(state, attempt, now) for attempt in trial.attempts])


def _warm_up_seconds(attempt: Attempt) -> float:
    """Return for how long machines were paid before the program ran on them."""
    if attempt.held_since is None or attempt.started_at is None:
        return 0.0
    return max(0.0, attempt.started_at - attempt.held_since)


def spent_usd(state: State, now: float) -> float:
    """Return all that was spent: settled attempts, and running ones until now."""
    running = (t.attempt for t in state.live_trials if t.attempt is not None)
    return state.settled_usd + sum(
        attempt_spend_usd(state, a, now) for a in running if not a.is_over
    )


def reserved_usd(state: State, now: float) -> float:
    """Return what running attempts may cost beyond what they have spent already."""
    running = (t.attempt for t in state.live_trials if t.attempt is not None)
    return sum(
        max(0.0, a.reserved_usd - attempt_spend_usd(state, a, now))
        for a in running
        if not a.is_over
    )


def least_spend_usd(state: State, now: float) -> float:
    """Return what is spent for certain: until now, and until all that runs could be gone.

    What is being ended already may still cost the rest of its reservation.
    """
    total = spent_usd(state, now)
    for trial in state.live_trials:
        a = trial.attempt
        if a is None or a.is_over or a.started_at is None:
            continue
        teardown = a.price_usd_per_hour * TEARDOWN_SECONDS / 3600
        rest = max(0.0, a.reserved_usd - attempt_spend_usd(state, a, now))
        total += teardown if a.cancelling is None else min(teardown, rest)
    return total


def worst_case_usd(config: SweepConfig, offer: Offer) -> float:
    """Return the most that one attempt can cost; infinite when nothing bounds its time."""
    if offer.price_usd_per_hour == 0.0:
        return 0.0
    timeout = config.execution.timeout_seconds
    if timeout is None:
        return float("inf")
    seconds = offer.overhead_seconds + timeout + TEARDOWN_SECONDS
    return offer.price_usd_per_hour * seconds / 3600


def active_seconds(state: State, now: float) -> float:
    """Return for how long the sweep has been at work.

    Pauses do not count, nor time in which no coordinator lived and no trial ran.
    """
    since = state.active_since
    return state.active_seconds + (max(0.0, now - since) if since is not None else 0.0)


def gpu_hours(state: State, offer: Offer, now: float) -> float:
    """Return the GPU hours used, running attempts included."""
    running = sum(
        max(0.0, now - t.attempt.started_at)
        for t in state.live_trials
        if t.attempt is not None and t.attempt.started_at is not None
    )
    return (state.machine_seconds + running) / 3600 * offer.gpus


def why_nothing_fits(config: SweepConfig, state: State, offer: Offer, now: float) -> str:
    """Return why no further attempt may start now; empty when one may.

    The worst case of the next attempt is held against what is left of every limit.
    """
    budget = config.budget
    if budget.usd is not None:
        committed = spent_usd(state, now) + reserved_usd(state, now)
        next_usd = worst_case_usd(config, offer)
        if committed + next_usd > budget.usd:
            can_cost = f"can cost {next_usd:.2f}"
            if math.isinf(next_usd):
                can_cost = "can cost any sum: set execution.timeout_seconds"
            return (
                f"budget.usd {budget.usd:.2f}: {committed:.2f} spent or reserved,"
                f" and one more trial {can_cost}"
            )
    if budget.hours is not None and active_seconds(state, now) >= budget.hours * 3600:
        return f"budget.hours {budget.hours:g} are over"
    if budget.gpu_hours is not None:
        timeout = config.execution.timeout_seconds
        longest = 0.0 if timeout is None else (timeout + TEARDOWN_SECONDS) / 3600 * offer.gpus
        promised = longest * len(state.live)
        used = gpu_hours(state, offer, now)
        if max(used, state.machine_seconds / 3600 * offer.gpus + promised) + longest > (
            budget.gpu_hours
        ):
            return f"budget.gpu_hours {budget.gpu_hours:g}: {used:.2f} used"
    return ""
