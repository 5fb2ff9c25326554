from __future__ import annotations

import json
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipw.gate.document import EXIT_CODES, gate_document
from ipw.gate.formats import action_benchmark, badge, bencher, github_annotations, junit
from ipw.gate.text import markdown, terminal

HOSTILE = "a|b\n::error::x\r%0A<script>alert(1)</script>`$(id)` ]]> [x](y) \x1b[31m\x00\ud800"


def entry(name: str = "energy_j", verdict: str | None = "ok", **changes: Any) -> dict[str, Any]:
    return {
        "metric": name, "label": "Energy", "unit": "J", "better": "lower", "gates": True, "margin": 0.03,
        "change_in": "fraction", "estimated": False, "verdict": verdict, "change": 0.05, "low": 0.04, "high": 0.06,
        "n": 10, "p_regressed": 0.001, "p_adjusted": 0.002, "pairs_needed": None, "reason": None, "base": 10.0,
        "candidate": 10.5, "log_ratios": [0.05],
    } | changes  # fmt: skip


def document(*metrics: dict[str, Any], verdict: str = "ok", **changes: Any) -> dict[str, Any]:
    return {
        "schema_version": 1, "verdict": verdict, "exit_code": EXIT_CODES[verdict], "error": None,
        "case": "new against old",
        "alpha": 0.05, "pairs": 10, "starts": 3, "family": len(metrics), "basis": "gpu", "estimated": False,
        "host": {"name": "bench"}, "validity": [], "metrics": list(metrics), "runs": [], "notes": [],
    } | changes  # fmt: skip


def failed_check(detail: str = "gpu and package") -> dict[str, Any]:
    return {"check": "basis", "ok": False, "detail": detail, "level": "error"}


def test_without_runs_there_is_still_a_document_that_says_what_failed() -> None:
    found = gate_document([], [], [], None, case="a against b", facts={}, error="the server died")
    assert (found["verdict"], found["exit_code"], found["error"]) == ("failed", 5, "the server died")
    json.dumps(found, allow_nan=False)


def test_annotations_tell_the_worst_first_and_never_more_than_ten() -> None:
    metrics = [entry(f"m{i}", "regressed") for i in range(12)] + [entry("open", "inconclusive")]
    lines = github_annotations(document(*metrics, verdict="regressed", validity=[failed_check()]))
    assert len(lines) == 10
    assert lines[0].startswith("::error title=ipw gate%3A invalid%3A basis::")
    assert lines[-1].endswith("5 more: see gate.json")


def test_an_ok_gate_annotates_nothing_and_an_estimate_is_always_told() -> None:
    assert github_annotations(document(entry())) == []
    assert "estimate from load" in github_annotations(document(entry(), estimated=True))[0]


def test_what_is_only_shown_warns_and_fails_nothing() -> None:
    shown = document(entry(verdict="regressed", gates=False))
    assert github_annotations(shown)[0].startswith("::warning ")
    assert "<failure" not in junit(shown)


@pytest.mark.parametrize(
    ("verdict", "element"), [("ok", None), ("regressed", "failure"), ("inconclusive", "skipped"), (None, "skipped")]
)
def test_junit_has_a_case_a_metric_and_one_for_validity(verdict: str | None, element: str | None) -> None:
    suite = ET.fromstring(junit(document(entry(verdict=verdict), entry("latency_p50_s"))))[0]
    assert [case.get("name") for case in suite.iter("testcase")] == ["validity", "energy_j", "latency_p50_s"]
    assert suite.get("tests") == "3"
    found = suite.findall("testcase")[1]
    assert [child.tag for child in found if child.tag != "properties"] == ([element] if element else [])


def test_junit_tells_an_invalid_session_as_an_error() -> None:
    suite = ET.fromstring(junit(document(entry(verdict=None), verdict="invalid", validity=[failed_check()])))[0]
    assert (suite.get("errors"), suite.get("failures")) == ("1", "0")


def test_the_badge_says_the_verdict_and_whether_it_rests_on_estimates() -> None:
    assert badge(document(entry())) == {
        "schemaVersion": 1, "label": "ipw gate", "message": "ok", "color": "brightgreen"
    }  # fmt: skip
    assert badge(document(entry(), estimated=True))["message"] == "ok (estimated)"


def test_benchmark_services_get_values_by_direction_with_bounds() -> None:
    accuracy = entry("accuracy", better="higher", change_in="points", base=0.9, candidate=0.88, low=-0.03, high=-0.01)
    found = document(entry(), accuracy)
    assert [each["name"] for each in action_benchmark(found, "lower")] == ["new against old energy_j"]
    assert [each["value"] for each in action_benchmark(found, "higher")] == [0.88]
    measures = bencher(found)["new against old"]
    assert measures["energy_j"] == pytest.approx({"value": 10.5, "lower_value": 10.4, "upper_value": 10.6})
    assert measures["accuracy"]["lower_value"] == pytest.approx(0.87)


def test_markdown_and_terminal_show_the_verdict_the_change_and_what_is_not_valid() -> None:
    found = document(entry(verdict=None), verdict="invalid", validity=[failed_check()], estimated=True)
    text = markdown(found)
    assert "## ipw gate: invalid" in text
    assert "**Estimated.**" in text
    assert "not valid: basis: gpu and package" in text
    assert terminal(found)[-1].startswith("gate: invalid")
    assert "+5.00 % [+4.00, +6.00]" in "\n".join(terminal(document(entry())))


@given(st.text(max_size=40) | st.just(HOSTILE))
def test_no_text_breaks_out_of_any_form(text: str) -> None:
    metrics = [entry(text, "regressed", label=text, reason=text), entry(text, "inconclusive", reason=text)]
    found = document(*metrics, verdict="regressed", case=text, validity=[failed_check(text)], notes=[text], error=text)
    for line in github_annotations(found):
        assert line.startswith(("::error title=", "::warning title="))
        assert len(line.splitlines()) == 1
    assert ET.fromstring(junit(found).encode("utf-8", "replace")).tag == "testsuites"
    table = [line for line in markdown(found).splitlines() if line.startswith("|")]
    assert len(table) == 2 + len(metrics)
    assert all(line.replace("\\|", "").count("|") == 7 for line in table)
    assert "<script" not in markdown(found)
    for form in (badge(found), bencher(found), action_benchmark(found, "lower")):
        json.dumps(form, allow_nan=False)
