"""SkyPilot's own SDK behind the seam of `calls`.

`import sky` takes seconds and happens at the first call. Everything the SDK prints is kept off our
terminal. Requests run in SkyPilot's API server: a local one, which the SDK starts, or the team's
(`SKYPILOT_API_SERVER_ENDPOINT`). There what is a sweep's is known by its name, whoever launched it:
another of the team may go on with it, and must see all that runs.
"""

import contextlib
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, assert_never

from launcher.errors import ExecutorError
from launcher.executors.skypilot import team
from launcher.executors.skypilot.calls import (
    JOB_VARIABLE,
    Answer,
    ApplyPool,
    Call,
    CancelJobs,
    CancelManaged,
    CancelRequest,
    Cluster,
    Down,
    DownPool,
    Exec,
    Launch,
    LaunchManaged,
    ListClusters,
    ListJobs,
    ListManaged,
    Placed,
    Problem,
    SkyJob,
    Status,
    Where,
)

MAX_DETAIL_CHARACTERS = 600
SEARCHED_REQUESTS = 500
"""How far back a request is looked for after a crash: seconds of a sweep's requests, with room."""

_JOB_STATUS = {
    "INIT": Status.PENDING,
    "PENDING": Status.PENDING,
    "SETTING_UP": Status.PENDING,
    "RUNNING": Status.RUNNING,
    "FAILED_DRIVER": Status.BROKEN,
    "SUCCEEDED": Status.SUCCEEDED,
    "FAILED": Status.FAILED,
    "FAILED_SETUP": Status.FAILED_SETUP,
    "CANCELLED": Status.CANCELLED,
}
_MANAGED_STATUS = {
    "PENDING": Status.PENDING,
    "SUBMITTED": Status.PENDING,
    "STARTING": Status.PENDING,
    "RUNNING": Status.RUNNING,
    "WINDING_DOWN": Status.RUNNING,
    "RECOVERING": Status.RUNNING,
    "CANCELLING": Status.RUNNING,
    "SUCCEEDED": Status.SUCCEEDED,
    "CANCELLED": Status.CANCELLED,
    "FAILED": Status.FAILED,
    "FAILED_SETUP": Status.FAILED_SETUP,
    "FAILED_PRECHECKS": Status.REFUSED,
    "FAILED_NO_RESOURCE": Status.NO_CAPACITY,
    "FAILED_CONTROLLER": Status.BROKEN,
}
_MANAGED_FIELDS = (
    "job_id",
    "job_name",
    "status",
    "submitted_at",
    "start_at",
    "end_at",
    "recovery_count",
    "failure_reason",
    "cluster_resources_full",
    "cloud",
    "region",
    "zone",
)
_NO_CAPACITY = ("ResourcesUnavailableError", "ManagedJobReachedMaxRetriesError")
_REFUSED = (
    "APINotSupportedError",
    "APIVersionMismatchError",
    "ApiServerAuthenticationError",
    "CloudUserIdentityError",
    "ClusterOwnerIdentityMismatchError",
    "InvalidCloudConfigs",
    "InvalidCloudCredentials",
    "InvalidClusterNameError",
    "InvalidSkyPilotConfigError",
    "KubernetesValidationError",
    "NoCloudAccessError",
    "NotSupportedError",
    "PermissionDeniedError",
    "PoolDoesNotExistError",
    "ProvisionPrechecksError",
    "ProvisionUnsupportedError",
    "ResourcesMismatchError",
    "StorageSpecError",
    "UserRequestRejectedByPolicy",
    "ValueError",
)
_GONE = ("ClusterDoesNotExist", "ClusterNotUpError", "CommandError", "FetchClusterInfoError")
# "1x[spot](gpus=A10G:1, cpus=4, mem=16, g5.xlarge, disk=256)"
_MACHINES = re.compile(r"(?P<nodes>\d+)x(?P<spot>\[spot\])?\((?:[^=]+=[^,]+, )*(?P<type>[^=,]+), ")


class RealSky:
    """Asks SkyPilot. `log` may be called from other threads."""

    def __init__(self) -> None:
        self._asked: dict[str, Call] = {}

    def ask(self, call: Call) -> str:
        """Send a request and return its id."""
        with _sdk("asked") as sky:
            request_id = str(_send(sky, call))
        self._asked[request_id] = call
        return request_id

    def answers(self, request_ids: Sequence[str]) -> Mapping[str, Answer]:
        """Return the answers of the requests that are done, or that SkyPilot does not know."""
        if not request_ids:
            return {}
        with _sdk("asked for answers") as sky:
            known = {r.request_id: r for r in sky.api_status(request_ids=list(request_ids))}
        found = {}
        for request_id in request_ids:
            record = known.get(request_id)
            if record is None:
                found[request_id] = Answer(problem=Problem.FORGOTTEN)
            elif record.status in ("SUCCEEDED", "FAILED", "CANCELLED"):
                found[request_id] = self._answer(request_id, record.name)
        return found

    def find(self, name: str) -> str | None:
        """Look through the latest requests for one that starts something of this name."""
        with _sdk("searched") as sky:
            records = sky.api_status(all_status=True, limit=SEARCHED_REQUESTS)
        starts = [
            r
            for r in records
            if r.name.rpartition(".")[2] in ("launch", "exec")
            and r.status not in ("FAILED", "CANCELLED")
            and re.search(rf"{JOB_VARIABLE}: '?{re.escape(name)}(?![\w.-])", _body(r.request_body))
        ]
        return max(starts, key=lambda r: r.created_at).request_id if starts else None

    def log(self, where: Where) -> str:
        """Return what a job has printed."""
        output = io.StringIO()
        with _sdk("asked for a log", is_quiet=False) as sky:  # in a thread; it prints to `output`
            if where.cluster is None:
                sky.jobs.tail_logs(job_id=where.job_id, follow=False, output_stream=output)
            else:
                sky.tail_logs(where.cluster, where.job_id, follow=False, output_stream=output)
        return output.getvalue()

    def _answer(self, request_id: str, request_name: str) -> Answer:
        import sky

        try:
            with _quiet():
                value = sky.get(request_id)
        except Exception as error:  # noqa: BLE001  whatever the server's request raised, by type
            return _refused(error)
        call = self._asked.pop(request_id, None)
        with _quiet():
            return Answer(_value(call, request_name, value))


def _send(sky: Any, call: Call) -> object:
    match call:
        case Launch():
            return sky.launch(
                _task(sky, call.task, call.secrets),
                cluster_name=call.cluster,
                idle_minutes_to_autostop=call.idle_minutes,
                down=True,
            )
        case Exec():
            return sky.exec(_task(sky, call.task, call.secrets), cluster_name=call.cluster)
        case LaunchManaged():
            task = _task(sky, call.task, call.secrets)
            return sky.jobs.launch(task, name=call.name, pool=call.pool)
        case ApplyPool():
            from sky.serve.serve_utils import UpdateMode

            task = _task(sky, {**call.task, "pool": {"workers": call.workers}}, call.secrets)
            return sky.jobs.pool_apply(task, call.name, mode=UpdateMode.ROLLING)
        case DownPool():
            return sky.jobs.pool_down(call.name)
        case ListJobs():
            return sky.queue(call.cluster, all_users=True)
        case ListManaged():
            fields = list(_MANAGED_FIELDS)
            return sky.jobs.queue_v2(
                refresh=False, all_users=True, fields=fields, name_match=call.prefix
            )
        case ListClusters():
            mode = sky.StatusRefreshMode.FORCE if call.is_fresh else sky.StatusRefreshMode.NONE
            return sky.status([call.prefix + "*"], refresh=mode, all_users=True)
        case CancelJobs():
            return sky.cancel(call.cluster, job_ids=list(call.job_ids))
        case CancelManaged():
            return sky.jobs.cancel(job_ids=list(call.job_ids))
        case Down():
            return sky.down(call.cluster)
        case CancelRequest():
            return sky.api_cancel([call.request_id])
        case _:
            assert_never(call)


def _task(sky: Any, task: Mapping[str, Any], secrets: Mapping[str, str]) -> Any:
    made = sky.Task.from_yaml_config(json.loads(json.dumps(dict(task))))
    if secrets:
        made.update_secrets(dict(secrets))
    return made


def _value(call: Call | None, request_name: str, value: Any) -> Any:
    """Return an answer in our own terms. Without its call, as after a restart: it was a start."""
    match call:
        case Launch() | Exec():
            return _placed(value)
        case LaunchManaged():
            return Placed(_first(value[0]))
        case ListJobs():
            return tuple(_cluster_job(record) for record in value)
        case ListManaged(prefix=prefix):
            records = value[0] if isinstance(value, tuple) else value
            jobs = (_managed_job(record) for record in records)
            return tuple(job for job in jobs if job.name.startswith(prefix))
        case ListClusters(prefix=prefix):
            clusters = (_cluster(record) for record in value)
            return tuple(cluster for cluster in clusters if cluster.name.startswith(prefix))
        case None:
            is_managed = request_name.startswith(("sky.jobs", "jobs"))
            return Placed(_first(value[0])) if is_managed else _placed(value)
        case _:
            return None


def _placed(value: Any) -> Placed:
    job_id, handle = value
    resources = getattr(handle, "launched_resources", None)
    if resources is None:
        return Placed(_first(job_id))
    price = None
    with contextlib.suppress(Exception):  # a catalogue that does not know the machine
        price = float(resources.get_cost(3600)) * int(handle.launched_nodes)
    return Placed(_first(job_id), price, bool(resources.use_spot))


def _first(job_id: Any) -> int:
    return int(job_id[0] if isinstance(job_id, list | tuple) else job_id)


def _cluster_job(record: Any) -> SkyJob:
    record = dict(record)
    return SkyJob(
        job_id=int(record["job_id"]),
        name=str(record["job_name"]),
        status=_JOB_STATUS.get(_word(record["status"]), Status.PENDING),
        submitted_at=record.get("submitted_at"),
        started_at=record.get("start_at"),
        ended_at=record.get("end_at"),
    )


def _managed_job(record: Any) -> SkyJob:
    record = dict(record)
    word = _word(record.get("status"))
    recoveries = int(record.get("recovery_count") or 0)
    again = f"recovered {recoveries} times" if recoveries else ""
    return SkyJob(
        job_id=int(record["job_id"]),
        name=str(record.get("job_name") or ""),
        status=_MANAGED_STATUS.get(word, Status.PENDING),
        submitted_at=record.get("submitted_at"),
        started_at=record.get("start_at"),
        ended_at=record.get("end_at"),
        detail=str(
            record.get("failure_reason") or ("recovering" if word == "RECOVERING" else again)
        ),
        recoveries=recoveries,
        price_usd_per_hour=_managed_price(record),
    )


def _managed_price(record: Mapping[str, Any]) -> float | None:
    """Return what a managed job's machines cost by today's catalogue; None: it cannot be told."""
    machines = _MACHINES.match(str(record.get("cluster_resources_full") or ""))
    cloud = record.get("cloud")
    if machines is None or not cloud or cloud == "-":
        return None
    infra = "/".join(
        str(part).lower()
        for part in (cloud, record.get("region"), record.get("zone"))
        if part and part != "-"
    )
    try:
        import sky

        resources = sky.Resources(
            infra=infra, instance_type=machines["type"], use_spot=machines["spot"] is not None
        )
        return float(resources.get_cost(3600)) * int(machines["nodes"])
    except Exception:  # noqa: BLE001  an unknown machine has no price; nothing else depends on it
        return None


def _cluster(record: Any) -> Cluster:
    record = dict(record)
    launched_at = record.get("launched_at")
    return Cluster(
        name=str(record["name"]),
        is_up=_word(record["status"]) == "UP",
        launched_at=float(launched_at) if launched_at else None,
    )


def _word(status: Any) -> str:
    return str(getattr(status, "value", status)).rpartition(".")[2]


def _body(body: object) -> str:
    return body if isinstance(body, str) else json.dumps(body, default=str)


def _refused(error: Exception) -> Answer:
    """Return what an error of SkyPilot means for whoever asked."""
    names = {kind.__name__ for kind in type(error).__mro__}
    detail = f"{type(error).__name__}: {error}"[:MAX_DETAIL_CHARACTERS]
    if names.intersection(_GONE):
        return Answer(problem=Problem.GONE, detail=detail)
    if names.intersection(_NO_CAPACITY):
        is_out = bool(getattr(error, "failover_history", None))
        return Answer(problem=Problem.NO_CAPACITY if is_out else Problem.REFUSED, detail=detail)
    if "RequestCancelled" in names:
        return Answer(problem=Problem.CANCELLED, detail=detail)
    if names.intersection(_REFUSED):
        return Answer(problem=Problem.REFUSED, detail=detail)
    return Answer(problem=Problem.TROUBLE, detail=detail)


@contextlib.contextmanager
def _sdk(what: str, *, is_quiet: bool = True) -> Iterator[Any]:
    """Give the SDK, silent; whatever it raises says that SkyPilot could not be asked."""
    try:
        with _quiet() if is_quiet else contextlib.nullcontext():
            import sky
            import sky.jobs

            yield sky
    except Exception as error:  # the SDK's errors have no common base
        words = team.without_password(f"{type(error).__name__}: {error}")[:MAX_DETAIL_CHARACTERS]
        raise ExecutorError(
            f"SkyPilot cannot be {what}: {words}", hint="look at it: sky api info; sky check"
        ) from error


def _quiet() -> contextlib.AbstractContextManager[object]:
    """Keep what the SDK prints off stdout, where our own answers go."""
    return contextlib.redirect_stdout(io.StringIO())
