"""What a trial on this machine inherits from the coordinator's environment."""

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

# Each numeric library has its own word for it.
THREAD_LIMITS = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "RAYON_NUM_THREADS",
)
# Who the coordinator itself is, where it was started inside a trial or a W&B run: not the trial's.
_IDENTITY = (
    "WANDB_SERVICE",
    "WANDB_RUN_ID",
    "WANDB_SWEEP_ID",
    "WANDB_SWEEP_PARAM_PATH",
    "WANDB_NAME",
    "WANDB_RESUME",
    "NODE_INDEX",
    "NUM_NODES",
    "MASTER_ADDR",
    "MASTER_PORT",
)


def inherited(environ: Mapping[str, str], *, threads: int | None) -> dict[str, str]:
    """Return the coordinator's environment as a trial should see it.

    Everything passes (PATH, PYTHONPATH, CUDA_VISIBLE_DEVICES …) but the identity of an outer trial.
    `threads` limits numeric libraries where the user has not; `python` is the coordinator's own.
    """
    kept = {
        name: value
        for name, value in environ.items()
        if name not in _IDENTITY and not name.startswith("PROTEIN_")
    }
    if threads is not None:
        kept = dict.fromkeys(THREAD_LIMITS, str(threads)) | kept
    return kept | {
        "PATH": with_our_python(kept),
        "NUM_CPUS": str(threads or os.cpu_count() or 1),
        "PYTHONUNBUFFERED": kept.get("PYTHONUNBUFFERED", "1"),  # the log grows as the trial does
    }


def with_our_python(environ: Mapping[str, str]) -> str:
    """Return PATH, with the coordinator's Python in front unless the user activated another one.

    So `.venv/bin/protein-sky launch` means the same as after `source .venv/bin/activate`.
    """
    path = environ.get("PATH", os.defpath)
    ours = str(Path(sys.executable).parent)
    conda = environ.get("CONDA_DEFAULT_ENV", "base") != "base"  # "base" activates itself
    activated = environ.get("VIRTUAL_ENV") or (environ.get("CONDA_PREFIX") if conda else None)
    if activated and os.path.realpath(activated) != os.path.realpath(sys.prefix):
        return path
    first = shutil.which("python", path=path)
    if first and Path(first).parent == Path(ours):
        return path
    return path if ours in ("/bin", "/usr/bin", "/usr/local/bin") else ours + os.pathsep + path
