"""Which GPUs this machine has, and which of them a trial is given.

Found without a driver call: a program sees the NVIDIA devices that have a node in /dev, as far as
CUDA_VISIBLE_DEVICES allows. CUDA counts them from 0, whatever their nodes are called.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

VARIABLE = "CUDA_VISIBLE_DEVICES"
_NODE = re.compile(r"nvidia\d+")


def visible(environ: Mapping[str, str], devices: Path = Path("/dev")) -> tuple[str, ...]:
    """Return the GPUs that a program started here would see, as CUDA names them."""
    if VARIABLE in environ:
        given = [name.strip() for name in environ[VARIABLE].split(",")]
        ends = (n for n, name in enumerate(given) if not name or name.startswith("-"))
        return tuple(given[: next(ends, len(given))])  # CUDA takes none from the first bad one on
    try:
        nodes = [path for path in devices.iterdir() if _NODE.fullmatch(path.name)]
    except OSError:
        return ()
    return tuple(str(number) for number in range(len(nodes)))


def per_trial(gpus: Sequence[str], parallel: int) -> int:
    """Return how many GPUs each of so many trials is given; they share where there are fewer."""
    return max(1, len(gpus) // max(1, parallel)) if gpus else 0


def shared_out(
    gpus: Sequence[str], parallel: int, taken: Iterable[Sequence[str]]
) -> tuple[str, ...]:
    """Return the GPUs of one more trial, those with the fewest trials first.

    `taken` holds the GPUs of each trial that runs.
    """
    trials = Counter(gpu for given in taken for gpu in given)
    free_first = sorted(gpus, key=lambda gpu: trials[gpu])
    chosen = set(free_first[: per_trial(gpus, parallel)])
    return tuple(gpu for gpu in gpus if gpu in chosen)


def by_node(gpus: Sequence[str], nodes: int) -> list[list[str]]:
    """Divide a trial's GPUs among its nodes here; all see all where there are fewer than nodes."""
    each = len(gpus) // nodes
    if each == 0:
        return [list(gpus)] * nodes
    return [list(gpus[node * each : (node + 1) * each]) for node in range(nodes)]
