"""What a gate prints and writes, form by form and to the letter: numbers, signs, plurals, counts."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree as ET

import pytest
from gate.test_gate_formats import document, entry, failed_check

from ipw.gate import formats as gate_formats
from ipw.gate import text as gate_summary
from ipw.gate.document import Document
from ipw.reports.text import MISSING

WARNING = {"check": "clocks", "ok": False, "detail": "apart", "level": "warning"}
PASSED = {"check": "host", "ok": True, "detail": "the same in every run", "level": "error"}


def suite(found: Document) -> ET.Element:
    return ET.fromstring(gate_formats.junit(found))[0]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, "+5.00 % [+4.00, +6.00]"),
        ({"change": -0.0123, "low": -0.5, "high": 0.002}, "-1.23 % [-50.00, +0.20]"),
        ({"high": None}, "+5.00 % [+4.00, …]"),
        ({"low": None}, "+5.00 % […, +6.00]"),
        ({"change_in": "points"}, "+5.00 points [+4.00, +6.00]"),
        ({"change": None}, "not known"),
    ],
)
def test_a_change_is_told_in_percent_or_points_with_its_bounds(changes: dict[str, Any], text: str) -> None:
    assert gate_formats.change_text(entry(**changes)) == text


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, "+3 %"),
        ({"better": "higher"}, "\N{MINUS SIGN}3 %"),
        ({"better": "higher", "change_in": "points", "margin": 0.015}, "\N{MINUS SIGN}1.5 points"),
    ],
)
def test_a_margin_is_told_in_the_direction_of_harm(changes: dict[str, Any], text: str) -> None:
    assert gate_formats.margin_text(entry(**changes)) == text


def test_a_metric_is_told_in_one_sentence_with_its_reason() -> None:
    assert gate_formats.sentence(entry()) == "Energy: +5.00 % [+4.00, +6.00], margin +3 %"
    told = gate_formats.sentence(entry(estimated=True, reason="too close"))
    assert told == "Energy (estimated): +5.00 % [+4.00, +6.00], margin +3 %, too close"


# --- annotations -----------------------------------------------------------------------------------------------------


def test_ten_annotations_are_all_told_and_of_eleven_the_tenth_counts_the_rest() -> None:
    ten = gate_formats.github_annotations(document(*(entry(f"m{i}", "regressed") for i in range(10))))
    assert len(ten) == 10
    assert all("regressed" in line for line in ten)
    eleven = gate_formats.github_annotations(document(*(entry(f"m{i}", "regressed") for i in range(11))))
    assert [("m8 regressed" in line) for line in eleven[-2:]] == [True, False]
    assert eleven[-1] == "::warning title=ipw gate::2 more: see gate.json"


def test_annotations_come_by_harm_with_level_title_and_text() -> None:
    found = document(
        entry("open", "inconclusive", reason="more pairs"),
        entry("shown", "regressed", gates=False),
        entry("doubtful", "inconclusive", gates=False),
        entry("bad", "regressed"),
        entry("fine"),
        entry("unjudged", None),
        error="it broke",
        validity=[WARNING, PASSED, failed_check()],
        estimated=True,
    )
    text = "Energy: +5.00 %25 [+4.00, +6.00], margin +3 %25"
    assert gate_formats.github_annotations(found) == [
        "::error title=ipw gate%3A failed::it broke",
        "::error title=ipw gate%3A invalid%3A basis::gpu and package",
        f"::error title=ipw gate%3A bad regressed::{text}",
        f"::warning title=ipw gate%3A open inconclusive::{text}, more pairs",
        f"::warning title=ipw gate%3A shown regressed (shown only)::{text}",
        "::warning title=ipw gate%3A estimated::no sensor measures energy here: every joule is an estimate from load",
    ]


def test_the_signs_of_a_workflow_command_are_written_in_code() -> None:
    (line,) = gate_formats.github_annotations(document(error="100 %, a: b"))
    assert line == "::error title=ipw gate%3A failed::100 %25, a: b"
    (line,) = gate_formats.github_annotations(document(entry("a,b:c", "regressed", label="50 %")))
    assert line.startswith("::error title=ipw gate%3A a%2Cb%3Ac regressed::50 %25: ")


# --- JUnit -----------------------------------------------------------------------------------------------------------


def test_junit_counts_cases_failures_errors_and_what_was_skipped() -> None:
    found = suite(
        document(
            entry("a", "regressed"),
            entry("b", "regressed"),
            entry("c", "inconclusive", reason="more pairs"),
            entry("d", None),
            entry("e", "regressed", gates=False),
            validity=[PASSED, WARNING],
        )
    )
    counts = {name: found.get(name) for name in ("tests", "failures", "errors", "skipped")}
    assert counts == {"tests": "6", "failures": "2", "errors": "0", "skipped": "2"}
    cases = {case.get("name"): case for case in found.iter("testcase")}
    assert {case.get("classname") for case in cases.values()} == {"ipw.new against old"}
    assert {case.get("time") for case in cases.values()} == {"0"}
    shown = cases["e"].find("system-out")
    assert shown is not None
    assert shown.text == "shown only: Energy: +5.00 % [+4.00, +6.00], margin +3 %"
    messages = {name: [e.get("message") for e in cases[name] if e.tag != "properties"] for name in "abcd"}
    sentence = "Energy: +5.00 % [+4.00, +6.00], margin +3 %"
    assert messages == {"a": [sentence], "b": [sentence], "c": [f"{sentence}, more pairs"], "d": ["not judged"]}


def test_junit_holds_every_known_number_of_a_metric_and_no_unknown_one() -> None:
    case = suite(document(entry(p_adjusted=None)))[1]
    properties = {each.get("name"): each.get("value") for each in case.iter("property")}
    assert properties == {
        "verdict": "ok", "change": "0.05", "low": "0.04", "high": "0.06", "margin": "0.03", "n": "10", "base": "10.0",
        "candidate": "10.5", "estimated": "False",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"validity": [PASSED, failed_check(), WARNING, failed_check("b")]}, ["basis: gpu and package", "basis: b"]),
        ({"error": "it broke", "validity": [failed_check()]}, ["it broke"]),
        ({"validity": [PASSED, WARNING]}, None),
    ],
)
def test_junit_tells_an_error_or_else_each_failed_check(changes: dict[str, Any], told: list[str] | None) -> None:
    error = suite(document(verdict="invalid", **changes))[0].find("error")
    if told is None:
        assert error is None
        return
    assert error is not None
    assert (error.get("type"), error.get("message"), error.text) == ("invalid", told[0], "\n".join(told))


def test_junit_is_one_suite_named_after_the_case() -> None:
    text = gate_formats.junit(document(entry()))
    assert text.startswith('<?xml version="1.0" encoding="utf-8"?>\n<testsuites>\n  <testsuite name="ipw gate new ag')
    assert text.endswith("</testsuites>\n")


# --- services --------------------------------------------------------------------------------------------------------


def test_a_benchmark_service_gets_no_metric_that_an_arm_lacks() -> None:
    found = document(
        entry("a", candidate=None), entry("b", base=None), entry("c", estimated=True, unit="", verdict=None)
    )
    assert gate_formats.action_benchmark(found, "lower") == [
        {"name": "new against old c (estimated)", "unit": "share", "value": 10.5,
         "extra": "base 10, change +5.00 % [+4.00, +6.00], not judged"},
    ]  # fmt: skip
    assert list(gate_formats.bencher(found)["new against old"]) == ["c (estimated)"]


def test_the_bounds_of_a_service_are_those_of_the_change_on_the_base_and_hold_the_value() -> None:
    open_ended = gate_formats.bencher(document(entry(low=None, high=None)))["new against old"]["energy_j"]
    assert open_ended == {"value": 10.5, "lower_value": 10.5, "upper_value": 10.5}
    outside = gate_formats.bencher(document(entry(low=0.06, high=0.07)))["new against old"]["energy_j"]
    assert outside == pytest.approx({"value": 10.5, "lower_value": 10.5, "upper_value": 10.7})
    below = gate_formats.bencher(document(entry(low=0.0, high=0.01)))["new against old"]["energy_j"]
    assert below == pytest.approx({"value": 10.5, "lower_value": 10.0, "upper_value": 10.5})


# --- summary ---------------------------------------------------------------------------------------------------------


def test_how_it_was_measured_is_a_sentence_with_its_plurals() -> None:
    assert gate_summary.method(document(entry(), entry("b"))) == (
        "new against old: 10 pairs in 3 starts, 2 gating metrics at alpha 0.05, basis gpu"
    )
    assert gate_summary.method(document(entry(), pairs=1, starts=1, basis=None)) == (
        "new against old: 1 pair in 1 start, 1 gating metric at alpha 0.05, basis none"
    )


def test_remarks_are_failed_checks_reasons_and_notes_in_this_order() -> None:
    found = document(entry(reason="too close"), entry("b"), validity=[PASSED, WARNING, failed_check()], notes=["n"])
    assert gate_summary.remarks(found) == [
        "mind: clocks: apart",
        "not valid: basis: gpu and package",
        "energy_j: too close",
        "n",
    ]


def test_the_terminal_shows_columns_of_one_width_then_remarks_method_error_and_verdict() -> None:
    short = entry("b", "regressed", label="E", base=None, candidate=None, change=None, gates=False)
    found = document(entry(estimated=True), short, validity=[failed_check()], error="it broke", verdict="failed")
    assert gate_summary.terminal(found) == [
        "metric              base    candidate  change                  margin  verdict",
        "\N{BOX DRAWINGS LIGHT HORIZONTAL}" * 80,
        "Energy (estimated)  10.0 J  10.5 J     +5.00 % [+4.00, +6.00]  +3 %    ok",
        f"E (shown only)      {MISSING}       {MISSING}          {MISSING}                       +3 %    regressed",
        "not valid: basis: gpu and package",
        "new against old: 10 pairs in 3 starts, 2 gating metrics at alpha 0.05, basis gpu",
        "it broke",
        "gate: failed: there is nothing to judge",
    ]
    assert gate_summary.terminal(document(error=None))[0].startswith("new against old")


def test_markdown_has_a_line_for_everything() -> None:
    found = document(entry(verdict=None), validity=[WARNING], error="it broke", estimated=True, verdict="failed")
    assert gate_summary.markdown(found).splitlines() == [
        "## ipw gate: failed: there is nothing to judge",
        "",
        "it broke",
        "",
        "**Estimated.** No sensor measures energy here; every joule is guessed from load.",
        "",
        "| metric | base | candidate | change | margin | verdict |",
        "|---|--:|--:|--:|--:|---|",
        r"| Energy | 10.0 J | 10.5 J | \+5.00 % \[\+4.00, \+6.00\] | \+3 % | not judged |",
        "",
        "- mind: clocks: apart",
        "",
        "new against old: 10 pairs in 3 starts, 1 gating metric at alpha 0.05, basis gpu",
    ]
    assert "it broke" not in gate_summary.markdown(document(entry()))
    assert "Estimated" not in gate_summary.markdown(document(entry()))


def test_a_summary_that_a_service_would_drop_is_cut_at_a_million_bytes() -> None:
    many = [entry(f"metric {i}", label="é" * 200, reason="ü" * 500) for i in range(1500)]
    text = gate_summary.markdown(document(*many))
    assert 999_990 < len(text.encode()) <= 1_000_000
    assert text.startswith("## ipw gate: ok")
