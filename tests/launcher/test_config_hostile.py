"""Files made to break the loader: no traceback, and always a place."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from launcher.config import check, from_mapping, load
from launcher.sweepfile.catalogue import shipped_configs

SPLICES = (
    "!!python/object:os.system x", "!!python/object/apply:os.system [ls]", "!!binary aGk=",
    "!!set {a}", "&a [*a, *a]", "*nowhere", "<<: *x", "<<: 3", "\t", "\t- x", "1e999", "-1e999",
    "1e-999", ".nan", "-.inf", "9" * 400, "0x" + "f" * 400, "{min: .nan, max: 1}",
    "{min: 2, max: 1}", "{min: 0, max: 1, distribution: log_normal}", "[" * 200, "{" * 200,
    "? [a, b]\n: c", "? ", "- - - -", ": :", "%YAML 1.1", "---", "...", "--- !!str", "'", '"',
    "|", ">", "|+9", "@", "`", "\0", "\x07", "\ufeff", "\u2028", "\ud7ff", "🦄", "ü", "../../x",
    "a;rm -rf /", "$(id)", "`id`", "-rf", "x" * 300, "null", "~", "true", "{}", "[]", "0", "-1",
    "''", "sweep:", "parameters:", "sweep: {sweep: {sweep: 3}}", "min: 3", "value:", "when: {a: b}",
    "task: /dev/zero", "hardware: /dev/zero", "task: ../../../../etc/passwd",
    "hardware: ../../x", "hardware: \"\\0\"",
    "method: 'os:system'", "name: \"a\\nb\"", "name: {a: 1}", "trials: 1e3", "goal: []",
    "when: {a.b: {c: d}}", "values: [[1], {a: 1}]", "values: []", "scale: auto", "scale: time",
    "mean: x", "workdir: \"\\0\"", "secrets: {A: canary}", "secrets: canary value", "warn: [2]",
    "timeout_seconds: 99999999999999999999h", "timeout_seconds: 0s", "tags: {a: b}", "source: x",
)  # fmt: skip


def _mutated(text: str, source: random.Random) -> bytes:
    for _ in range(source.randint(1, 6)):
        at, end = sorted(source.randrange(len(text) + 1) for _ in range(2))
        lines = text.split("\n")
        line = source.randrange(len(lines))
        match source.randrange(7):
            case 0:
                text = text[:at] + source.choice(SPLICES) + text[at:]
            case 1:
                text = text[:at] + text[min(end, at + 20) :]
            case 2:
                text = "\n".join([*lines[:line], lines[line], *lines[line:]])
            case 3:
                key, colon, _ = lines[line].partition(":")
                changed = f"{key}{colon} {source.choice(SPLICES)}"
                text = "\n".join([*lines[:line], changed, *lines[line + 1 :]])
            case 4:
                text = text[:at] + text[end:] + text[at:end]
            case 5:
                text = "\n".join([*lines[:line], " " * source.randint(0, 9) + lines[line]])
            case _:
                indent = lines[line][: len(lines[line]) - len(lines[line].lstrip())]
                added = f"{indent}{source.choice(SPLICES)}"
                text = "\n".join([*lines[:line], added, *lines[line:]])
    data = text.encode("utf-8", "surrogatepass")
    if source.random() < 0.05:
        at = source.randrange(len(data) + 1)
        data = data[:at] + bytes([source.randrange(256)]) + data[at:]
    return text.encode("utf-16") if source.random() < 0.01 else data


def _seeds() -> Iterator[str]:
    for path in sorted((shipped_configs() / "sweep").glob("*.yaml")):
        yield path.read_text(encoding="utf-8")
    yield (Path(__file__).parent / "golden" / "problems.yaml").read_text(encoding="utf-8")


def _storm(folder: Path, seed: int, count: int) -> tuple[int, int]:
    """Return how many files were refused and how many were read."""
    source = random.Random(seed)
    seeds = list(_seeds())
    file = folder / "fuzzed.yaml"
    refused = 0
    for _ in range(count):
        file.write_bytes(_mutated(source.choice(seeds), source))
        problems = check(file)
        refused += bool(problems)
        for problem in problems:
            assert "canary" not in str(problem)
            assert len(str(problem).splitlines()) <= 2
            assert problem.line >= 1
            assert problem.column >= 1
        if not problems:
            config = load(file)
            assert from_mapping(config.to_mapping()) == config
    return refused, count - refused


def test_a_thousand_spoilt_files_are_refused_or_read(tmp_path: Path) -> None:
    refused, read = _storm(tmp_path, seed=1, count=1000)
    assert refused > 500
    assert read > 50


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 14))
def test_twelve_thousand_more(tmp_path: Path, seed: int) -> None:
    refused, _ = _storm(tmp_path, seed, count=1000)
    assert refused > 500


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [x]\n" + "".join(f"b{n}: &b{n} [*a, *a]\n" for n in range(9000)),
        "sweep: " + "{a: " * 5000,
        "sweep:\n" + "".join(f"{' ' * n}a:\n" for n in range(400)),
        "- " * 5000,
        "? " * 5000,
        "&a " * 5000,
        "!a " * 5000,
        "'" + "\n" * 100_000,
        "a: " + "x" * 250_000,
        "\n".join(f"k{n}: {n}" for n in range(19_000)),
        "%TAG ! tag:x,2000:\n---\na: !x 3",
    ],
    ids=range(11),
)
def test_a_large_strange_file_is_refused_with_a_place(text: str, tmp_path: Path) -> None:
    file = tmp_path / "large.yaml"
    file.write_text(text)
    problems = check(file)
    assert problems
    assert all(problem.line >= 1 for problem in problems)
