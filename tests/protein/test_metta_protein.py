"""MettaProtein: the reference's class, set up by a sweep's config."""

from collections import UserDict, UserList
from typing import Any

import pytest

from protein import MettaProtein, SpaceError, WandbProtein
from protein.metta_protein import protein_of
from tests.protein.test_wandb_protein import FakeRun

CFG: dict[str, Any] = {
    "method": "bayes",
    "sweep": {
        "metric": "reward",
        "goal": "minimize",
        "num_random_samples": 3,
        "seed": 4,
        "parameters": {
            "trainer": {"learning_rate": {"min": 1e-5, "max": 1e-2, "distribution": "log_normal"}},
            "trainer.gamma": {"min": 0.9, "max": 0.999, "distribution": "uniform"},
            "model.activation": {"values": ["relu", "tanh"]},
        },
    },
}


def test_it_suggests_in_the_space_of_the_config() -> None:
    protein = MettaProtein(CFG, FakeRun(), runs=list)
    suggestion, metadata = protein.suggest()
    assert isinstance(protein, WandbProtein)
    assert set(suggestion) == {"trainer.learning_rate", "trainer.gamma", "model.activation"}
    assert 1e-5 <= suggestion["trainer.learning_rate"] <= 1e-2
    assert metadata["suggestion_uuid"] == "me"


def test_the_config_sets_protein_up() -> None:
    protein = protein_of(CFG)
    assert (protein.settings.goal, protein.settings.num_random_samples) == ("minimize", 3)
    assert protein.seed == 4


def test_the_sweep_section_alone_means_the_same() -> None:
    assert protein_of(CFG["sweep"]).space == protein_of(CFG).space


def test_any_kind_of_mapping_will_do() -> None:
    def wrapped(value: Any) -> Any:
        if isinstance(value, dict):
            return UserDict({key: wrapped(inner) for key, inner in value.items()})
        return UserList(value) if isinstance(value, list) else value

    assert protein_of(wrapped(CFG)).space == protein_of(CFG).space


def test_a_wrong_space_is_told() -> None:
    with pytest.raises(SpaceError, match="max"):
        MettaProtein({"parameters": {"a": {"min": 1, "max": 0}}}, FakeRun(), runs=list)
