"""A job as the `run` section of a SkyPilot task, and what that section printed as files again.

Pure but for reading and writing the trial's run folder. The section is bash and runs once per
node. It puts the trial's inputs into a run folder on the machine, gives the program the variables
that a trial is promised, runs it under its time limit, and prints how it ended and what it left:
SkyPilot keeps what a task prints, whatever machine it ran on.

On a machine that is used again jobs take turns: SkyPilot starts all that its GPUs allow at once,
and without GPUs that is everything.
"""

import base64
import contextlib
import hashlib
import io
import json
import re
import shlex
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launcher import trainlog
from launcher.ports import Job

GRACE_SECONDS = 30
"""From SIGTERM to SIGKILL of a trial that has outstayed its time."""

INPUTS = ("params.json", "train_config_overrides.yaml", "wandb/settings", "wandb/launch.json")
MAX_INPUT_BYTES = 64 * 1024
MAX_RETURN_BYTES = 8 * 1024 * 1024  # of what a trial leaves, packed

STALL_LOOKS = 20
"""How often a trial is looked at within the time in which it may write nothing. Looks are counted,
not seconds: while the whole machine stands still, nobody looks."""

STALLED_EXIT_CODE = 124
"""As of a trial that has outstayed its time: no jobs controller starts it again."""

PREEMPTED_EXIT_CODE = 75
"""EX_TEMPFAIL: the machine's fault, by agreement with trials."""

PREEMPTION_SECONDS = 2 * GRACE_SECONDS
"""The longest that a machine which is about to go is asked to stay."""

PREEMPTION_HOOK = """\
for file in "$HOME"/.protein-sky/jobs/*/pid; do
  pid="$(cat "$file" 2>/dev/null)"
  grep -aqs "${file%pid}run" "/proc/$pid/cmdline" || { rm -f "$file"; continue; }
  touch "${file%pid}preempted"
  kill -TERM "$pid"
done
while ls "$HOME"/.protein-sky/jobs/*/pid >/dev/null 2>&1; do sleep 0.2; done
"""
"""Bash that asks all trials of a machine for a checkpoint, and waits for it."""

_FIRST_PORT, _PORTS = 20_000, 12_000  # below what Linux gives to outgoing connections
_MARK = re.compile(r"PROTEIN_SKY_(END|FILES|AGAIN) (\S+)$")
# What SkyPilot puts before each line: "(trial, pid=7) ", "(head, rank=0, pid=7) ".
_PREFIX = re.compile(r"^\((?:[^()\s]+, )?(?:rank=\d+, )?pid=\d+(?:, ip=[\d.]+)?\) ?")


@dataclass(frozen=True, slots=True)
class Printed:
    """What a job's output says. `exit_code` None: it did not come to its end.

    Times are Unix seconds by the machine's clock.
    """

    lines: list[str]
    exit_code: int | None = None
    is_timeout: bool = False
    is_stalled: bool = False
    started_at: float | None = None
    ended_at: float | None = None
    files: bytes = b""
    is_again: bool = False  # it had been started there before, and did nothing

    @property
    def is_cut(self) -> bool:
        """Whether the last words are missing."""
        return self.exit_code is None and not self.is_again


def is_folder(storage: str) -> bool:
    """Whether a storage is a folder that other machines may see under the same path."""
    return storage.startswith("/")


def over_file(attempt: int) -> str:
    """Return what lies in a run folder of such a storage once an attempt there is over."""
    return f".over-{attempt}"


def run_section(job: Job, *, storage: str | None, is_guarded: bool) -> str:
    """Return the bash that runs a job on each of its nodes.

    `storage`: a folder that outlives the machine, where run folders go; None: the machine's own
    disk. `is_guarded`: the job never starts twice on one cluster, and on a single machine not
    beside another one. Raises OSError for inputs that cannot be read, ValueError for inputs that
    are too large.
    """
    root = _bash_path(storage or "~/.protein-sky/runs")
    limit = job.timeout_seconds or 0
    again = "exit 0" if is_guarded else ":"
    # Nodes that wait for each other's turns could wait for ever.
    turn = 'exec 9>"$HOME/.protein-sky/turn"; flock 9' if is_guarded and job.nodes == 1 else ":"
    over = f'touch "$PROTEIN_RUN_DIR/{over_file(job.attempt)}"'
    watch, output, unwatch = _watched(job.stall_seconds) if job.stall_seconds else ("", "", "")
    return f"""\
set +e
ps="$HOME/.protein-sky/jobs/{job.name}.${{SKYPILOT_NODE_RANK:-0}}"
mkdir -p "$HOME/.protein-sky/jobs"
mkdir "$ps" 2>/dev/null || {{ echo "PROTEIN_SKY_AGAIN {job.name}"; {again}; }}
{turn}
export PROTEIN_RUN_DIR={root}/{shlex.quote(job.run_id)}
mkdir -p "$PROTEIN_RUN_DIR/checkpoints" "$PROTEIN_RUN_DIR/wandb" "$ps/in" || exit 78
echo {_packed_inputs(job.run_dir)} | base64 -d | tar -xzf - -C "$ps/in" || exit 78
(cd "$ps/in" || exit
  sed -i '/^launch_config_path/d' wandb/settings &&
  echo "launch_config_path = ${{PROTEIN_RUN_DIR//%/%%}}/wandb/launch.json" >>wandb/settings
  find . -type f -exec mv -f {{}} "$PROTEIN_RUN_DIR/{{}}" ";") 2>/dev/null
{_exports(job)}
{_place(job)}
# Once its program, which has it too, has ended; "!": before it has one it has not ended well.
echo "! trap 'exit \\$?' TERM" >"$ps/script"
echo {_base64(job.script.encode())} | base64 -d >>"$ps/script"
cat >"$ps/run" <<'PROTEIN_SKY'
echo $PPID >"${{0%run}}pid"
trap : TERM  # the script has it too
bash "$0.script" "$@"
exit $?
PROTEIN_SKY
mv "$ps/script" "$ps/run.script"
began=$(date +%s.%N)
SECONDS=0
{watch}
timeout --kill-after={GRACE_SECONDS} {limit:g} \\
  bash "$ps/run" {shlex.join(job.arguments)} </dev/null {output} 9>&-
code=$?
{unwatch}
rm -f "$ps/pid"
stalled=false
if [ $code != 0 ] && [ -e "$ps/preempted" ]; then
  code={PREEMPTED_EXIT_CODE}
elif [ $code != 0 ] && [ -e "$ps/stalled" ]; then
  code={STALLED_EXIT_CODE} stalled=true
fi
if [ "$NODE_INDEX" = 0 ]; then
  late=false
  case $code in 124|137) [ {limit:g} != 0 ] && [ $SECONDS -ge {int(limit)} ] && late=true;; esac
  cd "$PROTEIN_RUN_DIR" && find . -path ./checkpoints -prune \\
    -o -type f ! -name '.over-*' -size -4096k -print0 \\
    | tar --null -T - -czf "$ps/out" 2>/dev/null
  [ "$(wc -c <"$ps/out")" -le {MAX_RETURN_BYTES} ] \\
    || tar -czf "$ps/out" $(ls result.json metrics.jsonl 2>/dev/null) 2>/dev/null
  echo
  base64 -w 4000 "$ps/out" | sed 's/^/PROTEIN_SKY_FILES /'
  printf 'PROTEIN_SKY_END {{"job":"%s","code":%s,"late":%s,"stalled":%s' \\
    {job.name} $code $late $stalled
  printf ',"began":%s,"ended":%s}}\\n' "$began" "$(date +%s.%N)"
  {over if storage and is_folder(storage) else ":"}
fi
exit $code
"""


def _watched(stall_seconds: float) -> tuple[str, str, str]:
    """Return the bash that watches a trial: what begins it, where its output goes, what ends it.

    It is ended as for a preemption, so it may write a checkpoint, when neither its output nor its
    metrics have grown for so long. Node 0 writes both; when it ends, SkyPilot ends the others.
    """
    begin = f"""\
exec 8> >(exec tee -a "$ps/said" 9>&-)
tee=$!
{{ (
  trap 'kill $!; exit' TERM
  looks=0 before=
  while [ "$NODE_INDEX" = 0 ] && {{ sleep {stall_seconds / STALL_LOOKS:g} & wait $!; }}; do
    now=$(stat -c %s.%Y "$PROTEIN_RUN_DIR/metrics.jsonl")
    if [ -s "$ps/said" ] || [ "$now" != "$before" ]; then
      : >"$ps/said"
      looks=0 before=$now
    elif [ $((looks += 1)) -ge {STALL_LOOKS} ]; then
      touch "$ps/stalled"
      kill -TERM "$(cat "$ps/pid")"
    fi
  done
) >/dev/null 2>&1 8>&- 9>&- & }} 2>/dev/null  # SkyPilot's bash would tell of it
watch=$!"""
    # What was said last is waited for, but not for ever: a process may be left that keeps the pipe.
    end = f"""\
kill $watch 2>/dev/null
exec 8>&-
timeout {LAST_WORDS_SECONDS} tail --pid=$tee -s 0.1 -f /dev/null"""
    return begin, ">&8 2>&8 8>&-", end


LAST_WORDS_SECONDS = 5


def printed(log: str, job_name: str) -> Printed:
    """Read what a job printed: its own lines, and what our section added to them.

    The text is untrusted; the last word on the end counts.
    """
    lines: list[str] = []
    chunks: list[str] = []
    end: Mapping[str, Any] = {}
    is_again = False
    for raw in log.splitlines():
        line = _PREFIX.sub("", trainlog.plain(raw), count=1)
        mark = _MARK.search(line)
        if mark is None:
            lines.append(line)
        elif mark[1] == "AGAIN":
            is_again = mark[2] == job_name
        elif mark[1] == "FILES":
            chunks.append(mark[2])
        elif mark[1] == "END":
            said = _mapping(mark[2])
            if said.get("job") == job_name:
                end = said
    return Printed(
        lines=lines,
        exit_code=_whole(end.get("code")),
        is_timeout=end.get("late") is True,
        is_stalled=end.get("stalled") is True,
        started_at=_number(end.get("began")),
        ended_at=_number(end.get("ended")),
        files=_decoded("".join(chunks)),
        is_again=is_again and not end,
    )


def is_mark(line: str) -> bool:
    """Whether a line of a log is a word of ours, not the trial's."""
    return _MARK.search(trainlog.plain(line)) is not None


def unpack(files: bytes, run_dir: Path) -> None:
    """Put what a trial left into its run folder here: plain files and folders, nothing outside.

    What is damaged is left out. Raises OSError when the disk refuses.
    """
    if not files:
        return
    try:
        with tarfile.open(fileobj=io.BytesIO(files), mode="r:gz") as archive:
            left = MAX_RETURN_BYTES * 32
            for member in archive:
                left -= member.size
                if not (member.isfile() or member.isdir()) or left < 0 or member.name == ".":
                    continue
                if any(Path(member.name).match(name) for name in (*INPUTS, "train.log")):
                    continue
                with contextlib.suppress(tarfile.FilterError):  # it would land outside
                    archive.extract(member, run_dir, filter="data")
    except (tarfile.TarError, EOFError, ValueError):
        return


def _bash_path(path: str) -> str:
    """Return a path as a word of bash; "~/" is the machine's own home."""
    home, tilde, rest = path.partition("~/")
    return f'"$HOME"/{shlex.quote(rest)}' if tilde and not home else shlex.quote(path)


def _packed_inputs(run_dir: Path) -> str:
    """Return the trial's inputs as one word: a tar of them, packed, in base64."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name in INPUTS:
            path = run_dir / name
            if path.is_file():
                archive.add(path, name, filter=_nobodys)
    packed = buffer.getvalue()
    if len(packed) > MAX_INPUT_BYTES:
        raise ValueError(f"the inputs in {run_dir} are too large: {len(packed)} bytes packed")
    return _base64(packed)


def _nobodys(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mtime = 0
    return member


def _exports(job: Job) -> str:
    """Return the trial's environment; what points into the run folder points into the one there."""
    here = str(job.run_dir)
    lines = []
    for name, value in {"PROTEIN_JOB": job.name, **job.environment}.items():
        if name == "PROTEIN_RUN_DIR" or not _VARIABLE.fullmatch(name):
            continue
        if value == here or value.startswith(here + "/"):
            unless = _OWN_SETTINGS if name == "WANDB_CONFIG_DIR" else ""
            there = f'"$PROTEIN_RUN_DIR"{shlex.quote(value[len(here) :])}'
            lines.append(f"{unless}export {name}={there}")
        else:
            lines.append(f"export {name}={shlex.quote(value)}")
    return "\n".join(lines)


_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# W&B's settings of whoever owns the machine stay in force.
_OWN_SETTINGS = '[ -e "${WANDB_CONFIG_DIR:-$HOME/.config/wandb}/settings" ] || '


def _place(job: Job) -> str:
    """Return what tells a node its place among the nodes, from SkyPilot's own variables.

    All nodes derive the same port without talking; a dead node ends the attempt within minutes.
    """
    port = _FIRST_PORT + int(hashlib.sha256(job.name.encode()).hexdigest(), 16) % _PORTS
    return f"""\
export NODE_INDEX="${{NODE_INDEX:-${{SKYPILOT_NODE_RANK:-0}}}}"
export NUM_NODES="${{NUM_NODES:-${{SKYPILOT_NUM_NODES:-1}}}}"
export MASTER_ADDR="${{MASTER_ADDR:-$(echo "${{SKYPILOT_NODE_IPS:-127.0.0.1}}" | head -n 1)}}"
export MASTER_PORT="${{MASTER_PORT:-{port}}}"
export NUM_GPUS="${{NUM_GPUS:-${{SKYPILOT_NUM_GPUS_PER_NODE:-0}}}}"
export NUM_CPUS="${{NUM_CPUS:-$(nproc)}}"
export PYTHONUNBUFFERED="${{PYTHONUNBUFFERED:-1}}"
if [ "$NUM_NODES" -gt 1 ]; then
  interface=$(ip -o route get "$MASTER_ADDR" 2>/dev/null | sed -n 's/.* dev \\([^ ]*\\).*/\\1/p')
  [ -z "$interface" ] || [ "$interface" = lo ] && [ "${{MASTER_ADDR#127.}}" = "$MASTER_ADDR" ] \\
    || export GLOO_SOCKET_IFNAME="${{GLOO_SOCKET_IFNAME:-$interface}}"
  export TORCH_NCCL_ASYNC_ERROR_HANDLING="${{TORCH_NCCL_ASYNC_ERROR_HANDLING:-1}}"
  export TORCH_NCCL_HEARTBEAT_TIMEOUT_SEC="${{TORCH_NCCL_HEARTBEAT_TIMEOUT_SEC:-180}}"
fi"""


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        return b""


def _mapping(text: str) -> Mapping[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and 0 <= value <= 255 else None
