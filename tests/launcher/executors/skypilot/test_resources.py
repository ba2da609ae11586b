"""What a sweep asks of SkyPilot: hardware, then the task, then the command line."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.errors import UsageError
from launcher.executors.skypilot.resources import resources_of
from launcher.sweepfile.infra import Infra
from tests.launcher.builders import a_config


def asked(
    task: dict[str, Any] | None = None, hardware: dict[str, Any] | None = None, **execution: Any
) -> dict[str, Any]:
    """Return the resources of a sweep on AWS with these parts."""
    return resources_of(
        a_config(
            task={"resources": task or {}},
            hardware={"resources": hardware or {}, "device": "cuda"},
            execution={"cloud": "aws"} | execution,
        )
    )


def test_a_sweep_that_says_nothing_asks_for_any_machine_of_its_cloud() -> None:
    assert asked() == {"infra": "aws"}


def test_the_hardware_file_says_what_the_machine_has() -> None:
    hardware = {"accelerators": "A10G:1", "use_spot": True}
    assert asked({"cpus": "2+"}, hardware) == {
        "infra": "aws", "accelerators": "A10G:1", "use_spot": True, "cpus": "2+",
    }  # fmt: skip


def test_the_task_counts_over_the_hardware_file() -> None:
    assert asked({"accelerators": "H100:8"}, {"accelerators": "A10G:1"})["accelerators"] == "H100:8"


def test_the_command_line_counts_over_everything() -> None:
    task = {"accelerators": "A10G:1", "use_spot": True, "infra": "aws/us-east-1/us-east-1a"}
    found = asked(task, gpus="L4:2", use_spot=False, region="us-west-2")
    assert found == {"infra": "aws/us-west-2", "accelerators": "L4:2", "use_spot": False}


def test_the_command_line_counts_over_each_choice_too() -> None:
    task = {"any_of": [{"accelerators": "A10G:1", "use_spot": True}, {"accelerators": "L4:1"}]}
    assert asked(task, gpus="T4:1", use_spot=False) == {
        "infra": "aws", "accelerators": "T4:1", "use_spot": False,
    }  # fmt: skip


def test_choices_on_other_clouds_are_left_out() -> None:
    task = {
        "cpus": "4+",
        "any_of": [{"infra": "aws/us-east-1"}, {"infra": "gcp"}, {"cloud": "AWS", "region": "eu"}],
    }
    assert asked(task) == {
        "cpus": "4+",
        "any_of": [{"infra": "aws/us-east-1"}, {"infra": "aws/eu"}],
    }
    assert len(asked(task, cloud="any")["any_of"]) == 3


def test_the_order_of_choices_stays() -> None:
    task = {"ordered": [{"accelerators": "L4:1"}, {"accelerators": "A10G:1"}]}
    found = asked(task, hardware={"any_of": [{"accelerators": "T4:1"}]})
    assert [one["accelerators"] for one in found["ordered"]] == ["L4:1", "A10G:1"]
    assert "any_of" not in found


def test_labels_of_the_only_choice_join_those_of_all() -> None:
    task = {"labels": {"team": "rl"}, "any_of": [{"infra": "gcp"}, {"labels": {"kind": "spot"}}]}
    assert asked(task) == {"infra": "aws", "labels": {"team": "rl", "kind": "spot"}}


@pytest.mark.parametrize(
    "task", [{"infra": "gcp"}, {"cloud": "GCP"}, {"any_of": [{"infra": "gcp"}, {"cloud": "gcp"}]}]
)
def test_a_task_for_another_cloud_is_refused(task: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="gcp") as caught:
        asked(task)
    assert "--cloud gcp" in caught.value.hint


def test_one_word_says_cloud_region_and_zone() -> None:
    assert asked(infra="slurm/lab/gpu", cloud="slurm") == {"infra": "slurm/lab/gpu"}
    assert asked({"infra": "k8s"}, infra="k8s/eks:1/prod", cloud="kubernetes") == {
        "infra": "kubernetes/eks:1/prod"
    }


words = st.text("abcdefgh-123", min_size=1, max_size=8)


@given(words, st.none() | words, st.none() | words)
def test_a_place_is_read_as_it_is_written(cloud: str, region: str | None, zone: str | None) -> None:
    place = Infra(cloud, region, zone)
    assert Infra.parse(str(place)) == place or place.cloud in ("kubernetes", "ssh")


@given(words, words, words)
def test_a_place_that_is_narrowed_lies_where_it_was_wanted(cloud: str, a: str, b: str) -> None:
    wanted = Infra(cloud, a)
    found = Infra(None, b, "z").within(wanted)
    assert found is not None
    assert (found.cloud, found.region) == (wanted.cloud, a)


@pytest.mark.parametrize("text", ["aws//a", "/", "aws/a/b/c", ""])
def test_a_place_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="has "):
        Infra.parse(text)
