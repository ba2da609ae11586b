"""What an earlier sweep is worth: the same problem, a like one, and one that lies."""

import numpy as np

from benchmarks.optimizer.problem import Problem
from benchmarks.optimizer.problems import FAMILIES
from protein import Observation, Protein, Space

AFTER = (1, 3, 5, 10, 15, 25)
PROBLEMS = {
    "synthetic": ("rosenbrock4", "hartmann6", "ackley5"),
    "noisy": ("noisy-sphere6",),
    "rl": ("ppo1",),
}


def sweep(
    problem: Problem, seed: int, trials: int, earlier: list[list[Observation]]
) -> tuple[list[Observation], list[float]]:
    """Run one sweep; give its observations and the regret after each trial."""
    protein = Protein(Space.from_dict(problem.space), seed=seed, earlier=earlier)
    rng, regrets, looks = np.random.default_rng(seed), [], None
    for _ in range(trials):
        params, _ = protein.suggest()
        trial = problem.run(params, rng)
        protein.observe(params, trial.score, trial.cost, is_failure=trial.score is None)
        if trial.score is not None and (looks is None or trial.score > looks[0]):
            looks = trial.score, min(1.0, problem.regret(problem.truth(params)))
        regrets.append(1.0 if looks is None else looks[1])
    return list(protein.observations), regrets


def negated(observed: list[Observation]) -> list[Observation]:
    """Give the same trials with scores upside down."""
    return [
        Observation(o.params, None if o.score is None else -o.score, o.cost, o.is_failure)
        for o in observed
    ]


def warm(seeds: range = range(3)) -> str:
    """Print the table of mean regrets after some trials."""
    found: dict[str, list[list[float]]] = {}
    for family, names in PROBLEMS.items():
        for seed in seeds:
            here, elsewhere = ({p.name: p for p in FAMILIES[family](s)} for s in (seed, seed + 50))
            for name in names:
                same, _ = sweep(here[name], 100 + seed, 30, [])
                like, _ = sweep(elsewhere[name], 100 + seed, 30, [])
                plan = {"none": [], "the same problem": [same], "moved optimum": [like]}
                plan["upside down"] = [negated(same)]
                for label, earlier in plan.items():
                    found.setdefault(label, []).append(sweep(here[name], seed, 25, earlier)[1])
    lines = [f"| earlier sweep | {' | '.join(f'{n} trials' for n in AFTER)} |"]
    lines.append("|---|" + "---|" * len(AFTER))
    for label, regrets in found.items():
        mean = np.mean(regrets, axis=0)
        lines.append(f"| {label} | {' | '.join(f'{mean[n - 1]:.3f}' for n in AFTER)} |")
    return "\n".join(lines)
