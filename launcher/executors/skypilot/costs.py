"""What SkyPilot itself says the machines of a sweep have cost, to hold our ledger against.

Its report has a row for every cluster that ever was, one for each incarnation; a managed job's
cluster has a name of its own, made of the job's. Prices are those of today's catalogue.
"""

import contextlib
import io
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from launcher.errors import ExecutorError
from launcher.executors.skypilot.placing import PREFIX


@dataclass(frozen=True, slots=True)
class Bill:
    """Dollars of so many clusters. `unpriced`: those for which SkyPilot knows no price."""

    usd: float
    clusters: int
    unpriced: int


def bill_of(prefix: str, jobs: Collection[str], *, days: int) -> Bill:
    """Return the bill of a sweep whose job names begin with `prefix`, over the latest days.

    `jobs`: all its jobs that ever were. Raises ExecutorError if SkyPilot cannot be asked.
    """
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            import sky
            from sky.jobs import utils

            records = sky.get(sky.cost_report(days=days))

            def cluster_of(job: str) -> str:
                return str(utils.generate_managed_job_cluster_name(job, 0)).removesuffix("-0")

            return total([dict(record) for record in records], prefix, jobs, cluster_of)
    except Exception as error:  # the SDK's errors have no common base
        words = f"{type(error).__name__}: {error}"[:300]
        raise ExecutorError(f"SkyPilot's cost report cannot be had: {words}") from error


def total(
    records: Iterable[Mapping[str, Any]],
    prefix: str,
    jobs: Collection[str],
    cluster_of: Callable[[str], str],
) -> Bill:
    """Add up the rows of one sweep: clusters of its own names, and those of its managed jobs.

    `cluster_of` gives the name of a managed job's cluster, but for the job's id at its end.
    """
    managed = {cluster_of(PREFIX + job) for job in jobs}
    costs = [
        record.get("total_cost")
        for record in records
        if str(record["name"]).startswith(PREFIX + prefix)
        or str(record["name"]).rpartition("-")[0] in managed
    ]
    known = [float(cost) for cost in costs if cost is not None]
    return Bill(sum(known), len(costs), len(costs) - len(known))
