"""W&B's settings files: the user's are respected, and a trial's makes its run right by itself."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from launcher.config import SweepConfig
from launcher.executors.skypilot.wrapping import run_section
from launcher.ports import Job
from launcher.wandb import settings_file
from launcher.wandb.environment import entity, project, resolve_mode, secrets, variables
from launcher.wandb.offline import read
from tests.launcher.builders import PARAMS, a_config, a_state, queued
from tests.wandb_server.server import KEY, WandbServer, wandb_server

pytestmark = pytest.mark.timeout(300)  # each client is a process or two

RUN_ID = "demo.abc123.r.1"
PROGRAM = """
import json, wandb
run = wandb.init(project="other", id="other", config={"trainer.gamma": 5, "own": 1})
run.log({"reward": 0.5})
s = run.settings
print(json.dumps({"id": run.id, "name": s.run_name, "project": s.project, "entity": s.entity,
    "group": s.run_group, "job": s.run_job_type, "tags": s.run_tags, "sweep": s.sweep_id,
    "mode": s.mode, "url": s.base_url, "dir": run.dir, "config": dict(run.config)}))
run.finish()
"""


@pytest.fixture
def home(tmp_path: Path) -> Mapping[str, str]:
    (tmp_path / "home").mkdir()
    return {"HOME": str(tmp_path / "home"), "PATH": os.environ["PATH"]}


def a_trial(tmp_path: Path, environ: Mapping[str, str], **changes: Any) -> dict[str, str]:
    """Write what a trial finds, and return its variables."""
    config = a_config(**changes)
    state = a_state(config, queued())
    run_dir = tmp_path / "runs" / RUN_ID
    found = variables(
        config,
        state,
        state.trials[1],
        1,
        run_dir,
        environ=environ,
        wandb_sweep_id="sweep001",
        is_reachable=lambda _environ: True,
    )
    settings_file.write(run_dir, found)
    return found


def ran(environ: Mapping[str, str], cwd: Path, program: str = PROGRAM) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=dict(environ),
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def check_is_the_trials(run: Mapping[str, Any]) -> None:
    assert (run["id"], run["name"], run["project"]) == (RUN_ID, RUN_ID, "metta")
    assert (run["group"], run["job"], run["sweep"]) == ("100 % of it", "trial", "sweep001")
    assert run["tags"] == ["sweep_id:abc123"]
    assert {name: run["config"][name] for name in PARAMS} == PARAMS
    assert (run["config"]["own"], run["config"]["protein"]["attempt"]) == (1, 1)


GROUP = {"group": "100 % of it"}


def test_a_program_that_kept_two_variables_makes_the_right_run(
    tmp_path: Path, home: Mapping[str, str]
) -> None:
    found = a_trial(tmp_path, home, wandb=GROUP)
    kept = {name: found[name] for name in ("WANDB_CONFIG_DIR", "WANDB_DIR")}
    run = ran({**home, **kept}, tmp_path)
    check_is_the_trials(run)
    assert (run["mode"], run["dir"].startswith(found["WANDB_DIR"])) == ("offline", True)
    (log,) = Path(found["WANDB_DIR"]).glob("wandb/offline-run-*/run-*.wandb")
    said = read(log)
    assert said is not None
    assert said.summary["reward"] == 0.5


def test_a_program_in_the_run_folder_makes_the_right_run_without_any_variable(
    tmp_path: Path, home: Mapping[str, str]
) -> None:
    found = a_trial(tmp_path, home, wandb=GROUP)
    run = ran(home, Path(found["WANDB_DIR"]))
    check_is_the_trials(run)
    assert run["dir"].startswith(found["WANDB_DIR"])


@pytest.fixture
def server() -> Iterator[WandbServer]:
    with wandb_server() as running:
        yield running
        assert running.errors == []


def test_online_the_settings_file_and_a_netrc_are_enough(
    tmp_path: Path, home: Mapping[str, str], server: WandbServer
) -> None:
    found = a_trial(tmp_path, {**home, **server.environ}, wandb={**GROUP, "entity": "team"})
    host = server.url.removeprefix("http://")
    Path(home["HOME"], ".netrc").write_text(f"machine {host} login user password {KEY}\n")
    kept = {"WANDB_CONFIG_DIR": found["WANDB_CONFIG_DIR"], "WANDB_ERROR_REPORTING": "false"}
    ran({**home, **kept}, tmp_path)
    (run,) = server.store.runs.values()
    assert (run.name, run.group, run.sweep) == (RUN_ID, "100 % of it", "sweep001")
    assert (run.project, run.tags) == ("metta", ["sweep_id:abc123"])
    assert {name: run.values[name] for name in PARAMS} == PARAMS
    assert (run.summary["reward"], run.state) == (0.5, "finished")


def test_no_secret_is_in_the_file(tmp_path: Path, home: Mapping[str, str]) -> None:
    known = {**home, "WANDB_API_KEY": "k" * 40, "WANDB_MODE": "online"}
    found = a_trial(tmp_path, known)
    assert found["WANDB_MODE"] == "online"
    written = [path.read_text() for path in (tmp_path / "runs").rglob("*") if path.is_file()]
    assert len(written) == 2
    assert "k" * 40 not in "".join(written)


def user_says(home: Mapping[str, str], text: str) -> Path:
    path = settings_file.global_file(home)
    path.parent.mkdir(parents=True)
    path.write_text(f"[default]\n{text}\n")
    return path


def test_a_file_of_the_users_is_not_hidden(tmp_path: Path, home: Mapping[str, str]) -> None:
    user_says(home, "console = off")
    found = a_trial(tmp_path, home)
    assert "WANDB_CONFIG_DIR" not in found
    program = PROGRAM.replace('"mode": s.mode', '"mode": s.console')
    run = ran({**home, **found}, tmp_path, program)
    assert (run["id"], run["mode"]) == (RUN_ID, "off")


Asked = Callable[[SweepConfig, Mapping[str, str]], object]


@pytest.mark.parametrize(
    ("setting", "asked", "found"),
    [
        ("mode = disabled", resolve_mode, "disabled"),
        ("project = theirs", project, "theirs"),
        ("entity = team", entity, "team"),
        (f"mode = online\napi_key = {KEY}", secrets, {"WANDB_API_KEY": KEY}),
    ],
)
def test_what_the_user_set_counts_where_no_variable_does(
    home: Mapping[str, str], setting: str, asked: Asked, found: object
) -> None:
    user_says(home, setting)
    assert asked(a_config(), home) == found


def test_of_the_users_settings_the_nearest_counts(
    tmp_path: Path, home: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`wandb init` and `wandb offline` write into the working directory."""
    user_says(home, "project = global\nentity = team")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "wandb").mkdir()
    (tmp_path / "wandb" / "settings").write_text("[default]\nproject = near\n")
    assert (project(a_config(), home), entity(a_config(), home)) == ("near", "team")
    assert project(a_config(), {**home, "WANDB_PROJECT": "variable"}) == "variable"
    envs = {"WANDB_PROJECT": "the task's"}
    assert project(a_config(task={"envs": envs}), {**home, "WANDB_PROJECT": "x"}) == "the task's"


@pytest.mark.parametrize("text", ["no section", "[default]\nproject = 50%", "[default]\na\n b"])
def test_a_damaged_file_of_the_users_says_nothing(home: Mapping[str, str], text: str) -> None:
    path = user_says(home, "")
    path.write_text(text)
    assert project(a_config(), home) == "metta"


def test_a_self_hosted_server_that_the_user_logged_in_to_is_the_one(
    tmp_path: Path, home: Mapping[str, str]
) -> None:
    """`wandb login --host=…` notes the server in the settings and the key in the netrc file."""
    user_says(home, "base_url = https://wandb.example.org")
    Path(home["HOME"], ".netrc").write_text(f"machine wandb.example.org login u password {KEY}\n")
    found = a_trial(tmp_path, home)
    assert (found["WANDB_MODE"], found["WANDB_BASE_URL"]) == ("online", "https://wandb.example.org")


def test_an_outer_trials_file_is_not_the_users(tmp_path: Path, home: Mapping[str, str]) -> None:
    outer = a_trial(tmp_path / "outer", home)
    inside = {**home, **outer, "PROTEIN_RUN_DIR": outer["WANDB_DIR"]}
    assert "WANDB_CONFIG_DIR" in a_trial(tmp_path, inside)


def on_another_machine(job: Job, home: Mapping[str, str]) -> dict[str, Any]:
    return_code = subprocess.run(
        ["bash", "-c", run_section(job, storage=None, is_guarded=True)],
        env=dict(home),
        cwd=home["HOME"],
        capture_output=True,
        check=False,
    ).returncode
    assert return_code == 0
    found: dict[str, Any] = json.loads(Path(home["HOME"], "said.json").read_text())
    return found


@pytest.mark.parametrize("has_own", [False, True])
def test_on_another_machine_the_file_points_to_what_is_there(
    tmp_path: Path, home: Mapping[str, str], has_own: bool
) -> None:
    """The program is started with a clean environment, in its run folder or beside it."""
    config = {"wandb": GROUP, "execution": {"cloud": "aws"}}
    found = a_trial(tmp_path, {**home, "HOME": "/nowhere"}, **config)
    (Path(home["HOME"]) / "p.py").write_text(PROGRAM)
    clean = 'env -i HOME="$HOME" PATH="$PATH" WANDB_CONFIG_DIR="$WANDB_CONFIG_DIR"'
    script = f'{clean} {sys.executable} "$HOME/p.py" | tail -n 1 > "$HOME/said.json"'
    if has_own:
        user_says(home, "console = off")
        script = f'[ -z "$WANDB_CONFIG_DIR" ] || exit 1; cd "$PROTEIN_RUN_DIR"; {script}'
    run_dir = Path(found["WANDB_DIR"])
    job = Job("s-1-1", RUN_ID, 1, run_dir, tmp_path, script, environment=found)
    run = on_another_machine(job, home)
    (run_dir / settings_file.RUN_CONFIG).unlink()  # the coordinator's own is not what was read
    check_is_the_trials(run)
    again = replace(job, name="s-1-2")  # another attempt, over what the first left
    check_is_the_trials(on_another_machine(again, home))
