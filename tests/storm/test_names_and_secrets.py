"""Names made to break out of a sweep's folder, and secrets that must stay in the trial's memory."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.storm
NAMES = ["../../x", "a;rm -rf", "a\nb", "x" * 300, "-rf", "🦄", "/etc/x", "..", "a/b", "$(id)"]
CANARIES = {
    "MY_TOKEN": "canary-5f1d2c7a-token",
    "WANDB_API_KEY": "c4na2y" + "0" * 34,
}
SWEEP = """\
sweep:
  metric: score
  goal: maximize
  parameters:
    x: {min: 0, max: 1}
task:
  secrets: [MY_TOKEN]
  run: |
    test "$(printf %s "$MY_TOKEN" | md5sum)" = "af0bb69f087eb60ab19fbaacdb302dc0  -" || exit 3
    ps -eo args > "$PROTEIN_RUN_DIR/ps.txt"
    echo "PROTEIN_RESULT {\\"score\\": $PROTEIN_PARAM_X}"
wandb: {mode: offline}
trials: 2
parallel: 1
"""


def protein_sky(folder: Path, *args: str) -> subprocess.CompletedProcess[bytes]:
    root = str(Path(__file__).parents[2])
    return subprocess.run(
        [sys.executable, "-m", "launcher", *args],
        cwd=folder,
        capture_output=True,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": root, **CANARIES},
        check=False,
    )


def files_under(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


@pytest.mark.timeout(300)
def test_a_name_that_is_none_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    place = tmp_path / "deep" / "down"
    place.mkdir(parents=True)
    (place / "small.yaml").write_text(SWEEP)
    before = files_under(tmp_path)
    for name in NAMES:
        launched = protein_sky(place, "launch", "small.yaml", f"--name={name}", "--yes")
        assert launched.returncode == 2, (name, launched)
        assert b"Traceback" not in launched.stderr, name
        assert launched.stdout == b""
    for command in ("status", "pause", "resume", "rm"):
        asked = protein_sky(place, command, "../../x", *(["--yes"] if command == "rm" else []))
        assert asked.returncode in (2, 3), (command, asked)
        assert b"Traceback" not in asked.stderr
    restored = protein_sky(place, "doctor", "../../x", "--restore")
    assert restored.returncode in (2, 3), restored
    assert files_under(tmp_path) == before


@pytest.mark.timeout(300)
def test_secrets_reach_the_trial_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(SWEEP)
    said = [protein_sky(tmp_path, "launch", "small.yaml", "--yes")]
    assert said[0].returncode == 0, said[0]  # the trial itself found its secret
    said += [protein_sky(tmp_path, *args.split()) for args in ASKED]
    assert all(ran.returncode == 0 for ran in said), said
    (tmp_path / "broken.yaml").write_text(SWEEP.replace("test ", "exit 9 #"))
    said += [protein_sky(tmp_path, *args.split()) for args in ASKED_OF_A_BROKEN_ONE]
    assert all(b"Traceback" not in ran.stderr for ran in said), said
    texts = [ran.stdout + ran.stderr for ran in said]
    texts += [path.read_bytes() for path in files_under(tmp_path) if path.is_file()]
    assert any(path.name == "ps.txt" for path in files_under(tmp_path))
    for value in CANARIES.values():
        assert not [text for text in texts if value.encode() in text]


ASKED = (
    "status small --json",
    "status small",
    "best small --json",
    "logs small 1",
    "report small",
    "ls --json",
    "doctor small --json",
    "plan small.yaml --json",
    "extend small --trials 3",
)
ASKED_OF_A_BROKEN_ONE = (
    "launch broken.yaml --yes",
    "status broken",
    "logs broken 1",
    "launch broken.yaml --set task.secrets=[NO_SUCH_TOKEN]",
    "launch broken.yaml --set trials=x",
    "best broken",
)
