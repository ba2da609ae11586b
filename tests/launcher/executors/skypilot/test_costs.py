"""SkyPilot's cost report, added up for one sweep."""

from collections.abc import Mapping
from typing import Any

from launcher.executors.skypilot.costs import Bill, total


def cluster_of(job: str) -> str:
    """Cut a long name as SkyPilot does, with something in place of its hash."""
    return f"{job[:12]}-h{len(job)}".replace("_", "-")


def bill(*rows: tuple[str, float | None]) -> Bill:
    records: list[Mapping[str, Any]] = [{"name": n, "total_cost": c} for n, c in rows]
    return total(records, "demo-ab12-", ["demo-ab12-1-1", "demo-ab12-10-1"], cluster_of)


def test_clusters_that_are_used_again_are_the_sweep_s() -> None:
    assert bill(("ps-demo-ab12-w0", 1.5), ("ps-demo-ab12-w1", 0.5)) == Bill(2.0, 2, 0)


def test_every_incarnation_of_a_managed_job_counts() -> None:
    name = f"{cluster_of('ps-demo-ab12-1-1')}-7"
    assert bill((name, 0.01), (name, 0.02)) == Bill(0.03, 2, 0)


def test_other_sweeps_and_other_people_s_clusters_do_not_count() -> None:
    other = f"{cluster_of('ps-demo-cd34-1-1')}-8"
    assert bill(("mine", 9.0), ("ps-demo-cd34-w0", 9.0), (other, 9.0)) == Bill(0.0, 0, 0)


def test_a_cluster_without_a_price_is_counted_as_unpriced() -> None:
    assert bill(("ps-demo-ab12-w0", None), ("ps-demo-ab12-w1", 0.5)) == Bill(0.5, 2, 1)
