"""How long the command line takes to answer, against its limit and against Python itself.

    python -m benchmarks.startup

Whole processes, several runs in turn, medians. Limits: `--help` 0.3 s, `import protein` 0.5 s.
"""

import statistics
import subprocess
import sys
import time

RUNS = 9
PYTHON = [sys.executable, "-c", "pass"]
COMMANDS = {
    "protein-sky --help": ([sys.executable, "-m", "launcher", "--help"], 0.3),
    "import protein, Space and suggest": (
        [sys.executable, "-c", "from protein import Protein, Space"],
        0.5,
    ),
}


def seconds(command: list[str]) -> float:
    """Return the wall time of one run."""
    began = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began


def main() -> None:
    """Print a row for each command."""
    print(f"{'command':36} {'median s':>9} {'limit s':>8} {'of limit':>9} {'of python':>10}")
    for name, (command, limit) in COMMANDS.items():
        pairs = [(seconds(command), seconds(PYTHON)) for _ in range(RUNS)]
        ours = statistics.median(pair[0] for pair in pairs)
        ratio = statistics.median(a / b for a, b in pairs)
        print(f"{name:36} {ours:9.3f} {limit:8.1f} {ours / limit:9.2f} {ratio:10.1f}")


if __name__ == "__main__":
    main()
