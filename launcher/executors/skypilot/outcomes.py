"""What SkyPilot's view of a job and the job's own last words mean for us. Pure.

`turn` is when a job's turn on its cluster came (see `Queues.turn`). A queue counts a job's waiting
for it as running, and the machine is the other job's then.
"""

import math
import re
from collections.abc import Sequence

import msgspec

from launcher.executors.skypilot.calls import Answer, Problem, SkyJob, Status
from launcher.executors.skypilot.ledger import Entry
from launcher.executors.skypilot.queues import NEVER
from launcher.executors.skypilot.wrapping import Printed
from launcher.ports import Cause, Outcome, Phase

SET_UP_SECONDS = 900.0
"""The longest that a machine is paid for before its first job: waiting for room costs nothing."""

SHOWN_LINES = 8
_CODES = re.compile(r"return code list: \[(-?\d+(?:, -?\d+)*)\]")


def standing(entry: Entry, job: SkyJob | None, turn: float = NEVER) -> Outcome:
    """Return where a job stands that is not over."""
    known = Outcome(Phase.PENDING, price_usd_per_hour=entry.price_usd_per_hour)
    replace = msgspec.structs.replace
    where = entry.cluster or "a managed job"
    if entry.job_id is None:
        return replace(known, detail=f"provisioning {where}")
    if job is None or job.status is Status.PENDING or job.started_at is None or turn == math.inf:
        return replace(known, detail=f"queued on {where}")
    started_at = max(job.started_at, turn)
    return replace(
        known,
        phase=Phase.RUNNING,
        started_at=started_at,
        price_usd_per_hour=job.price_usd_per_hour or entry.price_usd_per_hour,
        held_since=_held_since(entry, started_at, turn),
        detail=job.detail,
    )


def repriced(entry: Entry, job: SkyJob, now: float) -> Entry:
    """Return the entry of a managed job at the price of the machines that it has now."""
    price, old = job.price_usd_per_hour, entry.price_usd_per_hour
    if price is None or price == old:
        return entry
    if old and job.started_at is not None:
        since = entry.priced_since or _held_since(entry, job.started_at) or job.started_at
        paid_usd = entry.paid_usd + max(0.0, now - since) / 3600 * old
        entry = msgspec.structs.replace(entry, paid_usd=paid_usd, priced_since=now)
    return msgspec.structs.replace(entry, price_usd_per_hour=price)


def unplaced(entry: Entry, answer: Answer, now: float) -> Outcome:
    """Return the end of a job that SkyPilot did not start."""
    if entry.is_cancelled:
        return Outcome(Phase.KILLED, ended_at=now, detail="cancelled")
    match answer.problem:
        case Problem.REFUSED:
            cause = Cause.LAUNCH_ERROR
        case Problem.NO_CAPACITY:
            cause = Cause.NO_CAPACITY
        case _:
            cause = Cause.UNKNOWN
    return Outcome(Phase.LOST, detail=answer.detail, cause=cause)


def gone(entry: Entry, job: SkyJob | None, now: float, turn: float = NEVER) -> Outcome:
    """Return the end of a job whose machines are no more."""
    started_at = _started_at(job.started_at if job else None, now, turn)
    known = Outcome(
        Phase.LOST,
        started_at=started_at,
        ended_at=now,
        price_usd_per_hour=entry.price_usd_per_hour,
        held_since=None if turn >= now else _held_since(entry, started_at or now, turn),
    )
    if entry.is_cancelled:
        return msgspec.structs.replace(known, phase=Phase.KILLED, detail="cancelled")
    cause = Cause.PREEMPTED if entry.is_spot else Cause.NODE_LOST
    detail = f"cluster {entry.cluster} is gone"
    return msgspec.structs.replace(known, cause=cause, detail=detail)


def ended(entry: Entry, job: SkyJob, said: Printed, now: float, turn: float = NEVER) -> Outcome:
    """Return what the end of a job was, from its queue and from its own words."""
    ended_at = job.ended_at or said.ended_at or now
    started_at = _started_at(job.started_at or said.started_at, ended_at, turn)
    if said.started_at is not None and said.ended_at is not None and job.recoveries == 0:
        # How long it ran it knows best; when, by the clock that all our times are of, SkyPilot.
        length = max(0.0, said.ended_at - said.started_at)
        started_at = _started_at(ended_at - length, ended_at, turn)
    had_none = turn >= ended_at or (entry.cluster is None and started_at is None)
    held_since = None if had_none else _held_since(entry, started_at or ended_at, turn)
    known = Outcome(
        Phase.EXITED,
        started_at=started_at,
        ended_at=ended_at,
        price_usd_per_hour=_mean_price(entry, job, held_since, ended_at),
        held_since=held_since,
        detail=job.detail,
    )
    replace = msgspec.structs.replace
    lost = replace(known, phase=Phase.LOST)
    if said.is_timeout:
        return replace(known, phase=Phase.KILLED, cause=Cause.TIMEOUT)
    if said.is_stalled:
        return replace(known, phase=Phase.KILLED, cause=Cause.STALLED)
    match job.status:
        case Status.SUCCEEDED | Status.FAILED if said.exit_code is not None:
            return replace(known, exit_code=said.exit_code)
        case Status.CANCELLED if entry.is_cancelled:
            return replace(known, phase=Phase.KILLED)
        case Status.SUCCEEDED:
            return replace(known, exit_code=0)
        case Status.FAILED:
            return replace(known, exit_code=_named_code(said.lines))
        case Status.FAILED_SETUP:
            detail = "\n".join(["the task's setup failed", *said.lines[-SHOWN_LINES:]])
            return replace(lost, cause=Cause.LAUNCH_ERROR, detail=detail)
        case Status.NO_CAPACITY:
            return replace(lost, cause=Cause.NO_CAPACITY)
        case Status.REFUSED:
            return replace(lost, cause=Cause.LAUNCH_ERROR)
        case _:
            return replace(lost, cause=Cause.NODE_LOST)


def _started_at(began: float | None, ended_at: float, turn: float) -> float | None:
    """Return since when a job ran: from its turn on; None if it never had it."""
    return None if began is None or turn >= ended_at else max(began, turn)


def _held_since(entry: Entry, until: float, turn: float = NEVER) -> float | None:
    """Return since when a job's machines are paid: a warm one's idle time is, a queue's is not."""
    if entry.held_since is None:
        return None
    since, is_warm = max(entry.held_since, turn), entry.held_since < entry.asked_at
    return since if is_warm else max(since, until - SET_UP_SECONDS)


def _mean_price(entry: Entry, job: SkyJob, held_since: float | None, ended_at: float) -> float:
    """Return what an hour of a job's machines cost on average: a recovery may have changed it."""
    last = job.price_usd_per_hour or entry.price_usd_per_hour
    if entry.priced_since is None or held_since is None or ended_at <= held_since:
        return last
    paid_usd = entry.paid_usd + max(0.0, ended_at - entry.priced_since) / 3600 * last
    return paid_usd / (ended_at - held_since) * 3600


def _named_code(lines: Sequence[str]) -> int:
    """Return the exit code that SkyPilot names in a log; 1 if it names none."""
    for line in reversed(lines):
        if match := _CODES.search(line):
            codes = [int(code) for code in match[1].split(",") if int(code) != 0]
            return min((c if c > 0 else 128 - c for c in codes), default=1)
    return 1
