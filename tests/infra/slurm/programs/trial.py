"""A trial without torch: what it does is its parameter `case`. Needs nothing but Python.

Every start leaves a line in $EVIDENCE/starts. Nothing here is timed: what has to be watched while
it runs goes on until it is ended, or until $EVIDENCE/release exists.
"""

import json
import os
import socket
import sys
import time
from pathlib import Path

evidence = Path(os.environ["EVIDENCE"])
number = os.environ["PROTEIN_TRIAL"]
attempt = os.environ["PROTEIN_ATTEMPT"]
checkpoint = Path(os.environ["PROTEIN_CHECKPOINT_DIR"]) / "step"
case = json.loads(Path(os.environ["PROTEIN_PARAMS"]).read_text())["case"].partition("-")[0]


def start_step() -> int:
    return int(checkpoint.read_text()) if checkpoint.exists() else 0


def work_on() -> None:
    """One step further, on disk."""
    step = start_step() + 1
    checkpoint.with_suffix(".tmp").write_text(str(step))
    checkpoint.with_suffix(".tmp").replace(checkpoint)
    time.sleep(0.2)


def report(**metrics: float) -> None:
    run_dir = Path(os.environ["PROTEIN_RUN_DIR"])
    result = {"schema_version": 1, "metrics": {"score": float(number), **metrics}}
    (run_dir / "result.tmp").write_text(json.dumps(result))
    (run_dir / "result.tmp").replace(run_dir / "result.json")


def say(step: int, score: float) -> None:
    """Report on the way, as the trainer does."""
    with Path(os.environ["PROTEIN_RUN_DIR"], "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"step": step, "time": time.time(), "score": score}) + "\n")


resumed_from = start_step()
with (evidence / "starts").open("a") as starts:
    allocation = os.environ["SLURM_JOB_ID"]
    starts.write(f"{number} {attempt} {resumed_from} {socket.gethostname()} {allocation}\n")
print(f"case {case}, attempt {attempt}, from step {resumed_from}", flush=True)

if case == "fails":
    print("what went wrong", file=sys.stderr)
    raise SystemExit(3)
if case == "hangs":
    while True:
        work_on()
if case == "preempted":  # until its machine is taken away, once
    while attempt == "1":
        work_on()
if case == "waits":
    while not (evidence / "release").exists():
        work_on()
if case == "climbs":
    for step in range(1, 6):
        say(step, 10.0 * step)
if case == "lags":  # until it is ended: nothing else does
    while True:
        work_on()
        say(start_step(), 0.0)
report(resumed_from=resumed_from)
