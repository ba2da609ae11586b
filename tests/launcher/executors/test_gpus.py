"""GPUs of this machine, found without a driver and shared among local trials."""

from pathlib import Path

import pytest

from launcher import reading
from launcher.executors import gpus
from launcher.executors.local import LocalExecutor
from launcher.folder import SweepFolder
from launcher.ports import Job
from tests.launcher.builders import a_config
from tests.launcher.waiting import eventually


@pytest.fixture
def devices(tmp_path: Path) -> Path:
    """A /dev with three GPUs, not counted from 0, and what else NVIDIA puts there."""
    for name in ("nvidia1", "nvidia2", "nvidia12", "nvidiactl", "nvidia-uvm", "null"):
        (tmp_path / name).touch()
    return tmp_path


def test_the_gpus_are_those_with_a_device_counted_from_0(devices: Path) -> None:
    assert gpus.visible({}, devices) == ("0", "1", "2")
    assert gpus.visible({}, devices / "none") == ()


@pytest.mark.parametrize(
    ("given", "expected"),
    [("", ""), ("-1", ""), ("2,0", "2 0"), ("1,-1,0", "1"), (" GPU-a, MIG-b", "GPU-a MIG-b")],
)
def test_what_cuda_is_told_to_see_counts(devices: Path, given: str, expected: str) -> None:
    assert " ".join(gpus.visible({"CUDA_VISIBLE_DEVICES": given}, devices)) == expected


def test_each_trial_gets_its_own_and_a_freed_one_is_given_again() -> None:
    taken: list[tuple[str, ...]] = []
    for expected in [("0", "1"), ("2", "3")]:
        taken.append(gpus.shared_out("01234", 2, taken))
        assert taken[-1] == expected
    taken.remove(("0", "1"))
    assert gpus.shared_out("01234", 2, taken) == ("0", "1")


def test_more_trials_than_gpus_are_spread_evenly() -> None:
    taken: list[tuple[str, ...]] = []
    for _ in range(6):
        taken.append(gpus.shared_out("01", 6, taken))
    assert sorted(taken) == [("0",)] * 3 + [("1",)] * 3


def test_the_nodes_of_a_trial_divide_its_gpus() -> None:
    assert gpus.by_node(("0", "1", "2", "3"), 2) == [["0", "1"], ["2", "3"]]
    assert gpus.by_node(("0",), 2) == [["0"], ["0"]]


def test_a_trial_on_several_gpus_counts_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = SweepFolder(tmp_path)
    for visible, parallel, expected in [("0,1,2,3", 2, 2), ("0,1,2,3", 8, 1), ("", 2, 0)]:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        assert reading.offer_of(folder, a_config(parallel=parallel)).gpus == expected


def job_of(folder: Path, number: int) -> Job:
    run = folder / "runs" / str(number)
    run.mkdir(parents=True)
    script = (
        'echo "$CUDA_VISIBLE_DEVICES" > "$OUT/gpus"; while [ ! -e "$OUT/go" ]; do sleep 0.1; done'
    )
    return Job(f"job-{number}", str(number), 1, run, folder, script, environment={"OUT": str(run)})


def seen(job: Job) -> str:
    file = job.run_dir / "gpus"
    return str(eventually(lambda: file.exists() and file.read_text().strip()))


def test_trials_side_by_side_see_their_own_gpus_also_under_another_coordinator(
    tmp_path: Path,
) -> None:
    def executor() -> LocalExecutor:
        return LocalExecutor(tmp_path, grace_seconds=0.1, visible_gpus=("4", "7"), parallel=2)

    first, second, third = (job_of(tmp_path, number) for number in (1, 2, 3))
    try:
        executor().submit(first)
        executor().submit(second)
        assert (seen(first), seen(second)) == ("4", "7")
        (first.run_dir / "go").touch()
        eventually(lambda: executor().poll([first.name])[first.name].is_over)
        executor().submit(third)
        assert seen(third) == "4"
    finally:
        executor().cancel([job.name for job in (first, second, third)])
        eventually(lambda: not executor().names(""))
