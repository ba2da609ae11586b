"""A node that a user starts by hand on another machine: its part of each of a sweep's attempts.

Both machines see the sweep's folder, and nothing else passes between them:

    runs/<run_id>/dist_<id>.yaml         node 0 has been asked to run an attempt
    …/attempts/<n>/job.json              what it runs; the worker runs the same
    …/attempts/<n>/started.json          it runs, and where the others meet it
    …/attempts/<n>/node-<i>/             the local executor's own files, for the worker's node
    …/attempts/<n>/broken                the worker's node has failed: the others end too
    …/attempts/<n>/exit.json             node 0 has ended, and so does the worker's
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from launcher.executors.local import LocalExecutor, read_json
from launcher.files import write_atomic
from launcher.ports import Job, Outcome, Phase

INTERRUPTED = 75
"""The exit code that says: no fault of the program, start it again."""


@dataclass(slots=True)
class Worker:
    """Runs its node of each attempt that node 0 runs; `look` again and again.

    `executor` has the worker's place; `secrets` reach the trial's environment and no file.
    """

    sweep_dir: Path
    executor: LocalExecutor
    secrets: Mapping[str, str]
    _notes: set[Path] = field(default_factory=set)
    """What node 0 was asked to run and needs no further look."""
    _attempts: dict[str, Path] = field(default_factory=dict)
    """Folders of the attempts whose node may run here, by the name of the job."""

    def look(self) -> list[str]:
        """Start what is new, end what is over; return a line for each thing that happened.

        Raises ExecutorError when a node cannot be started here: node 0 is told, and ends.
        """
        return [*self._begin_new(), *self._carry_ends_over()]

    def leave(self) -> bool:
        """End the nodes that run here; their trials go on as another attempt. Whether all have."""
        for attempt in self._attempts.values():
            _break(attempt, INTERRUPTED)
        self.executor.cancel(list(self._attempts))
        self._carry_ends_over()
        return not self._attempts

    def _begin_new(self) -> list[str]:
        said = []
        for note in sorted(set(self.sweep_dir.glob("runs/*/dist_*.yaml")) - self._notes):
            attempt = _attempt_of(note)
            if attempt is None or (attempt / "exit.json").exists():
                self._notes.add(note)
            elif (job := _job(note.parent, attempt, self.secrets)) is not None:
                self._notes.add(note)
                try:
                    self.executor.submit(job)
                except BaseException:
                    _break(attempt, INTERRUPTED)
                    raise
                self._attempts[job.name] = attempt
                said.append(f"{job.name}: its node runs here")
        return said

    def _carry_ends_over(self) -> list[str]:
        """Tell node 0 of a failure here, and end what runs here without node 0."""
        said = []
        for name, outcome in self.executor.poll(list(self._attempts)).items():
            attempt = self._attempts[name]
            ended_there = (attempt / "exit.json").exists()
            if not outcome.is_over:
                if ended_there:
                    self.executor.cancel([name])
                continue
            del self._attempts[name]
            code = _exit_code(outcome)
            if code and not ended_there:
                _break(attempt, code)
            said.append(f"{name}: its node here ended" + (f" with {code}" if code else ""))
        return said


def _attempt_of(note: Path) -> Path | None:
    """The folder of the attempt that a `dist_<id>.yaml` tells of; a trial can write there too."""
    try:
        number = msgspec.yaml.decode(note.read_bytes(), type=_Note).attempt
    except msgspec.DecodeError:
        return None
    return note.parent / "attempts" / str(number)


class _Note(msgspec.Struct):
    attempt: int


def _job(run_dir: Path, attempt: Path, secrets: Mapping[str, str]) -> Job | None:
    """What node 0 runs, as this node runs it; None until it has begun."""
    started, asked = read_json(attempt / "started.json"), read_json(attempt / "job.json")
    if not started or not asked:
        return None
    meeting = {
        "MASTER_ADDR": str(started["master_addr"]),
        "MASTER_PORT": str(started["master_port"]),
    }
    return Job(
        name=asked["name"],
        run_id=run_dir.name,
        attempt=int(attempt.name),
        run_dir=run_dir,
        workdir=Path(asked["workdir"]),
        script=asked["script"],
        arguments=tuple(asked["arguments"]),
        environment={**asked["environment"], **meeting},
        secrets=secrets,
        nodes=asked["num_nodes"],
        timeout_seconds=asked["timeout_seconds"],
    )


def _exit_code(outcome: Outcome) -> int:
    ended_by_itself = outcome.phase is Phase.EXITED and outcome.exit_code is not None
    return outcome.exit_code or 0 if ended_by_itself else INTERRUPTED


def _break(attempt: Path, code: int) -> None:
    """Tell node 0's supervisor that a node has failed."""
    write_atomic(attempt / "broken", str(code))
