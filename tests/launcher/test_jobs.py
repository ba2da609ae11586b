"""From a trial to the job that an executor starts."""

from pathlib import Path

from launcher.folder import SweepFolder
from launcher.jobs import make_job
from launcher.ports import Job
from tests.launcher.builders import ATrial, a_config, a_state, queued, running


def job_of(folder: Path, trial: ATrial) -> Job:
    config = a_config(wandb={"mode": "disabled"})
    state = a_state(config, trial)
    return make_job(SweepFolder(folder), config, state, state.trials[1], 1, "demo-abc123-1-1")


def test_a_trial_knows_what_its_machines_cost(tmp_path: Path) -> None:
    told = job_of(tmp_path, running(price_usd_per_hour=1.25)).environment
    assert told["PROTEIN_PRICE_USD_PER_HOUR"] == "1.25"


def test_where_no_price_is_known_none_is_told(tmp_path: Path) -> None:
    for trial in (running(price_usd_per_hour=0.0), queued()):
        assert "PROTEIN_PRICE_USD_PER_HOUR" not in job_of(tmp_path, trial).environment


def test_values_are_arguments_and_variables_and_never_part_of_the_script(tmp_path: Path) -> None:
    job = job_of(tmp_path, queued(params={"note": "$(rm -rf /); 'x'", "trainer.gamma": 0.9}))
    assert "rm -rf" not in job.script
    assert job.arguments == ("--note=$(rm -rf /); 'x'", "--trainer.gamma=0.9")
    assert job.environment["PROTEIN_PARAM_TRAINER_GAMMA"] == "0.9"
