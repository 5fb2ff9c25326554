"""The page: self-contained, honest about what is estimated, invalid or missing, and deaf to hostile content."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reports.made_runs import make_run, write_journal

from ipw.errors import IpwError
from ipw.metrics.summary import summarize
from ipw.reports.markup import VOID, tag
from ipw.reports.page.banners import banners
from ipw.reports.page.isolated import isolated
from ipw.reports.page.page import CSP, SCRIPT, TABLES, write_page
from ipw.reports.view import View, load_views
from ipw.runs.directory import RunDir

HOSTILE = "</td></table><script>alert(1)</script><img src=x onerror=alert(1)>\x00\x1b[2J\u202e\ud800&quot;'\""
SHAPES = {"svg", "rect", "circle", "line", "polyline", "polygon", "path", "text", "g", "title", "desc"}
KNOWN = SHAPES | {
    *("html", "head", "body", "meta", "style", "main", "header", "footer", "section", "details", "summary", "div", "p"),
    *(
        "h1",
        "h2",
        "h3",
        "h4",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "dl",
        "dt",
        "dd",
        "span",
        "nav",
        "a",
        "small",
        "b",
        "em",
    ),
    *("code", "bdi", "script"),
}


class Reader(HTMLParser):
    """Collects tags, attributes and text; fails on markup that is not balanced."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(page)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += attrs
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open[-1:] not in (["style"], ["script"]):
            self.text += data


def page_of(*runs: RunDir) -> tuple[str, Reader]:
    path = runs[0].path.parent / "report.html"
    write_page(runs, path)
    page = path.read_text(encoding="utf-8")
    return page, Reader(page)


def hostile_run(folder: Path) -> RunDir:
    n = 12
    text = HOSTILE.replace("\ud800", "")  # a table cannot hold a lone surrogate; JSON can
    run = make_run(
        folder,
        scores=[0.0] * n,
        manifest={
            "model": {"name": HOSTILE, "digest": HOSTILE, HOSTILE: HOSTILE},
            "host": {"name": HOSTILE, "cpu": HOSTILE, "power_source": HOSTILE},
            "workload": {"kind": "lm", "parameters": {"dataset": HOSTILE, HOSTILE: [HOSTILE]}},
            "status": HOSTILE,
            "software": {HOSTILE: HOSTILE},
        },
        columns={name: [text] * n for name in ("query_id", "response", "answer")}
        | {"subject": [text + str(i % 3) for i in range(n)]},
    )
    sensor = dict.fromkeys(("name", "kind", "scope", "device", "reason", "hint", "note", "status"), HOSTILE)
    run.update_manifest(sensors=[*run.manifest()["sensors"], sensor])
    return run


def test_a_page_is_one_file_that_asks_nothing_of_the_network(tmp_path: Path) -> None:
    page, reader = page_of(make_run(tmp_path))
    script = TABLES.read_text() + SCRIPT.read_text()
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert ("content", CSP.format(digest)) in reader.attributes  # no script runs but this one
    assert page.count("<script>") == page.count(f"<script>{script}</script>") == 1
    assert not [name for name, _ in reader.attributes if name.startswith("on") or name == "src"]
    links = [str(value) for name, value in reader.attributes if name == "href"]
    assert len(links) > 3
    assert all(("id", link.removeprefix("#")) in reader.attributes for link in links), "within the page"
    assert not re.findall(r"(?i)https?://|@import|url\(", page)
    assert len(page) < 250_000


def test_a_page_tells_the_result_in_words_and_every_metric_with_its_definition(tmp_path: Path) -> None:
    _, reader = page_of(make_run(tmp_path, "run-moe"))
    assert "moe answers 75.0 % right, for 10.0 J a question" in reader.text
    for told in (
        "mean score / mean energy of a query",
        "[66.6, 81.9]",
        "nvml/gpu0",
        "Test CPU",
        "sudo chmod",
        "Wilson",
    ):
        assert told in reader.text


def test_the_same_runs_give_the_same_page(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    assert page_of(run)[0] == page_of(run)[0]


def test_an_estimate_is_called_one_before_any_number_and_beside_each(tmp_path: Path) -> None:
    _, reader = page_of(make_run(tmp_path, method="model_estimate"))
    assert reader.text.index("Estimated, not measured.") < reader.text.index("Results")
    assert "for an estimated 10.0 J a question" in reader.text
    assert "power, W, estimated" in reader.text
    assert reader.text.count("(estimated)") >= 4
    assert "estimated" not in page_of(make_run(tmp_path / "b"))[1].text.lower().split("how each number")[0]


def test_an_invalid_run_says_why_at_the_top(tmp_path: Path) -> None:
    run = make_run(tmp_path, manifest={"sampler": {"died": "it was killed by SIGKILL"}})
    _, reader = page_of(run)
    told = reader.text.index("Not valid: a. sampler: it was killed by SIGKILL")
    assert told < reader.text.index("Results")


def test_hostile_content_shows_as_text(tmp_path: Path) -> None:
    run = hostile_run(tmp_path)
    run.write_summary(summarize(run))
    page, reader = page_of(run, run)
    assert reader.tags <= KNOWN
    assert not [name for name, _ in reader.attributes if name.startswith("on")]
    assert "<script>alert(1)</script>" in reader.text
    assert not {"\x00", "\x1b", "\u202e"} & set(page)


@given(st.text())
def test_any_text_comes_back_from_markup_as_itself_or_harmless(text: str) -> None:
    reader = Reader(tag("p", text, title=text))
    assert reader.tags == {"p"}
    assert [name for name, _ in reader.attributes] == ["title"]


def test_a_long_answer_is_cut(tmp_path: Path) -> None:
    page, _ = page_of(make_run(tmp_path, scores=[0.0] * 3, columns={"response": ["x" * 1_000_000] * 3}))
    assert len(page) < 250_000


def damaged(folder: Path, kind: str) -> RunDir:
    if kind == "empty":
        run = RunDir(folder / "run-empty")
        run.path.mkdir(parents=True)
        return run
    run = make_run(folder, f"run-{kind}")
    if kind == "newer schema":
        (run.path / "manifest.json").write_text(json.dumps(run.manifest() | {"schema_version": 99}))
    elif kind == "torn table":
        (run.path / "queries.parquet").write_bytes(b"PAR1 and then nothing")
    elif kind == "strange manifest":
        strange = {"schema_version": 1, "sensors": 3, "attribution": [], "workload": "x", "host": 7, "model": ["a"]}
        (run.path / "manifest.json").write_text(json.dumps(strange))
    elif kind == "strange summary":
        run.write_summary({"metrics": {"accuracy": 3, "energy_j": {"value": "much"}}, "validity": 7, "by_subject": 1})
    elif kind == "no json":
        (run.path / "manifest.json").write_text("not json")
    return run


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("empty", "manifest.json cannot be read"),
        ("newer schema", "schema version 99"),
        ("torn table", "queries.parquet cannot be read"),
        ("strange manifest", ""),
        ("strange summary", ""),
        ("no json", "cannot be read"),
    ],
)
def test_a_damaged_run_is_told_and_the_others_are_shown(tmp_path: Path, kind: str, told: str) -> None:
    _, reader = page_of(damaged(tmp_path, kind), make_run(tmp_path, "run-sound"))
    assert told in reader.text
    assert "sound" in reader.text
    assert "75.0" in reader.text


def test_an_interrupted_run_shows_what_had_finished(tmp_path: Path) -> None:
    run = make_run(tmp_path, status="interrupted", manifest={"attribution": None})
    (run.path / "queries.parquet").unlink()
    (run.path / "spans.parquet").unlink()
    write_journal(run, [{"kind": "query", "status": "ok", "score": 1, "start_ns": 0, "end_ns": 10**9}] * 8)
    _, reader = page_of(run)
    assert "This run is interrupted; what had finished is shown." in reader.text
    assert "answers 100.0 % right, for an unknown number of joules" in reader.text


def test_no_run_at_all_still_makes_a_page(tmp_path: Path) -> None:
    write_page([], tmp_path / "x.html")
    assert "Nothing was measured" in (tmp_path / "x.html").read_text(encoding="utf-8")


def test_any_command_has_a_page_too(tmp_path: Path) -> None:
    workload: dict[str, Any] = {"kind": "command", "parameters": {"command": ["sleep", "60"], "idle_s": 3}}
    _, reader = page_of(make_run(tmp_path, manifest={"workload": workload, "model": None}))
    assert "sleep 60 drew 1.20 kJ" in reader.text
    assert "Power over time" in reader.text


def test_a_place_that_cannot_be_written_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(IpwError, match="cannot write"):
        write_page([make_run(tmp_path)], tmp_path / "missing" / "report.html")


def noted(detail: str) -> dict[str, Any]:
    """A run whose sampler left gaps, as a check that warns tells it."""
    return {"check": "other load", "ok": False, "level": "warning", "detail": detail}


def views_with(folder: Path, details: list[str]) -> list[View]:
    views = load_views([make_run(folder, f"run-{i}") for i in range(len(details))])
    for view, detail in zip(views, details, strict=True):
        view.summary["validity"] = [noted(detail)]
    return views


def test_a_warning_that_all_runs_share_is_said_once(tmp_path: Path) -> None:
    (box,) = banners(views_with(tmp_path, ["others used 1 of 2 CPUs"] * 4))
    assert Reader(box).text == "Mind: all runs. other load: others used 1 of 2 CPUs"


def test_a_warning_that_differs_from_run_to_run_is_one_box_that_opens(tmp_path: Path) -> None:
    (box,) = banners(views_with(tmp_path, [f"others used {i} of 9 CPUs" for i in range(5)]))
    told = Reader(box).text
    assert told.startswith("Mind: other load, all 5 runs. 0: others used 0 of 9 CPUs")
    assert "and of 4 more" in told
    assert told.count("of 9 CPUs") == 5


def test_only_a_remedy_that_can_be_typed_is_shown_as_a_command(tmp_path: Path) -> None:
    hints = ["sudo modprobe intel_rapl_msr", "if this is a virtual machine, measure on its host"]
    sensors = [{"name": f"s{i}", "status": "absent", "hint": hint} for i, hint in enumerate(hints)]
    run = make_run(tmp_path, method="model_estimate", manifest={"sensors": sensors})
    page, _ = page_of(run)
    typed, worded = hints
    assert f"To measure: <code>{typed}</code>; {worded}." in page
    assert f"<code>{worded}" not in page


def test_what_makes_a_run_not_valid_comes_before_what_is_to_be_minded(tmp_path: Path) -> None:
    views = views_with(tmp_path, ["others"] * 2)
    views[1].summary["validity"] = [noted("others"), {"check": "record", "ok": False, "level": "error", "detail": "no"}]
    assert [Reader(box).text for box in banners(views)] == [
        "Not valid: 1. record: no",
        "Mind: all runs. other load: others",
    ]


def test_a_wrong_answer_stands_beside_its_question_and_beside_its_id_where_that_is_not_known(tmp_path: Path) -> None:
    asked = make_run(tmp_path, "asked", scores=[0.0], columns={"question": ["What is 2 + 2?"]})
    assert "What is 2 + 2?" in page_of(asked)[1].text
    assert "q0" in page_of(make_run(tmp_path, "older", scores=[0.0]))[1].text


def test_the_command_line_and_the_label_are_told(tmp_path: Path) -> None:
    _, reader = page_of(make_run(tmp_path, manifest={"label": "my label", "command_line": "ipw run lm --model x"}))
    assert "Commandipw run lm --model x" in reader.text
    assert "Labelmy label" in reader.text


def test_every_chart_of_the_page_is_there_for_a_window_and_for_a_phone(tmp_path: Path) -> None:
    page, _ = page_of(make_run(tmp_path, "a"), make_run(tmp_path, "b", power_w=30.0))
    wide, narrow = (re.findall(rf'class="scroll {size}" tabindex="0"><svg viewBox="0 0 (\d+)', page) for size in SIZES)
    assert len(wide) == len(narrow) >= 8
    assert set(wide) == {"760"}
    assert set(narrow) == {"350"}


SIZES = ("wide", "narrow")


def test_cells_name_their_columns_for_a_phone(tmp_path: Path) -> None:
    page, _ = page_of(make_run(tmp_path))
    for name in ("IPW", "IPJ", "Query", "Latency"):
        assert re.search(rf'data-label="{name} \([^"]*\)"', page)


def test_a_name_from_the_right_does_not_turn_the_sentence_around_it() -> None:
    assert isolated("a, نموذج: 5 < 6", ["a", "نموذج"]) == "a, <bdi>نموذج</bdi>: 5 &lt; 6"
    assert isolated("a <b>", ["a", "<b>"]) == "a &lt;b&gt;"


@pytest.mark.parametrize(
    ("told", "name"), [('{"name": "a <b> ladder"}', " · a &lt;b&gt; ladder"), ("{", ""), ("[]", "")]
)
def test_the_page_of_a_study_has_its_name(tmp_path: Path, told: str, name: str) -> None:
    runs = [make_run(tmp_path, f"r{i}", scores=[1.0] * 9) for i in range(2)]
    (tmp_path / "study.json").write_text(told)
    write_page(runs, tmp_path / "page.html")
    assert f'<p class="overline">intelligence per watt{name}</p>' in (tmp_path / "page.html").read_text()
