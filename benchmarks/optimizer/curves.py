"""What trials that were ended early teach: forecast, taken for final, left out, or never ended.

The command: `python -m benchmarks.optimizer.curves`, about ten minutes of CPU.
"""

import numpy as np

from benchmarks.optimizer.problem import Params, Problem
from benchmarks.optimizer.problems import FAMILIES
from launcher.early_stopping import why_stop
from launcher.sweepfile.schema import EarlyStopping
from protein import Protein, Space

POINTS = 20  # reports of a whole trial, whose cost is 1
AFTER = (10.0, 20.0, 40.0)  # budgets in whole trials
FAMILIES_USED = ("synthetic", "turned", "mixed")
RULES = {
    "median": EarlyStopping(method="median", resource="step", grace=4, min_trials=4),
    "asha": EarlyStopping(method="asha", resource="step", grace=4, min_trials=4),
    "forecast": EarlyStopping(method="forecast", resource="step", grace=4, min_trials=4),
}
TEACHING = ("forecast", "taken for final", "left out")


def curve(problem: Problem, params: Params, seed: int, rng: np.random.Generator) -> np.ndarray:
    """Draw a learning curve: a power law, whose exponent depends on the parameters, and noise.

    1 is the best there is and 0 the median of random trials, as in regret.
    """
    unit = Space.from_dict(problem.space).to_unit(params)
    lean = np.random.default_rng([seed, 41]).standard_normal(len(unit))
    exponent = np.exp(1.2 * np.tanh(lean @ (np.array(unit) - 0.5)))
    final = max(1.0 - problem.regret(problem.truth(params)), -2.0)
    left = (1.0 + np.arange(1, POINTS + 1)) ** -exponent
    left -= left[-1]
    return final - (final + 3.0) * left + 0.02 * rng.standard_normal(POINTS)


def sweep(problem: Problem, seed: int, rule: EarlyStopping | None, teaching: str) -> list[float]:
    """Run one sweep, trial after trial; give the regret of the best finished one at each budget."""
    protein = Protein(Space.from_dict(problem.space), seed=seed)
    curves: dict[int, list[tuple[float, float]]] = {}
    finals: dict[int, float | None] = {}
    rng, spent, best = np.random.default_rng(seed), 0.0, (-np.inf, 1.0)
    regrets: list[float] = []
    for trial in range(1000):
        params, _ = protein.suggest()
        values = curve(problem, params, seed, rng)
        for step, value in enumerate(values, start=1):
            curves.setdefault(trial, []).append((float(step), float(value)))
            if rule and why_stop(rule, "maximize", trial, curves, finals=finals):
                break
        told = curves[trial]
        stopped = len(told) < POINTS
        if not stopped:
            finals[trial] = told[-1][1]
        if not stopped or teaching != "left out":
            protein.observe(
                params,
                told[-1][1],
                len(told) / POINTS,
                curve=told,
                is_stopped=stopped and teaching == "forecast",
            )
        spent += len(told) / POINTS
        while len(regrets) < len(AFTER) and spent > AFTER[len(regrets)]:
            regrets.append(best[1])
        if len(regrets) == len(AFTER):
            break
        if not stopped and told[-1][1] > best[0]:
            best = told[-1][1], min(1.0, problem.regret(problem.truth(params)))
    return regrets


def table(seeds: range = range(3)) -> str:
    """Print the table of mean regrets at budgets, with 95 % intervals."""
    plans: list[tuple[str, str, EarlyStopping | None]] = [("none", "", None)]
    plans += [(name, teaching, rule) for name, rule in RULES.items() for teaching in TEACHING]
    problems = [(p, seed) for f in FAMILIES_USED for seed in seeds for p in FAMILIES[f](seed)]
    head = " | ".join(f"after {budget:g} whole trials" for budget in AFTER)
    lines = [f"| early stopping | stopped trials are | {head} |", "|---|---|" + "---|" * len(AFTER)]
    for name, teaching, rule in plans:
        found = np.array([sweep(problem, seed, rule, teaching) for problem, seed in problems])
        half = 1.96 * found.std(axis=0) / len(found) ** 0.5
        cells = [f"{m:.3f} ± {h:.3f}" for m, h in zip(found.mean(axis=0), half, strict=True)]
        lines.append(f"| {name} | {teaching} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
