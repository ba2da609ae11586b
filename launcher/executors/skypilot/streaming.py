"""What a job prints on its machine, for people who look while it runs; and a shell there."""

import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from launcher import trainlog
from launcher.errors import ExecutorError, NotFoundError
from launcher.executors.skypilot.ledger import Entry, Ledger
from launcher.executors.skypilot.wrapping import is_mark

Print = Callable[[str], None]
"""Shows one line."""


def entry_of(folder: Path, job_name: str) -> Entry | None:
    """Return what is known of a job of the sweep in `folder`; None if SkyPilot never had it."""
    return Ledger(folder / "sky").get(job_name)


def stream(entry: Entry, show: Print, *, follow: bool) -> None:
    """Show what a job has printed, or what its machine does while it is made; then what comes.

    Returns at the job's end, or at once unless `follow`. Raises ExecutorError if SkyPilot cannot
    say it.
    """
    output = _Lines(show)
    try:
        import sky
        import sky.jobs

        if entry.job_id is None and entry.cluster is not None:
            sky.tail_provision_logs(entry.cluster, follow=follow, output_stream=output)
        elif entry.job_id is None:
            show("(waiting for the jobs controller)")
        elif entry.cluster is not None:
            sky.tail_logs(entry.cluster, entry.job_id, follow=follow, output_stream=output)
        else:
            sky.jobs.tail_logs(job_id=entry.job_id, follow=follow, output_stream=output)
    except Exception as error:
        raise ExecutorError(
            f"SkyPilot cannot show the log of {entry.name}: {type(error).__name__}: {error}",
            hint="sky status; sky jobs queue",
        ) from error
    output.close()


def host_of(entry: Entry) -> str:
    """Return the name under which `ssh` finds a job's machine.

    Raises NotFoundError while there is none, ExecutorError if SkyPilot cannot say where it is.
    """
    cluster = _cluster_of(entry)
    # Only this command of SkyPilot's tells ssh how to come there: its SDK and its server do not.
    sky = Path(sys.executable).with_name("sky")
    told = subprocess.run(
        [sky, "status", cluster], stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    if told.returncode != 0:
        raise ExecutorError(
            f"SkyPilot cannot say where {cluster} is: {told.stderr.strip()}",
            hint=f"look at it: sky status {cluster}",
        )
    return cluster


def _cluster_of(entry: Entry) -> str:
    if entry.cluster is not None and entry.job_id is not None:
        return entry.cluster
    if entry.job_id is not None:
        import sky
        import sky.jobs

        fields = ["job_id", "current_cluster_name"]
        asked = sky.jobs.queue_v2(
            refresh=False, all_users=True, job_ids=[entry.job_id], fields=fields
        )
        records = sky.get(asked)[0]
        if records and records[0].get("current_cluster_name"):
            return str(records[0]["current_cluster_name"])
    raise NotFoundError(f"job {entry.name} has no machine now")


class _Lines(io.TextIOBase):
    """Shows whole lines, without what we print for ourselves and what could disturb a terminal."""

    def __init__(self, show: Print) -> None:
        self._show = show
        self._rest = ""

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            if not is_mark(line):
                self._show(trainlog.printable(line))
        return len(text)

    def close(self) -> None:
        if self._rest and not self.closed:
            self.write("\n")
        super().close()
