"""From traces to mean ranks and regrets, with 95 % intervals over sweeps."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
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
    looks, spent = -math.inf, 0.0
    truth: float | None = None
    for number, (at, cost, score, true) in enumerate(line["trace"]):
        spent += cost
        if stop(number + 1, spent, at):
            break
        if score is not None and score > looks:
            looks, truth = score, true
    if truth is None:
        return 1.0
    regret: float = (line["best"] - truth) / (line["best"] - line["typical"])
    return min(1.0, max(0.0, regret))


def measures(lines: Sequence[Line]) -> dict[str, Callable[[Line], float]]:
    """Give the columns of the table: regret at trial budgets and at cost budgets."""
    shortest = min(len(line["trace"]) for line in lines)
    unit = mean_cost(lines)

    def after_trials(n: int) -> Callable[[Line], float]:
        return lambda line: regret_after(line, lambda k, _c, _t: k > n)

    def after_cost(budget: float) -> Callable[[Line], float]:
        return lambda line: regret_after(line, lambda _k, c, _t: c > budget * unit[place(line)])

    columns = {f"{n} trials": after_trials(n) for n in TRIALS if n <= shortest}
    return columns | {f"cost {budget:g}": after_cost(budget) for budget in COSTS}


def place(line: Line) -> tuple[Any, ...]:
    return line["family"], line["problem"], line["seed"]


def mean_cost(lines: Iterable[Line]) -> dict[tuple[Any, ...], float]:
    """Give the mean cost of a random trial at each problem; of any, where `random` did not run."""
    costs: dict[tuple[Any, ...], dict[bool, list[float]]] = defaultdict(lambda: defaultdict(list))
    for line in lines:
        costs[place(line)][line["peer"] == "random"] += [cost for _, cost, _, _ in line["trace"]]
    return {place: float(np.mean(c.get(True) or c[False])) for place, c in costs.items()}


def table(lines: Sequence[Line], *, trials: int, by_problem: bool = False) -> str:
    """Write a table of budgets for each family and number of workers, and one of families.

    Sweeps count that ran `trials` trials or more, the first so many of each.
    """
    lines = [line | {"trace": line["trace"][:trials]} for line in lines if line["trials"] >= trials]
    if not lines:
        return f"(no sweep has {trials} trials)"
    parts = []
    for workers in sorted({line["workers"] for line in lines}):
        some = [line for line in lines if line["workers"] == workers]
        title = f"{workers} worker{'s' * (workers > 1)}"
        groups: dict[str, list[Line]] = defaultdict(list)
        for line in some:
            groups[line["problem" if by_problem else "family"]].append(line)
        for name, group in sorted(groups.items()):
            parts.append(_budgets(f"{name}, {title}", group, lines))
        parts.append(_budgets(f"all, {title}", some, lines))
        parts.append(_overview(f"after {trials} trials, {title}", groups | {"all": some}))
    return "\n\n".join(parts)


def _budgets(title: str, lines: Sequence[Line], everything: Sequence[Line]) -> str:
    """Write a row for each peer, a column for each budget."""
    columns = measures(everything)
    peers, blocks = shared(lines)
    head = f"### {title} ({len(blocks)} sweeps each)\n\n"
    if not blocks:
        return head + "(no sweep was run by all peers)"
    out = [f"| peer | {' | '.join(columns)} | CPU ms a trial |"]
    out.append(f"|---|{'---|' * (len(columns) + 1)}")
    cells = [_cells(peers, blocks, column) for column in columns.values()]
    for index, peer in enumerate(peers):
        cpu = [1000 * block[peer]["cpu_seconds"] / block[peer]["trials"] for block in blocks]
        row = " | ".join(column[index] for column in cells)
        out.append(f"| {peer} | {row} | {np.mean(cpu):.0f} |")
    return head + "\n".join(out)


def _overview(title: str, groups: Mapping[str, Sequence[Line]]) -> str:
    """Write a row for each group, a column for each peer: regret when all trials are done."""
    everyone = sorted({line["peer"] for lines in groups.values() for line in lines})
    out = [f"| sweeps of each | {' | '.join(everyone)} |", f"|---|{'---|' * len(everyone)}"]
    for name, lines in groups.items():
        peers, blocks = shared(lines)
        if blocks:
            cells = dict(zip(peers, _cells(peers, blocks, _at_end), strict=True))
            row = " | ".join(cells.get(peer, "") for peer in everyone)
            out.append(f"| {name} ({len(blocks)}) | {row} |")
    return f"### {title}\n\n" + "\n".join(out)


def _at_end(line: Line) -> float:
    return regret_after(line, lambda *_: False)


def shared(lines: Sequence[Line]) -> tuple[list[str], list[dict[str, Line]]]:
    """Give the peers, and the sweeps that all of them ran."""
    peers = sorted({line["peer"] for line in lines})
    blocks: dict[tuple[Any, ...], dict[str, Line]] = defaultdict(dict)
    for line in lines:
        blocks[place(line)][line["peer"]] = line
    return peers, [block for block in blocks.values() if set(block) == set(peers)]


def _cells(
    peers: Sequence[str], blocks: Sequence[Mapping[str, Line]], measure: Callable[[Line], float]
) -> list[str]:
    """Write mean regret, its 95 % interval and mean rank of each peer; ties share their ranks."""
    v = np.array([[measure(block[peer]) for peer in peers] for block in blocks])
    ranks = 1 + (v[:, None, :] < v[:, :, None] - 1e-12).sum(2)
    ranks = ranks + 0.5 * ((abs(v[:, None, :] - v[:, :, None]) <= 1e-12).sum(2) - 1)
    half = 1.96 * v.std(axis=0) / math.sqrt(len(v))
    return [
        f"{mean:.3f} ± {h:.3f} ({rank:.2f})"
        for mean, h, rank in zip(v.mean(axis=0), half, ranks.mean(axis=0), strict=True)
    ]
