"""Prices from SkyPilot itself, over a small catalogue, without network and accounts."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from launcher.executors.skypilot.prices import Candidate, Price
from launcher.executors.skypilot.readiness import installed_version
from tests.launcher.executors.skypilot.offline_sky import answer, python, write_home

QUESTIONS: Mapping[str, tuple[dict[str, Any], int]] = {
    "spot": ({"infra": "aws", "accelerators": "A10G:1", "use_spot": True}, 1),
    "two nodes": ({"infra": "aws", "accelerators": "H100:8"}, 2),
    "cpu": ({"infra": "aws", "cpus": "2+"}, 1),
    "region": ({"infra": "aws/us-west-2", "accelerators": "A10G:1"}, 1),
    "ordered": (
        {"ordered": [{"infra": "aws/us-west-2", "accelerators": "A10G:1"}, {"cpus": 2}]},
        1,
    ),
    "none": ({"infra": "aws", "accelerators": "B300:1"}, 1),
    "disabled": ({"infra": "gcp", "cpus": "2"}, 1),
    "nonsense": ({"infra": "aws", "acelerators": "A10G:1"}, 1),
}
_ASK = """
import json, sys
from launcher.errors import ProteinSkyError
from launcher.executors.skypilot.prices import price
answers = {}
for name, (resources, nodes) in json.loads(sys.argv[-1]).items():
    try:
        answers[name] = price(resources, nodes).to_mapping()
    except ProteinSkyError as error:
        answers[name] = [type(error).__name__, str(error)]
print(json.dumps(answers))
"""
needs_skypilot = pytest.mark.skipif(installed_version() is None, reason="needs SkyPilot")


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Any]:
    home = tmp_path_factory.mktemp("home")
    write_home(home)
    code = f"import sys; sys.argv.append({json.dumps(QUESTIONS)!r})\n"
    return answer(python(home, code + _ASK))


def asked(answers: Mapping[str, Any], name: str) -> Price:
    return Price.from_mapping(answers[name])


@pytest.mark.infra
@needs_skypilot
class TestOfSkyPilot:
    """What SkyPilot answers."""

    def test_the_cheapest_zone_is_chosen(self, answers: Mapping[str, Any]) -> None:
        price = asked(answers, "spot")
        assert price.usd_per_hour == pytest.approx(0.4024)
        assert (price.chosen.infra, price.chosen.instance_type) == (
            "aws/us-east-1/us-east-1a", "g5.xlarge",
        )  # fmt: skip
        assert price.chosen.use_spot
        assert price.gpus == 1

    def test_the_most_is_what_the_dearest_zone_takes(self, answers: Mapping[str, Any]) -> None:
        price = asked(answers, "spot")
        assert price.most_usd_per_hour == pytest.approx(0.6036)
        assert [c.zone for c in price.candidates] == ["us-east-1a", "us-west-2a", "us-east-1b"]

    def test_a_price_covers_all_nodes(self, answers: Mapping[str, Any]) -> None:
        price = asked(answers, "two nodes")
        assert price.usd_per_hour == pytest.approx(2 * 55.04)
        assert price.gpus == 16

    def test_a_machine_without_gpu_has_none(self, answers: Mapping[str, Any]) -> None:
        assert asked(answers, "cpu").gpus == 0
        assert asked(answers, "cpu").usd_per_hour == pytest.approx(0.096)

    def test_a_region_is_kept(self, answers: Mapping[str, Any]) -> None:
        price = asked(answers, "region")
        assert {c.region for c in price.candidates} == {"us-west-2"}
        assert price.usd_per_hour == price.most_usd_per_hour == pytest.approx(1.2)

    def test_the_first_of_an_order_is_chosen_and_not_the_cheapest(
        self, answers: Mapping[str, Any]
    ) -> None:
        price = asked(answers, "ordered")
        assert price.usd_per_hour == pytest.approx(1.2)
        assert price.candidates[0].usd_per_hour == pytest.approx(0.096)

    def test_what_no_machine_has_is_told(self, answers: Mapping[str, Any]) -> None:
        kind, text = answers["none"]
        assert kind == "UsageError"
        assert "B300:1" in text

    def test_a_cloud_that_is_not_enabled_is_told_with_the_command(
        self, answers: Mapping[str, Any]
    ) -> None:
        kind, text = answers["disabled"]
        assert kind == "UsageError"
        assert "sky check gcp" in text

    def test_a_key_that_skypilot_does_not_know_is_told(self, answers: Mapping[str, Any]) -> None:
        assert "acelerators" in answers["nonsense"][1]


def a_candidate(usd_per_hour: float | None, region: str = "us-east-1") -> Candidate:
    return Candidate("aws", region, None, "g5.xlarge", "A10G:1", 1, False, usd_per_hour)


def test_a_price_that_nobody_knows_is_not_zero() -> None:
    price = Price(a_candidate(None), (a_candidate(None),), nodes=1)
    assert price.usd_per_hour is None
    assert price.most_usd_per_hour is None


def test_the_user_s_price_counts_where_skypilot_knows_none() -> None:
    candidates = (a_candidate(None), a_candidate(2.0, "us-west-2"))
    price = Price(candidates[0], candidates, nodes=1, override_usd_per_hour=3.0)
    assert (price.usd_per_hour, price.most_usd_per_hour) == (3.0, 3.0)
    assert Price(candidates[1], candidates[1:], 1, 3.0).usd_per_hour == 2.0


def test_a_price_comes_back_from_json_as_it_was() -> None:
    price = Price(a_candidate(0.4), (a_candidate(0.4), a_candidate(None, "eu")), 2, 0.5)
    assert Price.from_mapping(json.loads(json.dumps(price.to_mapping()))) == price
