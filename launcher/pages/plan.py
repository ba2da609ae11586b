"""What a sweep would take: its machines, their prices, what that comes to, what the cap allows.

One document for `plan --json`, and lines of it for people. Nothing is started for it. Dollars and
hours; None means not known.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from launcher.budget import Offer, spent_usd, worst_case_usd
from launcher.config import SweepConfig
from launcher.executors.skypilot.prices import Candidate, Price
from launcher.pages import formats
from launcher.state import State

SCHEMA_VERSION = 1
SHOWN_CANDIDATES = 8


def document(
    config: SweepConfig,
    offer: Offer,
    *,
    price: Price | None = None,
    mode: str | None = None,
    state: State | None = None,
    hours_per_trial: float | None = None,
    sent_bytes: int | None = None,
    now: float = 0.0,
) -> dict[str, Any]:
    """Return the plan. `price` and `mode` are None where SkyPilot is not needed.

    `state`: of the sweep, if it exists: what its trials took until now says what the next take.
    """
    usd_per_hour = (price.usd_per_hour if price else offer.price_usd_per_hour) or None
    trial = _trial(config, offer, usd_per_hour, state, hours_per_trial)
    parallel = min(config.parallel or offer.parallel, config.trials)
    return {
        "schema_version": SCHEMA_VERSION,
        "sweep": config.name,
        "cloud": config.execution.cloud,
        "mode": mode,
        "trials": config.trials,
        "parallel": parallel,
        "nodes": config.task.num_nodes,
        "gpus_per_trial": offer.gpus,
        "usd_per_hour": usd_per_hour,
        "most_usd_per_hour": price.most_usd_per_hour if price else usd_per_hour,
        "chosen": _candidate(price.chosen) if price else None,
        "candidates": [_candidate(one) for one in price.candidates] if price else [],
        "trial": trial,
        "whole": _whole(config, trial, parallel),
        "cap": _cap(config, trial, 0.0 if state is None else spent_usd(state, now)),
        "sent_bytes": sent_bytes,
    }


def _candidate(one: Candidate) -> dict[str, Any]:
    return {
        "infra": one.infra,
        "instance_type": one.instance_type,
        "accelerators": one.accelerators,
        "use_spot": one.use_spot,
        "usd_per_hour": one.usd_per_hour,
    }


def _trial(
    config: SweepConfig,
    offer: Offer,
    usd_per_hour: float | None,
    state: State | None,
    hours: float | None,
) -> dict[str, Any]:
    """Return what one trial takes: `basis` says how that is known, "timeout" that it is the most.

    `most_usd` is what is reserved for it before it starts.
    """
    basis = None if hours is None else "given"
    if hours is None and state is not None:
        over = sum(trial.state.is_over for trial in state.ordered)
        if over and state.machine_seconds > 0:
            hours, basis = state.machine_seconds / 3600 / over, "earlier_trials"
    if hours is None and config.execution.timeout_seconds is not None:
        hours, basis = config.execution.timeout_seconds / 3600, "timeout"
    most = worst_case_usd(config, offer) if offer.price_usd_per_hour else None
    return {
        "hours": hours,
        "basis": basis,
        "usd": None if hours is None or usd_per_hour is None else hours * usd_per_hour,
        "most_usd": most if most is None or math.isfinite(most) else None,
    }


def _whole(config: SweepConfig, trial: Mapping[str, Any], parallel: int) -> dict[str, Any]:
    """Return what all trials take, if none is repeated."""
    rounds = math.ceil(config.trials / parallel)
    return {
        "hours": None if trial["hours"] is None else rounds * trial["hours"],
        "usd": None if trial["usd"] is None else config.trials * trial["usd"],
        "most_usd": None if trial["most_usd"] is None else config.trials * trial["most_usd"],
    }


def _cap(config: SweepConfig, trial: Mapping[str, Any], spent: float) -> dict[str, Any] | None:
    """Return what the cap in dollars allows; None without one.

    `trials_for_sure` fit even if each takes the most; the same number may run at one time.
    """
    limit = config.budget.usd
    if limit is None:
        return None
    left = max(0.0, limit - spent)
    return {
        "usd": limit,
        "left_usd": left,
        "trials_for_sure": _fitting(left, trial["most_usd"]),
        "trials_expected": _fitting(left, trial["usd"]),
    }


def _fitting(left: float, usd: float | None) -> int | None:
    return None if not usd else math.floor(left / usd + 1e-9)


def lines(plan: Mapping[str, Any], *, is_short: bool = False) -> Iterator[str]:
    """Yield the plan for people; `is_short` leaves out what would only be fallen back to."""
    mode = f", {plan['mode'].replace('_', ' ')}" if plan["mode"] else ""
    count = formats.plural(plan["trials"], "trial")
    yield f"{plan['sweep']}: {count}, {plan['parallel']} at a time, on {plan['cloud']}{mode}"
    if plan["chosen"] is not None:
        yield ""
        yield from _places(plan, is_short=is_short)
    yield ""
    yield from _amounts(plan)
    if plan["sent_bytes"] is not None:
        yield f"each machine gets the task's folder, {plan['sent_bytes'] / 1e6:,.1f} MB"


def _places(plan: Mapping[str, Any], *, is_short: bool) -> Iterator[str]:
    """Yield the machines as a table, the first choice first."""
    others = [one for one in plan["candidates"] if one != plan["chosen"]]
    shown = [plan["chosen"], *([] if is_short else others[: SHOWN_CANDIDATES - 1])]
    nodes = f"{plan['nodes']} × " if plan["nodes"] > 1 else ""
    rows = [("first choice" if one is plan["chosen"] else "", *_row(one, nodes)) for one in shown]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        yield "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
    hidden = len(others) + 1 - len(shown)
    if hidden:
        most = formats.money(plan["most_usd_per_hour"])
        places = formats.plural(hidden, "other place")
        yield f"where that is not to be had: {places}, {most} an hour at most"


def _row(one: Mapping[str, Any], nodes: str) -> tuple[str, ...]:
    price = "price not known" if one["usd_per_hour"] is None else _an_hour(one["usd_per_hour"])
    machine = f"{nodes}{one['instance_type'] or 'machine'}"
    kind = "spot" if one["use_spot"] else "on demand"
    return machine, one["accelerators"] or "no GPU", kind, one["infra"], price


def _an_hour(usd: float) -> str:
    return f"{formats.money(usd)}/h"


_BASIS = {
    "given": "as you say",
    "earlier_trials": "as its trials took until now",
    "timeout": "its timeout",
}


def _amounts(plan: Mapping[str, Any]) -> Iterator[str]:
    trial, whole, cap = plan["trial"], plan["whole"], plan["cap"]
    if plan["usd_per_hour"] is None and plan["chosen"] is None:
        yield "no machine is paid for; --set execution.price_usd_per_hour=… counts what yours costs"
    elif plan["usd_per_hour"] is None:
        yield "nobody knows what this costs; --set execution.price_usd_per_hour=… says it"
    elif trial["hours"] is None:
        yield "how long a trial takes is not known: --hours-per-trial says it"
    else:
        hours = formats.duration(trial["hours"] * 3600)
        word = "at most" if trial["basis"] == "timeout" else "about"
        took = f"{hours}, {_BASIS[trial['basis']]}"
        yield f"a trial    {word} {formats.money(trial['usd'])}{_most(trial)}  ({took})"
        yield f"the sweep  {word} {formats.money(whole['usd'])}{_most(whole)}"
    if cap is None:
        if plan["usd_per_hour"] is not None:
            yield "the cap    none: --set budget.usd=… sets one"
        return
    yield f"the cap    {formats.money(cap['usd'])}{_allows(plan)}"


def _most(amounts: Mapping[str, Any]) -> str:
    return f", {formats.money(amounts['most_usd'])} reserved" if amounts["most_usd"] else ""


def _allows(plan: Mapping[str, Any]) -> str:
    """Return what the cap allows, in words."""
    cap, sure = plan["cap"], plan["cap"]["trials_for_sure"]
    if plan["usd_per_hour"] is None:
        return ""
    if sure is None:
        return " starts nothing: without execution.timeout_seconds a trial may cost anything"
    if sure == 0:
        most = formats.money(plan["trial"]["most_usd"])
        return f" starts nothing: one trial may cost {most}"
    if sure >= plan["trials"]:
        return " holds for all trials"
    expected = cap["trials_expected"] if plan["trial"]["basis"] != "timeout" else None
    more = f", about {formats.plural(expected, 'trial')} are expected" if expected else ""
    return f" holds for {formats.plural(sure, 'trial')} for sure{more}"
