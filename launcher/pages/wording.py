"""A sweep in words: how it stands, and what happened between two status documents."""

from collections.abc import Iterator
from typing import Any

from launcher.pages import formats
from launcher.pages.status import Document


def changes(before: Document | None, after: Document) -> Iterator[str]:
    """Yield a line for each thing that happened between two documents, trials in their order.

    Of a sweep that is looked at for the first time one line says how far it is.
    """
    if before is None:
        yield f"{formats.printable(after['sweep'])}: {aim(after)}, {progress(after)}"
        return
    known = before["trials"]
    for index, trial in enumerate(after["trials"]):
        old = known[index] if index < len(known) else None
        if old is None or _moment(old) != _moment(trial):
            yield from _trial_changes(old, trial, after)
    if before["state"] != after["state"]:
        yield f"{formats.printable(after['sweep'])} {state_words(after)}, {progress(after)}"


def _moment(trial: dict[str, Any]) -> tuple[Any, ...]:
    attempts = trial["attempts"]
    return (
        trial["state"],
        len(attempts),
        attempts[-1]["started_at"] if attempts else None,
        trial["ended_at"],
    )


def _trial_changes(
    old: dict[str, Any] | None, trial: dict[str, Any], document: Document
) -> Iterator[str]:
    name = f"trial {trial['number']}"
    known = [] if old is None else old["attempts"]
    for index, attempt in enumerate(trial["attempts"]):
        had_started = index < len(known) and known[index]["started_at"] is not None
        if attempt["started_at"] is not None and not had_started:
            again = f" again (attempt {attempt['number']})" if attempt["number"] > 1 else ""
            params = formats.params(trial["params"], document["parameters"])
            yield f"{name} started{again}: {params}"
    was = None if old is None else old["state"]
    match trial["state"]:
        case "succeeded" if was != "succeeded":
            best = document["best"]
            star = ", best so far ★" if best and best["number"] == trial["number"] else ""
            score = formats.number(trial["score"])
            yield f"{name}: score {score}, cost {formats.duration(trial['cost_seconds'])}{star}"
        case "stopped" if was != "stopped":
            score = formats.number(trial["score"])
            yield f"{name} stopped early at score {score}: {_error_words(trial)}"
        case "failed" if was != "failed":
            yield f"{name} failed: {_error_words(trial)}"
        case "cancelled" if was != "cancelled":
            yield f"{name} cancelled"
        case "queued" if trial["retry_at"] is not None:
            wait = formats.duration(max(0.0, trial["retry_at"] - document["time"]))
            yield f"{name}: {_error_words(trial)}; next attempt in {wait}"


def _error_words(trial: dict[str, Any]) -> str:
    error = trial["error"]
    if error is None:
        return ""
    detail = f" ({formats.cause(error['message'])})" if error["message"] else ""
    return f"{formats.failure(error)}{detail}"


def aim(document: Document) -> str:
    """Return what the sweep is after."""
    return f"{document['goal']} {formats.printable(document['metric'])}"


def state_word(document: Document) -> str:
    """Return how it stands."""
    return "stopped by its budget" if document["state"] == "budget" else str(document["state"])


def state_words(document: Document) -> str:
    """Return how it stands, and why if somebody said so."""
    reason = formats.printable(document["reason"])
    return f"{state_word(document)} ({reason})" if reason else state_word(document)


def done(document: Document) -> int:
    """Return how many trials are over."""
    counts = document["counts"]
    return int(sum(counts[state] for state in ("succeeded", "stopped", "failed", "cancelled")))


def progress(document: Document) -> str:
    """Return how far it is and the best so far, in one phrase."""
    counts = document["counts"]
    parts = [f"{done(document):,} of {formats.plural(counts['total'], 'trial')} done"]
    parts += [f"{counts[key]:,} {key}" for key in ("running", "failed") if counts[key]]
    best = document["best"]
    if best is not None:
        parts.append(f"best {formats.number(best['score'])} (trial {best['number']})")
    return ", ".join(parts)


def involves_money(document: Document) -> bool:
    """Whether the sweep costs money, or has a limit on it."""
    usd = document["budget"]["usd"]
    return bool(usd["limit"] is not None or usd["spent"] or usd["price_per_hour"])


def needs_resume(document: Document) -> bool:
    """Whether trials are left that `resume` would start; a spent budget must be raised first."""
    has_more = done(document) < document["counts"]["total"]
    is_final = document["state"] in ("completed", "budget")
    return has_more and not document["is_live"] and not is_final


def counts_words(document: Document) -> str:
    """Return how many trials there are in which state."""
    counts = document["counts"]
    shown = [f"{done(document):,}/{counts['total']:,} trials"]
    shown += [f"{counts[key]:,} {key}" for key in ("running", "failed") if counts[key]]
    return ", ".join(shown)


def time_words(document: Document) -> str:
    """Return the time it took, and what is left."""
    eta = document["eta_seconds"]
    elapsed = formats.duration(document["elapsed_seconds"])
    if eta is None:
        return elapsed
    return f"{elapsed}, {formats.remaining(eta)}"


def money_parts(document: Document) -> list[str]:
    """Return what is known about its money."""
    usd = document["budget"]["usd"]
    limit = "" if usd["limit"] is None else f" of {formats.money(usd['limit'])}"
    parts = [f"spent {formats.money(usd['spent'])}{limit}"]
    if usd["reserved"]:
        parts.append(f"{formats.money(usd['reserved'])} reserved")
    if usd["wasted"]:
        parts.append(f"{formats.money(usd['wasted'])} lost to preemption")
    if usd["per_trial"] is not None:
        parts.append(f"{formats.money(usd['per_trial'])} a trial")
    if usd["forecast"] is not None and document["state"] in ("running", "interrupted", "paused"):
        parts.append(f"forecast {formats.money(usd['forecast'])}")
    return parts
