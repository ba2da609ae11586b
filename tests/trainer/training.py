"""Short training runs for the tests."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from trainer import parse
from trainer.__main__ import main
from trainer.config import Config
from trainer.tree import read_override

ROOT = Path(__file__).parents[2]
SMALL = ("trainer.total_timesteps=256", "trainer.batch_size=64", "evaluation.num_episodes=4")


def config(*overrides: str) -> Config:
    return parse.parse([read_override(text) for text in overrides])


def run_in(folder: Path, *overrides: str, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setenv("PROTEIN_RUN_DIR", str(folder))
    for name in ("WANDB_MODE", "WANDB_API_KEY", "PROTEIN_CHECKPOINT_DIR", "NUM_NODES"):
        monkeypatch.delenv(name, raising=False)
    return main([*SMALL, *overrides])


def result(folder: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return document


def metrics(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)
