"""What a job does on the simulated cluster, and where it stands at any time: pure functions."""

import json
import math
import os
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from launcher import trainlog
from launcher.files import write_atomic
from launcher.ports import Cause, Outcome, Phase
from launcher.trial import spelled


class Report(msgspec.Struct, frozen=True):
    """A line of metrics.jsonl that a trial writes on its way, so long after its program started."""

    after_seconds: float
    step: int
    metrics: dict[str, float]


class SimulatedRun(msgspec.Struct, frozen=True, kw_only=True):
    """What one job does, in virtual seconds.

    It waits `pending_seconds` for its machine, runs for `duration_seconds` (None: it hangs), exits
    with `exit_code` and leaves `metrics` as its result (None: nothing). If `lost_after` comes
    first, counted from the start of its program, it is gone then, for the reason `cause`.
    NO_CAPACITY means that its machine never comes. A `launch_error` makes `submit` fail.
    """

    duration_seconds: float | None = 60.0
    exit_code: int = 0
    metrics: dict[str, float] | None = None
    cost_seconds: float | None = None
    reports: tuple[Report, ...] = ()
    log: str = ""
    pending_seconds: float = 0.0
    lost_after: float | None = None
    cause: Cause = Cause.UNKNOWN
    launch_error: str = ""


class SimulatedJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job that the cluster accepted. Times are Unix seconds; None means never."""

    name: str
    run_id: str
    attempt: int
    run_dir: str
    submitted_at: float
    run: SimulatedRun
    price_usd_per_hour: float = 0.0
    timeout_seconds: float | None = None
    cancelled_at: float | None = None

    @property
    def program_at(self) -> float:
        """When its program starts, or when it is clear that no machine comes."""
        return self.submitted_at + self.run.pending_seconds

    @property
    def ends_at(self) -> float:
        """When it is over, as things stand; infinity if it hangs."""
        return self._end()[0]

    @property
    def exits(self) -> bool:
        """Whether its program comes to an end of its own."""
        return self._end()[1] is Phase.EXITED

    def outcome(self, now: float) -> Outcome:
        """Where the job stands at a time."""
        ends_at, ending, cause = self._end()
        starts = cause is not Cause.NO_CAPACITY and self.program_at < ends_at
        started = starts and self.program_at <= now
        over = ends_at <= now
        running = Phase.RUNNING if started else Phase.PENDING
        return Outcome(
            phase=ending if over else running,
            exit_code=self.run.exit_code if over and ending is Phase.EXITED else None,
            started_at=self.program_at if started else None,
            ended_at=ends_at if over else None,
            price_usd_per_hour=self.price_usd_per_hour,
            detail="simulated" if over and ending is not Phase.EXITED else "",
            cause=cause if over else Cause.UNKNOWN,
        )

    def _end(self) -> tuple[float, Phase, Cause]:
        """When and how it is over: what comes first."""
        ways = [(_later(self.program_at, self.run.duration_seconds), Phase.EXITED, Cause.UNKNOWN)]
        if self.run.cause is Cause.NO_CAPACITY:
            ways = [(self.program_at, Phase.LOST, Cause.NO_CAPACITY)]
        elif self.run.lost_after is not None:
            ways.append((self.program_at + self.run.lost_after, Phase.LOST, self.run.cause))
        if self.timeout_seconds is not None:
            ways.append((self.program_at + self.timeout_seconds, Phase.KILLED, Cause.TIMEOUT))
        if self.cancelled_at is not None:
            ways.append((self.cancelled_at, Phase.KILLED, Cause.UNKNOWN))
        return min(ways, key=lambda way: way[0])


def _later(at: float, seconds: float | None) -> float:
    return math.inf if seconds is None else at + seconds


def write_files(job: SimulatedJob, now: float, *, since: float | None = None) -> None:
    """Write what the job's program has written by now, and nothing twice.

    `since` says until when that was done; None: find out from the files. A file's modification
    time is the virtual time of its last line, as if the program had run.
    """
    folder = Path(job.run_dir)
    log, lines = folder / "train.log", folder / "metrics.jsonl"
    since = _written_until(log, job) if since is None else since
    if since < job.program_at:
        folder.mkdir(parents=True, exist_ok=True)
        when = datetime.fromtimestamp(job.program_at, tz=UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        text = f"{trainlog.header(job.run_id, job.attempt, when)}\n{job.run.log}".rstrip("\n")
        _append(log, text, job.program_at)
    for report in job.run.reports:
        at = job.program_at + report.after_seconds
        if since < at <= min(now, job.ends_at):
            line = {"step": report.step, "time": at, **report.metrics}
            _append(lines, json.dumps(spelled(line)), at)
            os.utime(log, (at, at))  # where the next call, maybe of another process, goes on
    if now >= job.ends_at and job.exits and job.run.metrics is not None:
        result: dict[str, object] = {
            "schema_version": 1,
            "metrics": spelled(job.run.metrics),
            "status": "completed",
            "attempt": job.attempt,
        }
        if job.run.cost_seconds is not None:
            result["cost_seconds"] = job.run.cost_seconds
        write_atomic(folder / "result.json", json.dumps(result))


def _written_until(log: Path, job: SimulatedJob) -> float:
    """The virtual time of the last thing that this attempt has written; -inf if nothing yet."""
    if not trainlog.has_attempt(log, job.attempt):
        return -math.inf
    return log.stat().st_mtime


def _append(path: Path, line: str, at: float) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(f"{line}\n")
    os.utime(path, (at, at))
