"""The report as a browser sees it: whole, quiet, and alone. Needs Chromium."""

import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from launcher.budget import Offer
from launcher.events import Failure
from launcher.pages import report, status
from tests.launcher.builders import (
    PARAMS,
    START,
    ATrial,
    a_config,
    a_state,
    failed,
    running,
    succeeded,
)

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--enable-logging=stderr",
    "--virtual-time-budget=8000",
)


@dataclass(frozen=True)
class Visit:
    """What was left of a visit: the page after its scripts ran, what it said, what it asked for."""

    dom: str
    console: list[str]
    requests: list[str]

    @property
    def drawn(self) -> list[str]:
        """The plots that Plotly drew, by key."""
        return re.findall(r'<div id="([\w-]+)" class="canvas[^"]*js-plotly-plot"', self.dom)


@pytest.fixture(scope="module")
def chromium() -> str:
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    found = found or shutil.which("google-chrome")
    if found is None:
        pytest.skip("Chromium is not installed")
    return found


def visit(chromium: str, page: Path, *flags: str) -> Visit:
    log = page.with_suffix(".net.json")
    command = [
        chromium,
        *FLAGS,
        f"--user-data-dir={page.parent / 'profile'}",
        f"--log-net-log={log}",
        *flags,
        "--dump-dom",
        page.as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500, check=True)
    console = [line for line in done.stderr.splitlines() if ":CONSOLE" in line]
    return Visit(done.stdout, console, requested(log))


def requested(log: Path) -> list[str]:
    """Return every address that a page asked for; Chromium's own errands have no origin."""
    text = log.read_text(encoding="utf-8", errors="replace")
    try:
        events = json.loads(text)["events"]
    except json.JSONDecodeError:  # Chromium was gone before it wrote the end, one event a line
        events = json.loads(text[: text.rindex("},\n")] + "}]}")["events"]
    asked = [event.get("params", {}) for event in events]
    return sorted(
        {
            params["url"]
            for params in asked
            if "url" in params and params.get("initiator", "not an origin") != "not an origin"
        }
    )


def a_report(folder: Path, *trials: ATrial, **changes: Any) -> Path:
    config = a_config(**changes)
    state = a_state(config, *trials)
    document = status.document(config, state, offer=Offer(), now=START + 70, is_live=True)
    path = folder / "report.html"
    report.write(document, path)
    return path


TRIALS = (
    succeeded(100.0, 3.0),
    succeeded(50.0, 5.0),
    succeeded(412.5, 6.0, failures=(Failure.PREEMPTED, None)),
    failed(),
    running(begins_at=START + 55),
)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_plots_are_drawn_without_an_error_or_a_request(
    chromium: str, tmp_path: Path, scheme: str
) -> None:
    flags = ["--blink-settings=preferredColorScheme=0"] if scheme == "dark" else []
    seen = visit(chromium, a_report(tmp_path, *TRIALS), *flags)
    assert seen.console == []
    assert seen.drawn == [
        "pareto",
        "history",
        "parallel",
        *(f"slice-{index}" for index in range(4)),
        "timeline",
    ]
    assert seen.dom.count('<svg class="main-svg"') >= len(seen.drawn)
    assert seen.requests == []


def test_a_request_and_an_error_of_a_page_would_be_seen(chromium: str, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text("<img src='http://example.invalid/x.png'><script>throw Error('no')</script>")
    seen = visit(chromium, page)
    assert seen.requests == ["http://example.invalid/x.png"]
    assert "Uncaught Error: no" in seen.console[0]


@pytest.mark.parametrize("told", [(), (succeeded(1.0),), (failed(), failed())], ids=len)
def test_a_page_with_little_to_show_is_quiet_too(
    chromium: str, tmp_path: Path, told: tuple[ATrial, ...]
) -> None:
    seen = visit(chromium, a_report(tmp_path, *told))
    assert seen.console == []
    assert "How to reproduce" in seen.dom


def test_hostile_names_and_values_run_nothing(chromium: str, tmp_path: Path) -> None:
    run = "document.title='owned'"
    evil = f'</script><img src=x onerror="{run}"><script>{run}</script>'
    space = {"model.kind": {"distribution": "categorical", "values": [evil, "b"]}}
    told = [succeeded(n, params={"model.kind": evil}) for n in (1.0, 2.0)]
    told.append(failed(detail=evil, params={"model.kind": evil}))
    page = a_report(tmp_path, *told, sweep={"parameters": space, "metric": evil})
    seen = visit(chromium, page)
    assert "<title>demo – protein-sky</title>" in seen.dom
    assert seen.console == []
    assert seen.requests == []


def test_ten_thousand_trials_open(chromium: str, tmp_path: Path) -> None:
    told = [
        succeeded(
            float(n % 97), 1.0 + n % 7, params={**PARAMS, "trainer.gamma": 0.9 + n % 99 / 1e3}
        )
        for n in range(10_000)
    ]
    seen = visit(chromium, a_report(tmp_path, *told, trials=10_000))
    assert seen.console == []
    assert len(seen.drawn) == 8
    assert seen.dom.count("<tr class=") == 10_000
