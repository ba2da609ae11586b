import builtins
import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import Phase, assume, given, settings
from hypothesis import strategies as st

from launcher.budget import Offer
from launcher.errors import ProteinSkyError
from launcher.events import Failure
from launcher.pages import report, status
from launcher.pages.status import Document
from tests.launcher.builders import PARAMS, START, ATrial, a_config, a_state, failed, succeeded


def doc(*trials: ATrial, price: float = 0.0, **changes: Any) -> Document:
    config = a_config(**changes)
    state = a_state(config, *trials)
    return status.document(config, state, offer=Offer(price), now=START + 60, is_live=True)


class Page(HTMLParser):
    """What a browser would make of a report: tags, attributes, scripts and visible text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.text = ""
        self._inside = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self._inside = tag
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        if tag == self._inside:
            self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.scripts[-1] += data
        else:
            self.text += data

    def figures(self) -> Any:
        index = [tag for tag, _ in self.tags if tag in ("script", "style")]
        return json.loads(self.scripts[index.index("script")])


@pytest.fixture(autouse=True)
def _without_plotly_js(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave five megabytes of Plotly out: the browser tests have them in."""
    monkeypatch.setattr("plotly.offline.get_plotlyjs", lambda: "/* plotly */")


TRIALS = (succeeded(100.0, 3.0), succeeded(412.5, 6.0), failed())


def test_the_headline_says_what_came_out() -> None:
    text = Page(report.render(doc(*TRIALS))).text
    for fact in ("best reward", "412.5", "trial 2, cost 6.0 s", "of 12 trials", "1 crashed"):
        assert fact in text


def test_the_best_parameters_can_be_copied_as_yaml() -> None:
    assert yaml.safe_load(report.best_yaml(doc(*TRIALS))) == PARAMS


def test_the_search_space_can_be_used_again_fixed_values_included() -> None:
    space = {"lr": {"distribution": "uniform", "min": 0.1, "max": 0.5}, "steps": 100}
    told = succeeded(1.0, params={"lr": 0.2, "steps": 100})
    written = yaml.safe_load(report.space_yaml(doc(told, sweep={"parameters": space})))
    assert written["sweep"]["parameters"] == space
    assert a_config(**written).sweep.metric == "reward"


def test_every_trial_has_a_row_with_its_keys_to_sort_by() -> None:
    first, second, third = report.rows(doc(*TRIALS))
    assert (first["mark"], second["mark"], third["mark"]) == ("◆", "★", "")
    assert second["cells"][0] == ("412.5", 412.5)
    assert third["cells"][0] == ("–", None)
    assert (third["state"], third["message"]) == ("crashed", "exit code 1")


def test_every_plot_has_words_for_those_who_do_not_see_it() -> None:
    page = Page(report.render(doc(*TRIALS)))
    plots = [attrs for tag, attrs in page.tags if attrs.get("role") == "img"]
    assert len(plots) == len(page.figures()) >= 4
    assert all(len(attrs["aria-label"] or "") > 20 for attrs in plots)
    labels = " ".join(attrs["aria-label"] or "" for attrs in plots)
    assert "2 on the Pareto front, from 100 at 3.0 s to 412.5 at 6.0 s" in labels


def test_the_page_refers_to_nothing_outside_and_forbids_requests() -> None:
    page = Page(report.render(doc(*TRIALS)))
    links = [attrs[key] for _, attrs in page.tags for key in ("src", "href") if key in attrs]
    assert links == ["data:,"]
    policy = [a["content"] for t, a in page.tags if a.get("http-equiv")]
    assert policy == [next(iter(policy))]
    assert str(policy[0]).startswith("default-src 'none'; script-src 'unsafe-inline';")


@pytest.mark.parametrize(
    "told",
    [
        (),
        (succeeded(1.0),),
        (failed(), failed(Failure.DIVERGED)),
        (succeeded(float("nan"), None), succeeded(1.0, None)),
        (succeeded(1.0, params={**PARAMS, "trainer.gamma": float("nan")}), succeeded(2.0)),
    ],
    ids=["none", "one", "all failed", "no score", "a NaN parameter"],
)
def test_a_report_can_be_made_of_whatever_there_is(told: tuple[ATrial, ...]) -> None:
    page = Page(report.render(doc(*told)))
    assert "NaN" not in json.dumps(page.figures())


def test_what_trials_reported_beside_the_score_has_a_table() -> None:
    told = doc(*TRIALS)
    assert "reported beside" not in Page(report.render(told)).text
    told["trials"][0]["metrics"] = {"reward": 100.0, "tasks/recall": 0.25}
    told["trials"][1]["metrics"] = {"reward": 412.5, "tasks/reach": None}
    page = " ".join(Page(report.render(told)).text.split())
    assert "reported beside reward" in page
    assert "trialrewardtasks/reachtasks/recall 1100–0.25 2412.5––" in page


def test_money_has_a_column_only_where_it_is_involved() -> None:
    assert "spent" not in Page(report.render(doc(*TRIALS))).text
    paid = [succeeded(1.0, seconds=100, price_usd_per_hour=36.0)]
    assert "$1.00" in Page(report.render(doc(*paid, price=36.0))).text


TAG_NAMES = st.sampled_from(["script", "img src=x onerror=x", "/pre", "/td", "svg onload=x", "!--"])
evil = st.builds("{}<{}>{}".format, st.text(max_size=5), TAG_NAMES, st.text(max_size=5)) | st.text(
    st.characters(codec="utf-8"), max_size=20
)


@settings(max_examples=50, deadline=None, phases=set(Phase) - {Phase.shrink})  # pages are long
@given(st.dictionaries(evil, evil, max_size=3), evil, evil, evil)
def test_nothing_from_outside_becomes_markup(
    params: dict[str, str], detail: str, metric: str, name: str
) -> None:
    plain = doc(succeeded(1.0), succeeded(2.0), failed(detail="x"))
    hostile = json.loads(json.dumps(plain))
    hostile |= {"metric": metric, "sweep": name, "reason": detail}
    spec = {"distribution": "categorical", "values": list(params.values())}
    hostile["parameters"] = dict.fromkeys(params, spec)
    plain["parameters"] = {
        f"p{n}": spec | {"values": ["x"] * len(params)} for n in range(len(params))
    }
    other = f"other {name}"
    assume(other != metric)
    for told, names in ((plain, ("reward", "other")), (hostile, (metric, other))):
        for trial in told["trials"]:
            trial["metrics"] = dict.fromkeys(names, 1.0)
    for trial in hostile["trials"] + hostile["pareto_front"] + [hostile["best"]]:
        trial["params"] = params
    for trial in plain["trials"] + plain["pareto_front"] + [plain["best"]]:
        trial["params"] = dict.fromkeys(plain["parameters"], "x")
    hostile["trials"][2]["error"]["message"] = detail
    harmless, page = Page(report.render(plain)), Page(report.render(hostile))
    shape = [(tag, sorted(set(attrs) - {"title"})) for tag, attrs in page.tags]
    assert shape == [(tag, sorted(set(attrs) - {"title"})) for tag, attrs in harmless.tags]
    assert "<" not in json.dumps(page.figures()).replace("<br>", "").replace("<b>", "").replace(
        "</b>", ""
    ).replace("<extra></extra>", "")


def test_no_script_can_end_in_the_embedded_figures() -> None:
    assert "<" not in report.embedded({"</script>": ["<!--", "\u2028"]})
    assert json.loads(report.embedded({"</script>": ["<!--", "\u2028"]})) == {
        "</script>": ["<!--", "\u2028"]
    }


def test_ten_thousand_trials_make_a_report_of_bounded_size() -> None:
    told = [succeeded(float(n % 97), 1.0 + n % 7) for n in range(report.MAX_ROWS + 5)]
    document = doc(*told, trials=len(told))
    for trial in document["trials"]:
        trial["metrics"] = {f"metric {n}": 0.123456 for n in range(60)}
    html = report.render(document)
    assert len(html) < 9_000_000
    assert html.count("<tr class=") == report.MAX_ROWS
    assert "The first 10000 of 10005" in html


def test_secrets_of_the_sweep_do_not_reach_the_report(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "canary-1234")
    envs = {"run": "true", "envs": {"TOKEN": "canary-5678"}, "secrets": ["WANDB_API_KEY"]}
    assert "canary" not in report.render(doc(*TRIALS, task=envs))


def test_a_missing_extra_is_named_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = builtins.__import__

    def without_plotly(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("plotly"):
            raise ModuleNotFoundError(name, name="plotly")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_plotly)
    with pytest.raises(ProteinSkyError, match="needs plotly") as caught:
        report.render(doc(*TRIALS))
    assert caught.value.hint == "pip install 'protein-sky[report]'"


def test_the_report_is_one_file(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "report.html"
    report.write(doc(*TRIALS), path)
    assert [p.name for p in path.parent.iterdir()] == ["report.html"]
    assert path.read_text(encoding="utf-8").startswith("<!doctype html>")
