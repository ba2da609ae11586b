"""What the stand-in knows: runs and sweeps of one entity, as resolvers for graphql-core.

graphql-core's default resolver takes a dict's entry, and calls it with (info, **arguments) where it
is callable. Everything is kept as the client sent it; nothing is computed that W&B would compute.
"""

import json
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import yaml

ENTITY = {"id": "entity-1", "name": "team"}
VIEWER = {
    "id": "user-1",
    "entity": "team",
    "username": "someone",
    "name": "Someone",
    "email": "someone@example.org",
    "admin": False,
    "flags": "{}",
    "teams": {"edges": [{"node": ENTITY}]},
}
PAGE_LIMIT = 1000


@dataclass
class Run:
    """One run, as the last requests left it."""

    name: str
    project: str
    created_at: str
    display_name: str | None = None
    config: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    tags: list[str] = field(default_factory=list)
    group: str | None = None
    job_type: str | None = None
    sweep: str | None = None
    state: str = "running"
    history: list[str] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    logs: list[str] = field(default_factory=list)
    exit_code: int | None = None
    upserts: int = 0

    @property
    def values(self) -> dict[str, Any]:
        """The config as the user knows it."""
        return {k: v["value"] for k, v in self.config.items() if not k.startswith("_")}


@dataclass
class Sweep:
    """One sweep: the server suggests `proposals` to its agents, one after the other."""

    name: str
    project: str
    config: str
    display_name: str | None = None
    proposals: list[dict[str, Any]] = field(default_factory=list)
    agents: list[str] = field(default_factory=list)


def _sample(history: list[str], spec: str) -> list[dict[str, Any]]:
    """Rows that have all keys, evenly drawn where there are more than `samples`; NaN is a text."""
    asked = json.loads(spec)
    low, high = asked.get("minStep", 0), asked.get("maxStep", float("inf"))
    rows = [json.loads(line, parse_constant=str) for line in history]
    rows = [row for row in rows if low <= row["_step"] < high and set(asked["keys"]) <= set(row)]
    stride = -(-len(rows) // asked["samples"])
    return [{key: row[key] for key in asked["keys"]} for row in rows[:: stride or 1]]


class Store:
    """Everything of one server. Its methods are called under `lock`."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.runs: dict[str, Run] = {}
        self.sweeps: dict[str, Sweep] = {}
        self.hide_summaries = False  # the summary is late

    @property
    def root(self) -> dict[str, Any]:
        """The resolvers of Query and Mutation."""
        return {
            "viewer": VIEWER,
            "serverInfo": {"cliVersionInfo": "{}", "latestLocalVersionInfo": None, "features": []},
            "entity": lambda _info, name: ENTITY if name == ENTITY["name"] else None,
            "model": self._project,
            "project": self._project,
            "upsertBucket": self._upsert_bucket,
            "upsertSweep": self._upsert_sweep,
            "createAgent": self._create_agent,
            "agentHeartbeat": self._heartbeat,
            "createRunFiles": self._create_files,
        }

    def stream(self, project: str, run_id: str, body: dict[str, Any]) -> None:
        """Take what the client streams. Raises KeyError for an unknown run."""
        run = self.runs[run_id]
        lines = {"wandb-history.jsonl": run.history, "wandb-events.jsonl": run.events}
        for name, chunk in body.get("files", {}).items():
            if name == "wandb-summary.json":
                run.summary = json.loads(chunk["content"][-1])
            else:
                kept = lines.get(name, run.logs)
                kept[chunk["offset"] :] = chunk["content"]
        if body.get("complete"):
            run.exit_code = body.get("exitcode")
            run.state = "finished" if run.exit_code == 0 else "failed"

    def _project(
        self, _info: Any, name: str | None = None, entityName: str | None = None
    ) -> dict[str, Any]:
        return {
            "id": f"project-{name}",
            "internalId": "1",
            "name": name,
            "entity": ENTITY,
            "readOnly": False,
            "runCount": lambda _info, filters=None: len(self._found(name, filters)),
            "bucket": lambda _info, name, missingOk=False: self._run(name),
            "run": lambda _info, name: self._run(name),
            "runs": lambda _info, **arguments: self._runs(name, **arguments),
            "sweep": lambda _info, sweepName: self._sweep(sweepName),
            "sweeps": lambda _info, **arguments: self._sweeps(name, **arguments),
            "totalSweeps": len(self.sweeps),
        }

    def _found(self, project: str | None, filters: str | None) -> list[Run]:
        """Filter runs by name or group, the only filters known; another one is an error."""
        wanted = json.loads(filters or "{}")
        runs = [run for run in self.runs.values() if run.project == project]
        if one_of := wanted.pop("$or", None):
            some = [self._found(project, json.dumps(one)) for one in one_of]
            runs = [run for run in runs if any(run in found for found in some)]
        for key, test in wanted.items():
            if key not in ("name", "group", "sweep"):
                raise ValueError(f"unknown filter {key}")
            allowed = set(test["$in"]) if isinstance(test, dict) else {test}
            runs = [run for run in runs if getattr(run, key) in allowed]
        return runs

    def _runs(
        self,
        project: str | None,
        filters: str | None = None,
        after: str | None = None,
        first: int = 50,
        order: str | None = None,
    ) -> dict[str, Any]:
        found = self._found(project, filters)
        start = int(after) if after else 0
        page = found[start : start + min(first, PAGE_LIMIT)]
        ends = [str(start + n) for n in range(1, len(page) + 1)]
        return {
            "edges": [
                {"node": self._run(run.name), "cursor": end}
                for run, end in zip(page, ends, strict=True)
            ],
            "pageInfo": {
                "endCursor": ends[-1] if ends else None,
                "hasNextPage": start + len(page) < len(found),
            },
        }

    def _run(self, name: str) -> dict[str, Any] | None:
        run = self.runs.get(name)
        if run is None:
            return None
        return {
            "id": f"run-{name}",
            "projectId": "1",
            "name": name,
            "displayName": run.display_name,
            "config": json.dumps(run.config),
            "wandbConfig": json.dumps(
                {"t": run.config.get("_wandb", {}).get("value", {}).get("t")}
            ),
            "summaryMetrics": json.dumps({} if self.hide_summaries else run.summary),
            "systemMetrics": "{}",
            "sweepName": run.sweep,
            "group": run.group,
            "jobType": run.job_type,
            "state": run.state,
            "tags": run.tags,
            "readOnly": False,
            "createdAt": run.created_at,
            "heartbeatAt": run.created_at,
            "user": VIEWER,
            "project": lambda _info: self._project(None, run.project),
            "historyKeys": {},
            "sampledHistory": lambda _info, specs: [_sample(run.history, spec) for spec in specs],
            "historyTail": json.dumps(run.history[-1:]),
            "eventsTail": json.dumps(run.events[-1:]),
            "logLineCount": len(run.logs),
            "historyLineCount": len(run.history),
            "eventsLineCount": len(run.events),
            "stopped": False,
        }

    def _upsert_bucket(self, _info: Any, **given: Any) -> dict[str, Any]:
        sent = given["input"]
        name = sent.get("name") or str(sent["id"]).removeprefix("run-")
        inserted = name not in self.runs
        if inserted:
            now = datetime.now(tz=UTC).isoformat()
            self.runs[name] = Run(name, str(sent.get("modelName")), now)
        run = self.runs[name]
        run.upserts += 1
        run.state = sent.get("state") or ("running" if inserted or sent.get("host") else run.state)
        for key, field_name in (
            ("display_name", "displayName"),
            ("tags", "tags"),
            ("group", "groupName"),
            ("job_type", "jobType"),
            ("sweep", "sweep"),
        ):
            if sent.get(field_name) is not None:
                setattr(run, key, sent[field_name])
        if sent.get("config"):
            run.config = json.loads(sent["config"])
        if sent.get("summaryMetrics"):
            run.summary = json.loads(sent["summaryMetrics"])
        return {"bucket": self._run(name), "inserted": inserted}

    def _sweep(self, name: str) -> dict[str, Any] | None:
        sweep = self.sweeps.get(name)
        if sweep is None:
            return None
        return {
            "id": f"sweep-{name}",
            "name": name,
            "displayName": sweep.display_name,
            "config": sweep.config,
            "method": "random",
            "state": "RUNNING",
            "description": None,
            "runCount": sum(run.sweep == name for run in self.runs.values()),
            "createdAt": "2026-01-01T00:00:00",
            "user": VIEWER,
            "project": lambda _info: self._project(None, sweep.project),
        }

    def _sweeps(
        self, project: str | None, after: str | None = None, first: int = 50
    ) -> dict[str, Any]:
        names = [sweep.name for sweep in self.sweeps.values() if sweep.project == project]
        start = int(after) if after else 0
        page = names[start : start + first]
        return {
            "edges": [{"node": self._sweep(name), "cursor": name} for name in page],
            "pageInfo": {
                "endCursor": str(start + len(page)),
                "hasNextPage": start + len(page) < len(names),
            },
        }

    def _upsert_sweep(self, _info: Any, **given: Any) -> dict[str, Any]:
        sent = given["input"]
        name = f"sweep{len(self.sweeps) + 1:03d}"
        config = sent["config"]
        shown = sent.get("displayName") or yaml.safe_load(config).get("name")
        self.sweeps[name] = Sweep(name, str(sent["projectName"]), config, shown)
        if sent.get("priorRunsFilters"):
            for run in self._found(sent["projectName"], sent["priorRunsFilters"]):
                run.sweep = name
        return {"sweep": self._sweep(name), "configValidationWarnings": []}

    def _create_agent(self, _info: Any, **given: Any) -> dict[str, Any]:
        sent = given["input"]
        sweep = self.sweeps[sent["sweep"]]
        agent = f"{sweep.name}/{len(sweep.agents)}"
        sweep.agents.append(agent)
        return {"agent": {"id": agent}}

    def _heartbeat(self, _info: Any, **given: Any) -> dict[str, Any]:
        sent = given["input"]
        sweep = self.sweeps[sent["id"].split("/")[0]]
        is_busy = bool(json.loads(sent.get("runState") or "{}"))
        commands: list[dict[str, Any]] = []
        if not is_busy and sweep.proposals:
            proposal = sweep.proposals.pop(0)
            run_id = f"{sweep.name}-{len(self.runs)}-{len(sweep.proposals)}"
            values = {name: {"value": value} for name, value in proposal.items()}
            commands = [{"type": "run", "run_id": run_id, "args": values}]
        return {"agent": {"id": sent["id"]}, "commands": json.dumps(commands)}

    def _create_files(self, _info: Any, **given: Any) -> dict[str, Any]:
        sent = given["input"]
        files = [{"name": name, "uploadUrl": f"/upload/{name}"} for name in sent["files"]]
        return {"runID": f"run-{sent['runName']}", "uploadHeaders": [], "files": files}
