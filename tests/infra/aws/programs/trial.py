"""A trial that needs nothing but Python. Its case `waits` goes on until $EVIDENCE/release exists.

Every start leaves a line in $EVIDENCE/starts: trial, attempt, step of its checkpoint, host name.
"""

import json
import os
import socket
import time
from pathlib import Path

evidence = Path(os.environ["EVIDENCE"])
number, attempt = os.environ["PROTEIN_TRIAL"], os.environ["PROTEIN_ATTEMPT"]
checkpoint = Path(os.environ["PROTEIN_CHECKPOINT_DIR"]) / "step"
case = json.loads(Path(os.environ["PROTEIN_PARAMS"]).read_text())["case"]

step = int(checkpoint.read_text()) if checkpoint.exists() else 0
with (evidence / "starts").open("a") as starts:
    starts.write(f"{number} {attempt} {step} {socket.gethostname()}\n")

while case == "waits" and not (evidence / "release").exists():
    step += 1
    checkpoint.with_suffix(".tmp").write_text(str(step))
    checkpoint.with_suffix(".tmp").replace(checkpoint)
    time.sleep(0.2)

result = {"schema_version": 1, "metrics": {"score": float(number)}}
(Path(os.environ["PROTEIN_RUN_DIR"]) / "result.json").write_text(json.dumps(result))
