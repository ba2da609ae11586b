"""Speed and time to solve, against CleanRL and Stable-Baselines3: same settings, one thread.

CPU seconds of the training loop alone, without imports: on a shared machine the clock on the wall
says more about the neighbours. "Solved": the last 100 training episodes return 475 on average;
there a run ends, or at its limit of steps.

    python -m benchmarks.trainer.compare --seeds 3

needs an environment that has this package and stable-baselines3. CleanRL is compared too where it
is installed: the `cleanrl/ppo.py` of its package 1.2.0, which wants gym 0.23.1 and NumPy 1.26
(`pip install --no-deps --ignore-requires-python cleanrl`).

"cleanrl" and "zoo" are the settings of CleanRL's ppo.py and of the RL Zoo for CartPole-v1, which
"ours" steps in Gymnasium's environment and "ours, NumPy" in its own; "demo" is this trainer as it
is meant to be used; "grid" is the maze of the cognitive suite, 64 stepped together, for both.
"""

import argparse
import contextlib
import io
import itertools
import os
import runpy
import statistics
import sys
import tempfile
import time
from collections import deque
from importlib.util import find_spec
from pathlib import Path
from typing import Any

GOAL, WINDOW = 475, 100

SETTINGS: dict[str, dict[str, Any]] = {
    "cleanrl": {
        "envs": 4, "horizon": 128, "minibatch": 128, "epochs": 4, "lr": 2.5e-4,
        "gamma": 0.99, "gae_lambda": 0.95, "entropy": 0.01, "steps": 50_000,
    },
    "zoo": {
        "envs": 8, "horizon": 32, "minibatch": 256, "epochs": 20, "lr": 1e-3,
        "gamma": 0.98, "gae_lambda": 0.8, "entropy": 0.0, "steps": 100_000,
    },
    "demo": {
        "envs": 32, "horizon": 32, "minibatch": 256, "epochs": 4, "lr": 5e-3,
        "gamma": 0.99, "gae_lambda": 0.95, "entropy": 0.01, "steps": 200_000,
    },
    "grid": {
        "envs": 64, "horizon": 32, "minibatch": 512, "epochs": 4, "lr": 3e-3,
        "gamma": 0.9, "gae_lambda": 0.95, "entropy": 0.01, "steps": 150_000,
    },
}  # fmt: skip


class SolvedError(Exception):
    """Ends a run that has reached the goal."""


class Stopwatch:
    """Counts steps and CPU seconds until the task is solved."""

    def __init__(self) -> None:
        self.started = time.process_time()
        self.returns: deque[float] = deque(maxlen=WINDOW)
        self.solved_seconds: float | None = None
        self.solved_steps: int | None = None

    def episodes(self, returns: list[float], step: int) -> None:
        """Returns of episodes that ended up to `step`; SolvedError where that is enough."""
        self.returns.extend(returns)
        if len(self.returns) == WINDOW and sum(self.returns) / WINDOW >= GOAL:
            self.solved_steps = step
            self.solved_seconds = time.process_time() - self.started
            raise SolvedError

    def result(self, steps: int, seconds: float | None = None) -> dict[str, Any]:
        """What one run measured, up to now or within `seconds`."""
        seconds = seconds or time.process_time() - self.started
        return {
            "steps_per_cpu_second": steps / seconds,
            "cpu_seconds": seconds,
            "solved_cpu_seconds": self.solved_seconds,
            "solved_steps": self.solved_steps,
            "last_100": sum(self.returns) / max(1, len(self.returns)),
        }


def run_ours(s: dict[str, Any], seed: int, *, env: str) -> dict[str, Any]:
    """This trainer's loop, in this process, without its files."""
    import torch

    from trainer.checkpoint import Checkpoints
    from trainer.parse import parse
    from trainer.ranks import Place, Ranks
    from trainer.train import Surroundings, train
    from trainer.tree import Leaf

    values = {
        "seed": seed, "env.name": env, "env.num_envs": s["envs"],
        "trainer.batch_size": s["envs"] * s["horizon"], "trainer.minibatch_size": s["minibatch"],
        "trainer.num_epochs": s["epochs"], "trainer.learning_rate": s["lr"],
        "trainer.gamma": s["gamma"], "trainer.gae_lambda": s["gae_lambda"],
        "trainer.entropy_coeff": s["entropy"], "trainer.total_timesteps": s["steps"],
        "evaluation.num_episodes": 1,
    }  # fmt: skip
    config = parse([Leaf(key, value, key) for key, value in values.items()])
    device = torch.device("cpu")
    watch = Stopwatch()
    trained: dict[str, Any] = {}

    def report(step: int, metrics: dict[str, float]) -> None:
        trained.update(steps=step, seconds=time.process_time() - watch.started)
        watch.episodes([metrics.get("episode/return", 0.0)] * int(metrics["episode/count"]), step)

    with contextlib.suppress(SolvedError), tempfile.TemporaryDirectory() as folder:
        ranks = Ranks(Place(), run_id="", device=device)
        checkpoints = Checkpoints(Path(folder), keep=1)
        train(config, Surroundings(device, ranks, checkpoints, report, lambda: ""))
    return watch.result(**trained)


def run_sb3(s: dict[str, Any], seed: int, *, env: str) -> dict[str, Any]:
    """Stable-Baselines3's PPO with the same numbers."""
    from stable_baselines3 import PPO
    from stable_baselines3.common.callbacks import BaseCallback
    from stable_baselines3.common.env_util import make_vec_env

    class Watch(BaseCallback):  # type: ignore[misc]  # not installed here
        def _on_step(self) -> bool:
            over = [info["episode"]["r"] for info in self.locals["infos"] if "episode" in info]
            if over:
                watch.episodes(over, self.num_timesteps)
            return True

    envs = make_vec_env(env, s["envs"], seed=seed) if "-v" in env else wrapped(env, s["envs"], seed)
    model = PPO(
        "MlpPolicy", envs, n_steps=s["horizon"],
        batch_size=s["minibatch"], n_epochs=s["epochs"], gamma=s["gamma"],
        gae_lambda=s["gae_lambda"], ent_coef=s["entropy"], seed=seed, device="cpu",
        learning_rate=lambda left: s["lr"] * left,
    )  # fmt: skip
    watch = Stopwatch()
    with contextlib.suppress(SolvedError):
        model.learn(s["steps"], callback=Watch())
    return watch.result(model.num_timesteps)


def wrapped(name: str, count: int, seed: int) -> Any:
    """An environment of ours, for Stable-Baselines3."""
    import numpy as np
    from stable_baselines3.common.vec_env import VecEnv

    from trainer.config import EnvConfig
    from trainer.envs import make_env
    from trainer.envs.base import Share

    ours = make_env(EnvConfig(name=name), Share(0, count, count))

    class Wrapped(VecEnv):  # type: ignore[misc]  # not installed here
        def reset(self) -> Any:
            self.returns = np.zeros(count)
            return ours.reset(seed)

        def step_async(self, actions: Any) -> None:
            self.actions = actions

        def step_wait(self) -> Any:
            step = ours.step(self.actions)
            over = step.terminated | step.truncated
            infos: list[dict[str, Any]] = [{} for _ in range(count)]
            self.returns += step.reward
            for i in np.flatnonzero(over):
                infos[i] = {
                    "episode": {"r": self.returns[i], "l": 0},  # the length is only logged
                    "terminal_observation": step.final_observation[i],
                    "TimeLimit.truncated": step.truncated[i],
                }
            self.returns[over] = 0
            return step.observation, step.reward, over, infos

        def close(self) -> None:
            pass

        def get_attr(self, *_: Any, **__: Any) -> list[Any]:
            return [None] * count

        env_is_wrapped = get_attr
        set_attr = env_method = None  # nothing here asks for them

    return Wrapped(count, ours.observation_space, ours.action_space)


def run_cleanrl(s: dict[str, Any], seed: int) -> dict[str, Any]:
    """CleanRL's ppo.py as it is installed, with the same numbers; it prints each episode."""
    import gym  # noqa: F401 imported before the clock starts
    import torch.utils.tensorboard  # noqa: F401

    class Watch(io.StringIO):
        def write(self, text: str) -> int:
            if text.startswith("global_step="):
                step, episode = text.split(",")
                watch.episodes([float(episode.partition("=")[2])], int(step.partition("=")[2]))
            return len(text)

    spec = find_spec("cleanrl.ppo")
    assert spec is not None
    assert spec.origin is not None
    size = s["envs"] * s["horizon"]
    arguments = {
        "seed": seed, "total-timesteps": s["steps"], "learning-rate": s["lr"],
        "num-envs": s["envs"], "num-steps": s["horizon"], "gamma": s["gamma"],
        "gae-lambda": s["gae_lambda"], "num-minibatches": size // s["minibatch"],
        "update-epochs": s["epochs"], "ent-coef": s["entropy"], "cuda": False,
    }  # fmt: skip
    sys.argv = [spec.origin, *itertools.chain(*((f"--{k}", str(v)) for k, v in arguments.items()))]
    with (
        contextlib.suppress(SolvedError),
        tempfile.TemporaryDirectory() as folder,
        contextlib.chdir(folder),  # for its logs
        contextlib.redirect_stdout(Watch()),
    ):
        watch = Stopwatch()
        runpy.run_path(spec.origin, run_name="__main__")
    return watch.result(watch.solved_steps or s["steps"] // size * size)


RUNS = {
    "CleanRL": lambda s, seed: run_cleanrl(s, seed),
    "SB3": lambda s, seed: run_sb3(s, seed, env="CartPole-v1"),
    "SB3, maze": lambda s, seed: run_sb3(s, seed, env="maze"),
    "ours": lambda s, seed: run_ours(s, seed, env="CartPole-v1"),
    "ours, NumPy": lambda s, seed: run_ours(s, seed, env="cartpole"),
    "ours, maze": lambda s, seed: run_ours(s, seed, env="maze"),
}
TABLE = [
    *itertools.product(("cleanrl", "zoo", "demo"), ("CleanRL", "SB3", "ours", "ours, NumPy")),
    *itertools.product(("grid",), ("SB3, maze", "ours, maze")),
]

Results = dict[tuple[str, str], list[dict[str, Any]]]


def table(measured: Results) -> str:
    """One line per setting and trainer."""
    lines = [
        "| settings | trainer | steps per CPU s | solved | CPU s to solve | steps to solve |",
        "|---|---|---|---|---|---|",
    ]
    for (settings, trainer), results in measured.items():
        solved = [r for r in results if r["solved_steps"]]
        speeds = sorted(r["steps_per_cpu_second"] for r in results)
        times = ", ".join(f"{r['solved_cpu_seconds']:.1f}" for r in solved)
        steps = ", ".join(f"{r['solved_steps']:,}" for r in solved)
        lines.append(
            f"| {settings} | {trainer} | {speeds[0]:,.0f} – {speeds[-1]:,.0f}"
            f" | {len(solved)} of {len(results)} | {times} | {steps} |"
        )
    return "\n".join(lines)


def ratios(measured: Results) -> str:
    """Ours over the best of the others, seed by seed: at the same settings, and the demo's."""
    speeds = {row: [r["steps_per_cpu_second"] for r in runs] for row, runs in measured.items()}
    lines = [
        "| ours | against the best of | median ratio | ratio of each seed |",
        "|---|---|---|---|",
    ]
    pairs = [(row, row[0]) for row in speeds if row[1].startswith("ours")]
    pairs += [(("demo", "ours, NumPy"), usual) for usual in ("cleanrl", "zoo")]
    for (settings, trainer), other in pairs:
        peers = [v for row, v in speeds.items() if row[0] == other and "ours" not in row[1]]
        if not peers or (settings, trainer) not in speeds:
            continue
        best = [max(each) for each in zip(*peers, strict=True)]
        each = [o / b for o, b in zip(speeds[settings, trainer], best, strict=True)]
        told = "; ".join(f"{r:.1f}" for r in each)
        lines.append(
            f"| {trainer} at {settings}'s settings | the others at {other}'s"
            f" | {statistics.median(each):.1f} | {told} |"
        )
    return "\n".join(lines)


def solving(measured: Results) -> str:
    """CPU seconds and steps that the best of the others took to solve it, over ours, by seed."""
    lines = [
        "| ours | CPU s of the best other, over ours | steps of the best other, over ours |",
        "|---|---|---|",
    ]
    for (settings, trainer), ours in measured.items():
        rows = [row for row in measured if row[0] == settings and "ours" not in row[1]]
        if trainer.startswith("ours") and rows and any(r["solved_steps"] for r in ours):
            told = [
                "; ".join(
                    ratio(own[key], [measured[row][seed][key] for row in rows])
                    for seed, own in enumerate(ours)
                )
                for key in ("solved_cpu_seconds", "solved_steps")
            ]
            lines.append(f"| {trainer} at {settings}'s settings | {' | '.join(told)} |")
    return "\n".join(lines)


def ratio(own: float | None, others: list[float | None]) -> str:
    """The least of the others over ours, or who did not solve it."""
    best = min((other for other in others if other), default=None)
    if own is None or best is None:
        return "ours did not" if own is None else "no other did"
    return f"{best / own:.1f}"


def main() -> None:
    """All in one process, so that they meet the same machine; trainers in turn; then the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, help="per run, instead of each setting's own")
    parser.add_argument("--trainers", nargs="+", default=list(RUNS), choices=list(RUNS))
    parser.add_argument("--settings", nargs="+", default=list(SETTINGS), choices=list(SETTINGS))
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    import torch
    import torch._dynamo  # torch.optim imports it: seconds that are nobody's training

    torch.set_num_threads(1)
    runs = {name: RUNS[name] for name in options.trainers}
    if not find_spec("cleanrl"):
        runs.pop("CleanRL", None)
    measured: Results = {row: [] for row in TABLE if row[0] in options.settings and row[1] in runs}
    for seed in range(1, options.seeds + 1):
        for (settings, trainer), results in measured.items():
            chosen = SETTINGS[settings] | ({"steps": options.steps} if options.steps else {})
            results.append(runs[trainer](chosen, seed))
            print(seed, settings, trainer, results[-1], file=sys.stderr, flush=True)
    print(table(measured), ratios(measured), solving(measured), sep="\n\n")


if __name__ == "__main__":
    main()
