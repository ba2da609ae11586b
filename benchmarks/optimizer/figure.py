"""Regret over trials and over cost, a line for each peer."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from benchmarks.chart import Line, Panel, draw
from benchmarks.optimizer import table

STEPS = 60  # points of a line


def figure(file: Path, lines: Sequence[table.Line], *, trials: int) -> None:
    """Draw mean regrets and their 95 % intervals, the best first: sweeps of one worker all ran."""
    chosen = [line for line in lines if line["trials"] >= trials and line["workers"] == 1]
    peers, blocks = table.shared([line | {"trace": line["trace"][:trials]} for line in chosen])
    if not blocks:
        raise SystemExit(f"no sweep of {trials} trials was run by all of {', '.join(peers)}")
    unit = table.mean_cost([line for block in blocks for line in block.values()])

    def after_trials(n: float) -> Callable[[table.Line], float]:
        return lambda line: table.regret_after(line, lambda k, _c, _t: k > n)

    def after_cost(x: float) -> Callable[[table.Line], float]:
        return lambda line: table.regret_after(
            line, lambda _k, c, _t: c > x * unit[table.place(line)]
        )

    counts = sorted({round(n) for n in np.geomspace(1, trials, STEPS)})
    costs = np.geomspace(1, trials, STEPS).tolist()
    draw(
        file,
        f"What is left to gain: mean of {len(blocks)} sweeps with its 95 % interval",
        [
            Panel(
                "trials",
                "regret: 0 the best, 1 the median of random trials",
                _lines(peers, blocks, counts, after_trials),
            ),
            Panel("cost, in random trials", "", _lines(peers, blocks, costs, after_cost)),
        ],
    )


def _lines(
    peers: Sequence[str],
    blocks: Sequence[Mapping[str, table.Line]],
    places: Sequence[float],
    measure: Callable[[float], Callable[[table.Line], float]],
) -> list[Line]:
    found = []
    for peer in peers:
        regrets = np.array([[measure(x)(block[peer]) for x in places] for block in blocks])
        mean, half = regrets.mean(axis=0), 1.96 * regrets.std(axis=0) / math.sqrt(len(blocks))
        found.append(
            Line(peer, places, mean.tolist(), (mean - half).tolist(), (mean + half).tolist())
        )
    return sorted(found, key=lambda line: line.y[-1])
