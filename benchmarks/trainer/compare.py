"""CartPole-v1: speed and time to solve, against Stable-Baselines3, same settings, one thread.

CPU seconds of the training loop alone, without imports: on a shared machine the clock on the wall
says more about the neighbours. "Solved": the last 100 training episodes return 475 on average.

    pip install stable-baselines3      # in an environment of its own, beside this package
    OMP_NUM_THREADS=1 python benchmarks/trainer/compare.py --seeds 3

Rows: the settings of CleanRL's ppo.py and of the RL Zoo's CartPole-v1, on Gymnasium's environment;
and this trainer as it is meant to be used, on its environment in NumPy.
"""

import argparse
import json
import subprocess
import sys
import time
from collections import deque
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
        "gamma": 0.99, "gae_lambda": 0.95, "entropy": 0.01, "steps": 150_000,
    },
}  # fmt: skip


class Stopwatch:
    """Counts steps and CPU seconds, and notes when the task was solved."""

    def __init__(self) -> None:
        self.started = time.process_time()
        self.returns: deque[float] = deque(maxlen=WINDOW)
        self.solved_seconds: float | None = None
        self.solved_steps: int | None = None

    def episodes(self, returns: list[float], step: int) -> None:
        """Returns of episodes that ended up to `step`."""
        self.returns.extend(returns)
        full = len(self.returns) == WINDOW
        if self.solved_steps is None and full and sum(self.returns) / WINDOW >= GOAL:
            self.solved_steps = step
            self.solved_seconds = time.process_time() - self.started

    def result(self, steps: int) -> dict[str, Any]:
        """What one run measured."""
        seconds = time.process_time() - self.started
        return {
            "steps_per_cpu_second": steps / seconds,
            "cpu_seconds": seconds,
            "solved_cpu_seconds": self.solved_seconds,
            "solved_steps": self.solved_steps,
            "last_100": sum(self.returns) / max(1, len(self.returns)),
        }


def run_ours(s: dict[str, Any], seed: int, *, env: str) -> dict[str, Any]:
    """This trainer's loop, in this process, without its files."""
    import tempfile

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
    watch, last = Stopwatch(), [0]

    def report(step: int, metrics: dict[str, float]) -> None:
        watch.episodes([metrics.get("episode/return", 0.0)] * int(metrics["episode/count"]), step)
        last[0] = step

    with tempfile.TemporaryDirectory() as folder:
        ranks = Ranks(Place(), run_id="", device=device)
        checkpoints = Checkpoints(Path(folder), keep=1)
        train(config, Surroundings(device, ranks, checkpoints, report, lambda: ""))
    return watch.result(last[0])


def run_sb3(s: dict[str, Any], seed: int) -> dict[str, Any]:
    """Stable-Baselines3's PPO with the same numbers."""
    from stable_baselines3 import PPO
    from stable_baselines3.common.callbacks import BaseCallback
    from stable_baselines3.common.env_util import make_vec_env

    class Watch(BaseCallback):
        def _on_step(self) -> bool:
            over = [info["episode"]["r"] for info in self.locals["infos"] if "episode" in info]
            if over:
                watch.episodes(over, self.num_timesteps)
            return True

    watch = Stopwatch()
    model = PPO(
        "MlpPolicy", make_vec_env("CartPole-v1", s["envs"], seed=seed), n_steps=s["horizon"],
        batch_size=s["minibatch"], n_epochs=s["epochs"], gamma=s["gamma"],
        gae_lambda=s["gae_lambda"], ent_coef=s["entropy"], seed=seed, device="cpu",
        learning_rate=lambda left: s["lr"] * left,
    )  # fmt: skip
    model.learn(s["steps"], callback=Watch())
    return watch.result(model.num_timesteps)


RUNS = {
    "sb3": lambda s, seed: run_sb3(s, seed),
    "ours": lambda s, seed: run_ours(s, seed, env="CartPole-v1"),
    "ours, NumPy": lambda s, seed: run_ours(s, seed, env="cartpole"),
}
TABLE = [
    ("cleanrl", "sb3"), ("cleanrl", "ours"), ("cleanrl", "ours, NumPy"),
    ("zoo", "sb3"), ("zoo", "ours"), ("zoo", "ours, NumPy"),
    ("demo", "sb3"), ("demo", "ours, NumPy"),
]  # fmt: skip


def main() -> None:
    """Each run in its own process, trainers in turn, then one line per setting and trainer."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs=3, metavar=("SETTINGS", "TRAINER", "SEED"))
    options = parser.parse_args()
    if options.only:
        settings, trainer, seed = options.only
        import torch

        torch.set_num_threads(1)
        print(json.dumps(RUNS[trainer](SETTINGS[settings], int(seed))))
        return
    measured: dict[tuple[str, str], list[dict[str, Any]]] = {row: [] for row in TABLE}
    for seed in range(1, options.seeds + 1):
        for row, results in measured.items():
            command = [sys.executable, __file__, "--only", *row, str(seed)]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            results.append(json.loads(done.stdout.splitlines()[-1]))
    print("| settings | trainer | steps per CPU s | solved | CPU s to solve | steps to solve |")
    print("|---|---|---|---|---|---|")
    for (settings, trainer), results in measured.items():
        solved = [r for r in results if r["solved_steps"]]
        speeds = sorted(r["steps_per_cpu_second"] for r in results)
        times = ", ".join(f"{r['solved_cpu_seconds']:.1f}" for r in solved)
        steps = ", ".join(f"{r['solved_steps']:,}" for r in solved)
        print(
            f"| {settings} | {trainer} | {speeds[0]:,.0f} – {speeds[-1]:,.0f}"
            f" | {len(solved)} of {len(results)} | {times} | {steps} |"
        )


if __name__ == "__main__":
    main()
