"""The one loop that runs a sweep: ask the policy, act once, record once.

It alone calls the edges. Whatever happens to it, the journal and the executor together say how to
go on: an intent is committed before each act, and each act can be repeated.
"""

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import assert_never

import msgspec

from launcher import inbox, judging, metrics, policy, snapshot, trainlog, views
from launcher.budget import Offer
from launcher.config import from_mapping
from launcher.early_stopping import furthest, thinned
from launcher.errors import DiskError, ExecutorError
from launcher.events import (
    AttemptCancelling,
    AttemptSubmitted,
    AttemptSubmitting,
    CoordinatorStarted,
    Event,
    Failure,
    Origin,
    PauseRequested,
    Recorded,
    SweepEdited,
    SweepEnded,
    TrialDropped,
    TrialSuggested,
)
from launcher.folder import SweepFolder
from launcher.jobs import make_job
from launcher.journal import JournalWriter
from launcher.metrics import FolderCurves
from launcher.optimizer import Ask, complete
from launcher.policy import Cancel, Drop, End, Leave, Pause, Submit, Suggest, Wait
from launcher.ports import Clock, Curve, Curves, Executor, Metrics, Outcome, Phase, Result, Run
from launcher.standing import Standing
from launcher.state import Attempt, Mode, State, Trial, apply
from protein import Space

Watch = Callable[[State, Recorded | None], None]
"""Called after each event, and with None about once a second while nothing happens."""

Notice = Callable[[str], None]
"""Called with what the user should know and no event says, such as trouble with the disk."""

Release = Callable[[], Sequence[str]]
"""Gives back machines that wait for further trials; returns those that would not go."""

LOG_LINES = 60
"""How much of a failed trial's log is searched for the reason."""

DISK_RETRY_SECONDS = 5.0
BACKUP_SECONDS = 600.0
RECONCILE_SECONDS = 180.0
TICK_SECONDS = 1.0
"""How often requests are looked for and the watcher is called."""


@dataclass(frozen=True, slots=True)
class World:
    """The edges of one sweep: everything that is not its own state.

    `sees_files`: what trials write is seen in their run folders while they run; where it is not,
    the executor watches them for `stall_seconds`.
    """

    executor: Executor
    metrics: Metrics
    clock: Clock
    offer: Offer
    ask: Ask
    watch: Watch = field(default=lambda _state, _event: None)
    notice: Notice = field(default=lambda _text: None)
    release: Release = field(default=tuple)
    curves: Curves = field(default_factory=FolderCurves)
    sees_files: bool = True
    poll_seconds: float = 1.0
    result_grace_seconds: float = 0.0
    host: str = ""
    pid: int = 0


class Coordinator:
    """Runs one sweep from wherever it stands until nothing is left to do.

    The caller holds the sweep's lock and gives the journal and the state folded from it.
    """

    def __init__(
        self, folder: SweepFolder, journal: JournalWriter, state: State, world: World
    ) -> None:
        self.folder = folder
        self.state = state
        self.config = from_mapping(state.config)
        self._journal = journal
        self._world = world
        self._standing = Standing.of(self.config.sweep.goal, state)
        self._to_cancel = {
            trial.attempt.job_name
            for trial in state.live_trials
            if trial.attempt is not None and trial.attempt.cancelling is not None
        }
        """Jobs whose end was decided and not yet asked for by this coordinator."""
        self._is_new = True
        self._is_behind = False
        self._is_resting = False
        self._troubles: dict[str, str] = {}  # as they were told last
        self._backed_up_at = -math.inf
        self._reconciled_at = -math.inf
        self._progressed: dict[int, tuple[float, float]] = {}
        """Of each trial that is watched: when its files say that they grew, and when we saw it."""
        self._curve_of_running: dict[int, Curve] = {}
        self._curve_of_ended: dict[int, Curve] = {}

    def run(self) -> State:
        """Go on until the sweep ended, or is paused and drained; return the last state.

        Raises LockedError if another coordinator takes over, JournalError if the disk refuses.
        KeyboardInterrupt may come at any time: nothing is lost, running trials run on.
        """
        while True:
            try:
                until = self._begin() if self._is_new else self._step()
                self._go_on()
            except DiskError as error:
                until = self._rest(error.message)
            except OSError as error:  # a file of the sweep, outside of the journal
                until = self._rest(str(error))
            if until is None:
                return self.state
            self._wait(until)

    def _begin(self) -> float:
        """Write the sweep's own files, and record that this coordinator is at work."""
        self._catch_up()
        views.write_sweep(self.folder, self.config, self.state)
        self._record(CoordinatorStarted(self._world.host, self._world.pid))
        self._is_new = False
        return 0.0

    def _step(self) -> float | None:
        """Take requests, look at the jobs, act; return until when to wait, None to leave."""
        self._catch_up()
        self._back_up()
        self._take_requests()
        self._reconcile()
        self._poll()
        until = self._act()
        if until is None:
            self._back_up(is_due=True)
        return until

    def _reconcile(self) -> None:
        """End jobs under the sweep's name that its ledger does not keep: they would run for ever.

        What runs and is kept needs nothing: each intent was recorded before its job was started.
        """
        now = self._world.clock.now()
        if now - self._reconciled_at < RECONCILE_SECONDS:
            return
        prefix = policy.job_prefix(self.config, self.state)
        kept = {t.attempt.job_name for t in self.state.live_trials if t.attempt is not None}
        try:
            orphans = set(self._world.executor.names(prefix)) - kept
        except ExecutorError:
            return
        self._reconciled_at = now
        for name in sorted(orphans):
            self._world.notice(f"job {name} runs and is no trial's any more: it is ended")
        self._to_cancel |= orphans

    def _rest(self, problem: str) -> float:
        """Start nothing while the disk refuses; what runs, runs, and its results stay in place."""
        if not self._is_resting:
            self._world.notice(f"waiting for the disk: {problem}")
        self._is_behind = self._is_resting = True
        return self._world.clock.now() + DISK_RETRY_SECONDS

    def _go_on(self) -> None:
        """A whole step went well: so did what the disk had refused."""
        if self._is_resting:
            self._is_resting = False
            self._world.notice("the disk is back")

    def _catch_up(self) -> None:
        """After the disk failed: what it said it had not written may be there all the same."""
        if self._is_behind:
            for record in self._journal.read(after_seq=self.state.seq):
                self._take(record)
            self._is_behind = False

    def _back_up(self, *, is_due: bool = False) -> None:
        """Keep a copy of the journal, and what it folds to.

        Room for events may be left where none is for a copy.
        """
        now = self._world.clock.now()
        if is_due or now - self._backed_up_at >= BACKUP_SECONDS:
            self._backed_up_at = now
            try:
                self._journal.back_up(self.folder.backup)
            except DiskError as error:
                self._world.notice(f"no backup was made: {error.message}")
            else:
                snapshot.write(self.folder.snapshot, self.state, self._journal)

    def interrupt(self) -> State:
        """End what runs and wait until it is gone; its trials go on from checkpoints later."""
        names = []
        for trial in self.state.live_trials:
            attempt = trial.attempt
            if attempt is not None and attempt.is_submitted:
                names.append(attempt.job_name)
                if attempt.cancelling is None:
                    cancelling = AttemptCancelling(trial.number, attempt.number, Failure.PREEMPTED)
                    self._record(cancelling)
        self._to_cancel |= set(names)
        while any(t.attempt is not None and t.attempt.is_submitted for t in self.state.live_trials):
            self._poll()
            self._world.clock.sleep(self._world.poll_seconds)
            self._world.watch(self.state, None)
        return self.state

    def _act(self) -> float | None:
        """Do everything that can be done now; return until when to wait, None to leave."""
        while True:
            now = self._world.clock.now()
            action = policy.decide(
                self.config, self.state, self._world.offer, now, self._progress(), self._curves()
            )
            match action:
                case Wait(until=until):
                    return math.inf if until is None else until
                case Leave():
                    return None
                case Suggest():
                    self._suggest(action)
                case Submit():
                    self._submit(action)
                case Cancel():
                    self._end(action)
                case Drop(trial=trial):
                    self._record(TrialDropped(trial))
                case Pause(reason=reason):
                    self._record(PauseRequested(reason))
                case End(reason=reason, detail=detail):
                    self._record(SweepEnded(reason, detail))
                case _:
                    assert_never(action)

    def _suggest(self, action: Suggest) -> None:
        run_id = policy.run_id(self.config, self.state.sweep_id, action.number)
        if action.enqueued is None:
            suggestion = self._world.ask(self.config, self.state)
            params, info = dict(suggestion.params), dict(suggestion.info)
            origin, command_id = Origin.OPTIMIZER, None
        else:
            space = Space.from_dict(self.config.sweep.parameters)
            params, info = complete(space, action.enqueued.params), {"origin": "user"}
            origin, command_id = Origin.USER, action.enqueued.command_id
        self._record(TrialSuggested(action.number, run_id, params, origin, info, command_id))

    def _submit(self, action: Submit) -> None:
        if not action.is_recorded:
            self._record(
                AttemptSubmitting(
                    action.trial,
                    action.attempt,
                    action.job_name,
                    action.price_usd_per_hour,
                    action.reserved_usd,
                )
            )
        trial = self.state.trials[action.trial]
        job = make_job(self.folder, self.config, self.state, trial, action.attempt, action.job_name)
        try:
            views.write_trial(self.folder, self.config, self.state, trial, self._standing)
            views.write_job(self.folder, job)
            self._world.executor.submit(job)
        except ExecutorError as error:
            if isinstance(error.__cause__, OSError):
                raise DiskError(error.message) from error
            self._refuse(trial, error.message)
        else:
            self._record(AttemptSubmitted(action.trial, action.attempt))

    def _progress(self) -> dict[int, float]:
        """Return when each running trial last wrote something, where a sweep wants to know.

        Never (-inf) where a trial has written nothing yet.
        """
        if self.config.execution.stall_seconds is None or not self._world.sees_files:
            return {}
        now, seen = self._world.clock.now(), {}
        for trial in self.state.live_trials:
            at = metrics.grown_at(self.folder.run(trial.run_id))
            if at is None:
                continue
            before = self._progressed.get(trial.number)
            if before is None:
                seen[trial.number] = (at, min(at, now))
            else:  # the files' clock may be another than ours: what counts is that they changed
                seen[trial.number] = before if before[0] == at else (at, now)
        self._progressed = seen
        never = (-math.inf, -math.inf)
        return {t.number: seen.get(t.number, never)[1] for t in self.state.live_trials}

    def _curves(self) -> dict[int, Curve]:
        """Return what trials reported on their way, where the sweep stops trials early.

        The curve of a trial that is over is read once.
        """
        rule = self.config.sweep.early_stopping
        if rule is None:
            return {}
        for trial in self.state.ordered:
            if trial.state.is_over and trial.number not in self._curve_of_ended:
                self._curve_of_ended[trial.number] = self._curve(trial)
        begun = [trial for trial in self.state.open_trials if trial.attempts]
        for trial in begun:
            self._curve_of_ended.pop(trial.number, None)  # it is tried once more
        source, metric = self._world.curves, rule.metric or self.config.sweep.metric
        found = source.read([self._run(t) for t in begun], metric=metric, resource=rule.resource)
        self._say_once("what trials report on their way", "read", source.problem)
        self._curve_of_running = {t.number: found.get(t.run_id, ()) for t in begun}
        return {**self._curve_of_ended, **self._curve_of_running}

    def _curve(self, trial: Trial) -> Curve:
        """Return all that is known here of what a trial reported on its way.

        Its run folder counts, but files of trials on other machines may not have come home.
        Empty where nothing is stopped early.
        """
        rule = self.config.sweep.early_stopping
        if rule is None:
            return ()
        name = rule.metric or self.config.sweep.metric
        here = metrics.curve(self.folder.run(trial.run_id), name, resource=rule.resource)
        return furthest([here, self._curve_of_running.get(trial.number, ()), trial.curve])

    def _refuse(self, trial: Trial, detail: str) -> None:
        attempt = trial.attempt
        assert attempt is not None  # its intent was recorded
        now = self._world.clock.now()
        failure = Failure.LAUNCH_ERROR
        self._record(judging.refused(self.config, trial, attempt, failure, detail, now))

    def _end(self, action: Cancel) -> None:
        """Record the intent to end an attempt, with what speaks against it, and ask for its end."""
        curve: Curve = ()
        if action.reason is Failure.STOPPED_EARLY:
            curve = thinned(self._curve_of_running.get(action.trial, ()))
        self._record(
            AttemptCancelling(
                action.trial, action.attempt, action.reason, action.detail, tuple(curve)
            )
        )
        self._to_cancel.add(action.job_name)
        self._cancel()

    def _cancel(self) -> None:
        """Ask for the end of all jobs that are to end; when the executor fails, ask again later."""
        if self._to_cancel:
            with suppress(ExecutorError):
                self._world.executor.cancel(sorted(self._to_cancel))
                self._to_cancel.clear()

    def _poll(self) -> None:
        """Look at all live jobs with one request, and record what became of them.

        An intent that no executor has acknowledged is looked at only when it will not be carried
        out any more; else it is settled by submitting it. An executor that cannot answer now is
        asked again at the next poll.
        """
        self._cancel()
        live = [
            (trial, trial.attempt)
            for trial in self.state.live_trials
            if trial.attempt is not None
            and (trial.attempt.is_submitted or self.state.mode is Mode.CANCELLING)
        ]
        if not live:
            return
        try:
            outcomes = self._world.executor.poll([attempt.job_name for _, attempt in live])
        except ExecutorError as error:
            self._say_once("jobs", "looked at", error.message)
            return
        self._say_once("jobs", "looked at", "")
        seen = [(t, a, outcomes[a.job_name]) for t, a in live if a.job_name in outcomes]
        results = self._results([trial for trial, _, outcome in seen if outcome.is_over])
        for trial, attempt, outcome in seen:
            if not outcome.is_over:
                self._record_start(trial, attempt, outcome)
            elif results is not None:
                self._record_end(trial, attempt, outcome, results.get(trial.run_id))

    def _say_once(self, what: str, done: str, trouble: str) -> None:
        """Tell of trouble with an edge when it begins and when it is over, not in between."""
        before = self._troubles.get(what, "")
        if before and not trouble:
            self._world.notice(f"{what} can be {done} again")
        elif trouble and not before:
            self._world.notice(f"{what} cannot be {done} now: {trouble}")
        self._troubles[what] = trouble

    def _results(self, trials: list[Trial]) -> dict[str, Result] | None:
        """Return what trials that are over reported; None: the source cannot say it now."""
        runs = [self._run(trial) for trial in trials]
        try:
            return dict(self._world.metrics.read(runs)) if runs else {}
        except ExecutorError as error:
            self._world.notice(f"results cannot be read now: {error.message}")
            return None

    def _run(self, trial: Trial) -> Run:
        return Run(trial.run_id, self.folder.run(trial.run_id), len(trial.attempts))

    def _record_start(self, trial: Trial, attempt: Attempt, outcome: Outcome) -> None:
        if outcome.phase is Phase.RUNNING and attempt.started_at is None:
            self._record(judging.started(trial, attempt, outcome, self._world.clock.now()))

    def _record_end(
        self, trial: Trial, attempt: Attempt, outcome: Outcome, result: Result | None
    ) -> None:
        now = self._world.clock.now()
        if self._is_late(outcome, result, now):
            return
        log = self.folder.run(trial.run_id) / "train.log"
        last = trainlog.last_lines(log, LOG_LINES, attempt=attempt.number)
        ended = judging.judge(self.config, trial, attempt, outcome, result, last, now)
        self._record(msgspec.structs.replace(ended, curve=thinned(self._curve(trial))))

    def _is_late(self, outcome: Outcome, result: Result | None, now: float) -> bool:
        """Whether a program that ended well may still hand its metric in."""
        if outcome.phase is not Phase.EXITED or outcome.exit_code != 0:
            return False
        if metrics.is_whole(self.config, result):
            return False
        if self._world.metrics.problem:
            return True  # a source is away: what only it knows is late, not missing
        ended_at = outcome.ended_at if outcome.ended_at is not None else now
        return now - ended_at < self._world.result_grace_seconds

    def _take_requests(self) -> None:
        for path, command in inbox.read(self.folder.inbox):
            command_id = getattr(command, "command_id", None)
            is_new = command is not None and command_id not in self.state.commands
            if command is not None and is_new:
                reason = policy.why_not(self.state, command)
                if reason:
                    self._world.notice(f"{type(command).__name__} was not carried out: {reason}")
                else:
                    self._record(command)
                    if isinstance(command, SweepEdited):
                        views.write_sweep(self.folder, self.config, self.state)
            path.unlink(missing_ok=True)

    def _record(self, event: Event) -> None:
        self._take(self._journal.append(event, self._world.clock.now()))

    def _take(self, record: Recorded) -> None:
        before, self.state = self.state, apply(self.state, record)
        number = getattr(record.event, "trial", None)
        if number is not None:
            trial = self.state.trials[number]
            self._standing = self._standing.after(before.trials.get(number), trial)
        if isinstance(record.event, SweepEdited):
            self.config = from_mapping(record.event.config)
        self._world.watch(self.state, record)

    def _wait(self, until: float) -> None:
        """Sleep until the next poll, or until something is due; look up once a tick."""
        clock = self._world.clock
        until = min(until, clock.now() + self._world.poll_seconds)
        while (left := until - clock.now()) > 0:
            clock.sleep(min(left, TICK_SECONDS))
            self._world.watch(self.state, None)
            if any(self.folder.inbox.glob("[!.]*.json")):
                return
