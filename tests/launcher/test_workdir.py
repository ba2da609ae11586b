"""What is sent to other machines, and what is remembered of the code of a launch."""

import subprocess
from pathlib import Path

import pytest

from launcher import workdir
from launcher.errors import UsageError
from launcher.sweepfile import yamlio
from tests.launcher.builders import a_config


def put(folder: Path, **files: str) -> None:
    for name, text in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "init.defaultBranch=main"]
    subprocess.run(
        ["git", "-C", str(folder), *identity, *arguments], check=True, capture_output=True
    )


def sent(folder: Path) -> set[str]:
    return {path.as_posix() for path, _ in workdir.sizes(folder) if path.parts[0] != ".git"}


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    put(tmp_path, train="print()", data__big="x" * 1000, ignored__log="y" * 5000)
    (tmp_path / ".gitignore").write_text("ignored/\n")
    git(tmp_path, "init")
    git(tmp_path, "add", "train", ".gitignore")
    git(tmp_path, "commit", "-m", "first")
    return tmp_path


def test_what_git_ignores_is_not_sent_and_what_is_new_is(repository: Path) -> None:
    assert sent(repository) == {"train", "data/big", ".gitignore"}


def test_git_s_own_folder_counts_because_it_is_sent(repository: Path) -> None:
    assert any(path.parts[0] == ".git" for path, _ in workdir.sizes(repository))


def test_without_git_everything_is_sent(tmp_path: Path) -> None:
    put(tmp_path, train="x", data__big="x")
    assert sent(tmp_path) == {"train", "data/big"}


def test_a_skyignore_counts_instead_of_git(repository: Path) -> None:
    (repository / ".skyignore").write_text("# mine\n/data\n*.tmp\n")
    put(repository, **{"a__b.tmp": "x", "deep__data__kept": "x"})
    assert sent(repository) == {
        "train", ".gitignore", ".skyignore", "ignored/log", "deep/data/kept",
    }  # fmt: skip


@pytest.mark.parametrize("ignoring", ["nothing", "git", ".skyignore"])
def test_what_is_kept_out_is_not_sent(tmp_path: Path, ignoring: str) -> None:
    put(tmp_path, train="x", train_dir__sweep="x" * 1000)
    if ignoring == "git":
        git(tmp_path, "init")
    elif ignoring == ".skyignore":
        (tmp_path / ".skyignore").write_text("*.tmp\n")
    workdir.keep_out(tmp_path / "train_dir")
    assert sent(tmp_path) - {".skyignore"} == {"train"}


def test_what_the_user_says_about_a_folder_stays(tmp_path: Path) -> None:
    (tmp_path / ".gitignore").write_text("mine\n")
    workdir.keep_out(tmp_path)
    workdir.keep_out(tmp_path / "not there")
    assert (tmp_path / ".gitignore").read_text() == "mine\n"
    assert (tmp_path / ".skyignore").read_text() == "*\n"


def test_a_folder_that_is_too_large_names_what_is_large(repository: Path) -> None:
    with pytest.raises(UsageError) as caught:
        workdir.check_size(repository, limit_bytes=900)
    assert "data/" in caught.value.message
    assert "ignored" not in caught.value.message
    assert ".skyignore" in caught.value.hint


def test_a_folder_that_is_small_is_measured(tmp_path: Path) -> None:
    put(tmp_path, a="12345", b__c="123")
    assert workdir.check_size(tmp_path, limit_bytes=8) == 8
    with pytest.raises(UsageError):
        workdir.check_size(tmp_path, limit_bytes=7)


def test_a_file_that_goes_while_it_is_counted_is_not_counted(repository: Path) -> None:
    (repository / "train").unlink()
    assert "train" not in sent(repository)


def test_the_commit_and_what_was_changed_since_are_remembered(
    repository: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    sweep = tmp_path_factory.mktemp("sweep")
    put(repository, train="print(1)")
    workdir.record(a_config(task={"workdir": str(repository)}), sweep)
    node = yamlio.read(sweep / "workdir.yaml").node
    assert node is not None
    facts = node.plain()
    assert len(facts["commit"]) == 40
    assert facts["is_changed"] is True
    assert facts["untracked"] == ["data/big"]
    assert "+print(1)" in (sweep / "workdir.diff").read_text()


def test_a_launch_killed_before_its_diff_was_kept_does_not_look_recorded(
    repository: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(path: Path, content: str) -> None:
        if path.name == "workdir.diff":
            raise KeyboardInterrupt
        path.write_text(content)

    sweep = tmp_path_factory.mktemp("sweep")
    put(repository, train="print(1)")
    monkeypatch.setattr(workdir, "write_atomic", killed)
    with pytest.raises(KeyboardInterrupt):
        workdir.record(a_config(task={"workdir": str(repository)}), sweep)
    assert not (sweep / "workdir.yaml").exists()


def test_a_folder_as_it_was_committed_has_no_diff(
    repository: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    sweep = tmp_path_factory.mktemp("sweep")
    git(repository, "add", "data")
    git(repository, "commit", "-m", "second")
    workdir.record(a_config(task={"workdir": str(repository)}), sweep)
    assert "is_changed: false" in (sweep / "workdir.yaml").read_text()
    assert not (sweep / "workdir.diff").exists()


def test_nothing_is_remembered_where_there_is_no_git(tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    workdir.record(a_config(task={"workdir": str(tmp_path / "code")}), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["code"]
