"""What a trial's program finds about W&B in its environment."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.wandb import environment as wandb_environment
from launcher.wandb.environment import resolve_mode, shortened, tags, variables
from tests.launcher.builders import PARAMS, a_config, a_state, queued

KEY = "k" * 40


def some_variables(tmp_path: Path, environ: dict[str, str], **wandb: Any) -> dict[str, str]:
    config = a_config(wandb=wandb)
    state = a_state(config, queued())
    trial = state.trials[1]
    return variables(
        config, state, trial, 2, tmp_path, environ=environ, is_reachable=lambda _environ: True
    )


@given(st.text(min_size=1, max_size=200), st.text(min_size=1, max_size=200))
def test_shortened_texts_fit_and_stay_different(one: str, other: str) -> None:
    assert len(shortened(one, 64)) <= 64
    assert (shortened(one, 64) == shortened(other, 64)) == (one == other)


def test_sweeps_with_long_names_do_not_share_a_tag() -> None:
    one, other = (a_config(name="a" * 60 + end) for end in ("-x", "-y"))
    assert not set(tags(one, "abcd")[1:]) & set(tags(other, "abcd")[1:])
    assert all(len(tag) <= 64 for tag in tags(one, "abcd"))


def test_a_tag_is_given_once() -> None:
    config = a_config(wandb={"tags": ["sweep_name:demo", "mine"]})
    assert tags(config, "abcd") == ["sweep_id:abcd", "sweep_name:demo", "mine"]


@pytest.mark.parametrize(
    ("environ", "mode"),
    [
        ({}, "offline"),
        ({"WANDB_API_KEY": KEY}, "online"),
        ({"WANDB_IDENTITY_TOKEN_FILE": "/token"}, "online"),
        ({"WANDB_API_KEY": KEY, "WANDB_MODE": "offline"}, "offline"),
        ({"WANDB_API_KEY": KEY, "WANDB_MODE": "dryrun"}, "offline"),
        ({"WANDB_MODE": "run"}, "online"),
        ({"WANDB_MODE": "disabled", "WANDB_API_KEY": KEY}, "disabled"),
    ],
)
def test_the_mode_follows_the_environment(
    environ: dict[str, str], mode: str, tmp_path: Path
) -> None:
    assert resolve_mode(a_config(), {"HOME": str(tmp_path), **environ}) == mode


def test_the_file_counts_over_the_environment(tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path), "WANDB_MODE": "online", "WANDB_API_KEY": KEY}
    assert resolve_mode(a_config(wandb={"mode": "offline"}), environ) == "offline"


def test_the_key_of_the_right_host_is_found_in_netrc(tmp_path: Path) -> None:
    (tmp_path / ".netrc").write_text(f"machine wandb.example.org login user password {KEY}\n")
    home = {"HOME": str(tmp_path)}
    assert resolve_mode(a_config(), home) == "offline"
    own = {**home, "WANDB_BASE_URL": "https://wandb.example.org/"}
    assert resolve_mode(a_config(), own) == "online"
    assert wandb_environment.secrets(a_config(), own) == {"WANDB_API_KEY": KEY}
    assert some_variables(tmp_path, own)["WANDB_BASE_URL"] == "https://wandb.example.org"


def test_wandbs_own_server_has_two_names(tmp_path: Path) -> None:
    """wandb 0.31 logs in at another host than clients before it; both give the same access."""
    (tmp_path / ".netrc").write_text(f"machine api.forge.coreweave.com login user password {KEY}\n")
    home = {"HOME": str(tmp_path)}
    assert wandb_environment.secrets(a_config(), home) == {"WANDB_API_KEY": KEY}
    named = {**home, "WANDB_BASE_URL": "https://api.forge.coreweave.com"}
    assert "WANDB_BASE_URL" not in some_variables(tmp_path, named)
    assert wandb_environment.secrets(a_config(), named) == {"WANDB_API_KEY": KEY}


def test_an_offline_trial_gets_no_key(tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path), "WANDB_API_KEY": KEY, "WANDB_MODE": "offline"}
    assert wandb_environment.secrets(a_config(), environ) == {}


def test_the_key_never_stands_among_the_variables(tmp_path: Path) -> None:
    assert KEY not in str(some_variables(tmp_path, {"WANDB_API_KEY": KEY}))


def test_the_project_is_the_files_or_the_environments_or_metta(tmp_path: Path) -> None:
    environ = {"WANDB_PROJECT": "theirs", "WANDB_ENTITY": "team", "HOME": str(tmp_path)}
    assert some_variables(tmp_path, {"HOME": str(tmp_path)})["WANDB_PROJECT"] == "metta"
    assert some_variables(tmp_path, environ)["WANDB_PROJECT"] == "theirs"
    assert some_variables(tmp_path, environ, project="own")["WANDB_PROJECT"] == "own"
    assert some_variables(tmp_path, environ)["WANDB_ENTITY"] == "team"


def test_every_attempt_is_the_same_run_and_says_which_it_is(tmp_path: Path) -> None:
    found = some_variables(tmp_path, {"WANDB_API_KEY": KEY})
    assert found["WANDB_RUN_ID"] == found["WANDB_NAME"] == "demo.abc123.r.1"
    assert found["WANDB_RESUME"] == "allow"
    run_config = json.loads(found["WANDB_CONFIG"])
    assert {name: run_config[name] for name in PARAMS} == PARAMS
    assert run_config["protein"]["attempt"] == 2


def test_the_commit_is_the_folders_own(tmp_path: Path) -> None:
    assert wandb_environment.commit(tmp_path) is None
    for step in (
        ["init", "-q"],
        ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "--allow-empty", "-m", "x"],
    ):
        subprocess.run(["git", "-C", str(tmp_path), *step], check=True)
    assert len(wandb_environment.commit(tmp_path) or "") == 40


def test_a_trial_that_starts_while_wandb_is_away_logs_offline(tmp_path: Path, port: int) -> None:
    config = a_config()
    state = a_state(config, queued())
    environ = {"WANDB_API_KEY": KEY, "WANDB_BASE_URL": f"http://127.0.0.1:{port}"}
    found = variables(config, state, state.trials[1], 1, tmp_path, environ=environ)
    assert found["WANDB_MODE"] == "offline"
    assert "WANDB_RESUME" not in found


PROGRAM = """
import json, wandb
run = wandb.init(project="other", id="other", config={"trainer.gamma": 5, "own": 1})
run.config.update({"trainer.batch_size": 7}, allow_val_change=True)
s = run.settings
print(json.dumps({"id": run.id, "project": s.project, "name": s.run_name,
    "config": dict(run.config), "group": s.run_group, "tags": s.run_tags,
    "job": s.run_job_type, "dir": run.dir}))
run.finish()
"""


def test_whatever_a_program_passes_its_run_is_the_trials(tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    place = {**environ, **some_variables(tmp_path, environ, tags=["l" * 64, "mine"])}
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=place, cwd=tmp_path, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    run = json.loads(ran.stdout.splitlines()[-1])
    assert (run["id"], run["name"], run["project"]) == ("demo.abc123.r.1",) * 2 + ("metta",)
    assert (run["group"], run["job"]) == ("demo", "trial")
    assert run["tags"] == ["sweep_id:abc123", "sweep_name:demo", "l" * 64, "mine"]
    assert run["dir"].startswith(str(tmp_path))
    assert {name: run["config"][name] for name in PARAMS} == PARAMS
    assert run["config"]["own"] == 1
    assert run["config"]["protein"]["sweep"] == "demo"
