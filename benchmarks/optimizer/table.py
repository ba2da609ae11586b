"""From traces to mean ranks and regrets, with 95 % intervals over sweeps."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

Line = dict[str, Any]

TRIALS = (10, 25, 50, 100)
COSTS = (5.0, 15.0, 50.0)  # budgets in units of the mean cost of a random trial


def regret_after(line: Line, stop: Callable[[int, float, float], bool]) -> float:
    """Give the regret of the trial that looked best among those that ended before `stop`.

    `stop` is asked with the number of trials, the cost and the time spent so far. Without a
    success regret is 1, that of a median random trial.
    """
    looks, truth, spent = -math.inf, None, 0.0
    for number, (at, cost, score, true) in enumerate(line["trace"]):
        spent += cost
        if stop(number + 1, spent, at):
            break
        if score is not None and score > looks:
            looks, truth = score, true
    if truth is None:
        return 1.0
    return min(1.0, max(0.0, (line["best"] - truth) / (line["best"] - line["typical"])))


def measures(lines: Sequence[Line]) -> dict[str, Callable[[Line], float]]:
    """Give the columns of the table: regret at trial budgets and at cost budgets."""
    shortest = min(len(line["trace"]) for line in lines)
    columns: dict[str, Callable[[Line], float]] = {
        f"{n} trials": lambda line, n=n: regret_after(line, lambda k, _c, _t: k > n)
        for n in TRIALS
        if n <= shortest
    }
    unit = _mean_cost(lines)
    for budget in COSTS:
        columns[f"cost {budget:g}"] = lambda line, b=budget: regret_after(
            line, lambda _k, c, _t: c > b * unit[_place(line)]
        )
    return columns


def _place(line: Line) -> tuple[Any, ...]:
    return line["family"], line["problem"], line["seed"]


def _mean_cost(lines: Iterable[Line]) -> dict[tuple[Any, ...], float]:
    """Give what a random trial costs on average at each problem; of all peers without `random`."""
    costs: dict[tuple[Any, ...], list[float]] = defaultdict(list)
    chosen = [line for line in lines if line["peer"] == "random"] or list(lines)
    for line in chosen:
        costs[_place(line)] += [cost for _, cost, _, _ in line["trace"]]
    return {place: float(np.mean(c)) for place, c in costs.items()}


def table(lines: Sequence[Line], *, trials: int, by_problem: bool = False) -> str:
    """Write one table for each family and number of workers, and one over all families.

    Sweeps count that ran `trials` trials or more, the first so many of each.
    """
    lines = [line | {"trace": line["trace"][:trials]} for line in lines if line["trials"] >= trials]
    if not lines:
        return f"(no sweep has {trials} trials)"
    parts = []
    groups: dict[tuple[Any, ...], list[Line]] = defaultdict(list)
    for line in lines:
        groups[line["problem" if by_problem else "family"], line["workers"]].append(line)
    for (name, workers), some in sorted(groups.items()):
        parts.append(_one_table(f"{name}, {workers} worker{'s' * (workers > 1)}", some, lines))
    for workers in sorted({line["workers"] for line in lines}):
        some = [line for line in lines if line["workers"] == workers]
        parts.append(_one_table(f"all, {workers} worker{'s' * (workers > 1)}", some, lines))
    return "\n\n".join(parts)


def _one_table(title: str, lines: Sequence[Line], everything: Sequence[Line]) -> str:
    columns = measures(everything)
    peers = sorted({line["peer"] for line in lines})
    blocks: dict[tuple[Any, ...], dict[str, Line]] = defaultdict(dict)
    for line in lines:
        blocks[(*_place(line), line["workers"])][line["peer"]] = line
    whole = [block for block in blocks.values() if set(block) == set(peers)]
    head = f"### {title} ({len(whole)} sweeps each)\n\n"
    if not whole:
        return head + "(no sweep was run by all peers)"
    out = [
        f"| peer | {' | '.join(columns)} | CPU ms a trial |",
        f"|---|{'---|' * (len(columns) + 1)}",
    ]
    values = {
        c: np.array([[f(block[p]) for p in peers] for block in whole]) for c, f in columns.items()
    }
    for index, peer in enumerate(peers):
        cells = []
        for v in values.values():
            rank = (
                1
                + (v < v[:, [index]] - 1e-12).sum(1)
                + 0.5 * ((abs(v - v[:, [index]]) <= 1e-12).sum(1) - 1)
            )
            half = 1.96 * v[:, index].std() / math.sqrt(len(v))
            cells.append(f"{v[:, index].mean():.3f} ± {half:.3f} ({rank.mean():.2f})")
        cpu = [1000 * block[peer]["cpu_seconds"] / block[peer]["trials"] for block in whole]
        out.append(f"| {peer} | {' | '.join(cells)} | {np.mean(cpu):.0f} |")
    return head + "\n".join(out)
