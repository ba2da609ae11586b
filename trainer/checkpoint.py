"""Checkpoints: the whole state of a run in one file, there in full or not at all.

Files hold plain values, arrays and tensors only and are read without running code from them.
"""

import io
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from trainer.errors import ConfigError
from trainer.output import write_atomically, writing

# What may differ between the run that wrote a checkpoint and the one that goes on from it.
FREE = ("run", "num_processes", "smoke", "trainer.total_timesteps")
FREE_SECTIONS = ("evaluation.", "checkpoint.")


@dataclass(frozen=True, slots=True)
class Checkpoints:
    """The checkpoints in a folder: `keep` of them, named by their step."""

    folder: Path
    keep: int

    def save(self, step: int, state: dict[str, Any]) -> None:
        """Writes the state after `step` environment steps, then removes the oldest files.

        With them goes what a kill has left half written.
        """
        with writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        buffer = io.BytesIO()
        torch.save(to_tensors(state), buffer)
        write_atomically(self.folder / f"checkpoint-{step:015d}.pt", buffer.getvalue())
        for old in (*self._files()[: -self.keep], *self.folder.glob(".checkpoint-*")):
            old.unlink(missing_ok=True)

    def load(self) -> dict[str, Any] | None:
        """The newest state that can be read; None where there is none."""
        for file in reversed(self._files()):
            try:
                state = torch.load(file, map_location="cpu", weights_only=True)
            except Exception as error:  # noqa: BLE001 a damaged file may fail in any way
                print(f"warning: {file} is damaged, trying an older one: {error}", file=sys.stderr)  # noqa: T201
                continue
            restored: dict[str, Any] = to_arrays(state)
            return restored
        return None

    def _files(self) -> list[Path]:
        return sorted(self.folder.glob("checkpoint-*.pt"))


def checkpoint_folder(run_folder: Path) -> Path:
    """PROTEIN_CHECKPOINT_DIR, or a folder within the run's."""
    named = os.environ.get("PROTEIN_CHECKPOINT_DIR")
    return Path(named) if named else run_folder / "checkpoints"


def check_same(saved: dict[str, Any], current: dict[str, Any], folder: Path) -> None:
    """Raises ConfigError where a checkpoint is of a run with other parameters."""
    differing = [
        f"{key}: {saved[key]!r} there, {value!r} here"
        for key, value in current.items()
        if key in saved and saved[key] != value
        if key not in FREE and not key.startswith(FREE_SECTIONS)
    ]
    if differing:
        raise ConfigError(
            f"the checkpoint in {folder} is of another run ({'; '.join(differing)})",
            hint="remove that folder, or set PROTEIN_CHECKPOINT_DIR to another",
        )


def to_tensors(value: Any) -> Any:
    """The same with every array as a tensor."""
    match value:
        case np.ndarray():
            return {"__array__": torch.from_numpy(value.copy())}
        case np.generic():
            return value.item()
        case dict():
            return {key: to_tensors(item) for key, item in value.items()}
        case list() | tuple():
            return [to_tensors(item) for item in value]
        case _:
            return value


def to_arrays(value: Any) -> Any:
    """The reverse of `to_tensors`; tuples come back as lists."""
    match value:
        case {"__array__": tensor}:
            return tensor.numpy()
        case dict():
            return {key: to_arrays(item) for key, item in value.items()}
        case list():
            return [to_arrays(item) for item in value]
        case _:
            return value
