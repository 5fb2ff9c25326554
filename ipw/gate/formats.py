"""A gate's document in the forms that other programs read; names and reasons may be anything, so each form escapes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree as ET

from ipw.gate.document import Document
from ipw.printable import clean

MOST_ANNOTATIONS = 10
"""GitHub shows no more of a step."""
COLOURS = {"ok": "brightgreen", "regressed": "red", "inconclusive": "yellow", "invalid": "lightgrey", "failed": "grey"}
LONGEST = 400


def github_annotations(document: Document) -> list[str]:
    """Make workflow commands for GitHub: what regressed or is not valid as errors, what else matters as warnings."""
    found = [_command(level, title, text) for level, title, text in _findings(document)]
    if len(found) > MOST_ANNOTATIONS:
        rest = len(found) - MOST_ANNOTATIONS + 1
        found = [*found[: MOST_ANNOTATIONS - 1], _command("warning", "ipw gate", f"{rest} more: see gate.json")]
    return found


def _findings(document: Document) -> Iterator[tuple[str, str, str]]:
    """List what a reviewer should see, the worst first: level, title, text."""
    if document["error"]:
        yield "error", "ipw gate: failed", document["error"]
    for check in document["validity"]:
        if not check["ok"] and check["level"] == "error":
            yield "error", f"ipw gate: invalid: {check['check']}", check["detail"]
    told = [(entry, sentence(entry)) for entry in document["metrics"] if entry["verdict"]]
    for entry, text in told:
        if entry["verdict"] == "regressed" and entry["gates"]:
            yield "error", f"ipw gate: {entry['metric']} regressed", text
    for entry, text in told:
        if entry["verdict"] == "inconclusive" and entry["gates"]:
            yield "warning", f"ipw gate: {entry['metric']} inconclusive", text
        elif entry["verdict"] == "regressed" and not entry["gates"]:
            yield "warning", f"ipw gate: {entry['metric']} regressed (shown only)", text
    if document["estimated"]:
        yield "warning", "ipw gate: estimated", "no sensor measures energy here: every joule is an estimate from load"


def _command(level: str, title: str, text: str) -> str:
    def escaped(value: str, more: dict[str, str]) -> str:
        for char, code in ({"%": "%25", "\r": "%0D", "\n": "%0A"} | more).items():
            value = value.replace(char, code)
        return value

    title, text = clean(title, LONGEST), clean(text, LONGEST)
    return f"::{level} title={escaped(title, {':': '%3A', ',': '%2C'})}::{escaped(text, {})}"


def sentence(entry: dict[str, Any]) -> str:
    """Tell one metric in a line: the change, its bounds, the margin, and what is missing for a verdict."""
    label = f"{entry['label']}{' (estimated)' if entry['estimated'] else ''}"
    parts = [f"{label}: {change_text(entry)}", f"margin {margin_text(entry)}"]
    return ", ".join([*parts, *([str(entry["reason"])] if entry["reason"] else [])])


def change_text(entry: dict[str, Any]) -> str:
    """Write the change with its bounds: `+3.1 % [+2.2, +4.0]`."""
    if entry["change"] is None:
        return "not known"
    unit = "points" if entry["change_in"] == "points" else "%"
    bounds = ["…" if entry[side] is None else f"{100 * entry[side]:+.2f}" for side in ("low", "high")]
    return f"{100 * entry['change']:+.2f} {unit} [{', '.join(bounds)}]"


def margin_text(entry: dict[str, Any]) -> str:
    """Write the margin in the direction of harm."""
    sign = "+" if entry["better"] == "lower" else "\N{MINUS SIGN}"
    return f"{sign}{100 * entry['margin']:g} {'points' if entry['change_in'] == 'points' else '%'}"


def junit(document: Document) -> str:
    """Make JUnit XML: a test case a metric, and one for the validity of the whole."""
    suite = ET.Element("testsuite", name=_xml(f"ipw gate {document['case']}"))
    case = _xml(f"ipw.{document['case']}")
    whole = ET.SubElement(suite, "testcase", classname=case, name="validity", time="0")
    faults = [f"{c['check']}: {c['detail']}" for c in document["validity"] if not c["ok"] and c["level"] == "error"]
    if document["error"] or faults:
        told = [document["error"]] if document["error"] else faults
        error = ET.SubElement(whole, "error", type=document["verdict"], message=_xml(told[0]))
        error.text = _xml("\n".join(told))
    for entry in document["metrics"]:
        _junit_case(ET.SubElement(suite, "testcase", classname=case, name=_xml(entry["metric"])), entry)
    for name, kind in (("tests", "testcase"), ("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(name, str(sum(1 for _ in suite.iter(kind))))
    top = ET.Element("testsuites")
    top.append(suite)
    ET.indent(top)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(top, encoding="unicode") + "\n"


def _junit_case(case: ET.Element, entry: dict[str, Any]) -> None:
    case.set("time", "0")
    properties = ET.SubElement(case, "properties")
    for name in ("verdict", "change", "low", "high", "margin", "p_adjusted", "n", "base", "candidate", "estimated"):
        if entry[name] is not None:
            ET.SubElement(properties, "property", name=name, value=_xml(entry[name]))
    text = _xml(sentence(entry))
    if not entry["gates"]:
        ET.SubElement(case, "system-out").text = f"shown only: {text}"
    elif entry["verdict"] is None:
        ET.SubElement(case, "skipped", message="not judged")
    elif entry["verdict"] == "regressed":
        ET.SubElement(case, "failure", type="regressed", message=text).text = text
    elif entry["verdict"] == "inconclusive":
        ET.SubElement(case, "skipped", message=text)


def _xml(value: object) -> str:
    """Leave out what XML cannot carry, escaped or not."""
    return re.sub(r"[^\t\n\r\x20-\uD7FF\uE000-\uFFFD\U00010000-\U0010FFFF]", "\ufffd", str(value))


def badge(document: Document) -> dict[str, Any]:
    """Make the JSON that shields.io's endpoint badge reads."""
    verdict = document["verdict"]
    message = f"{verdict} (estimated)" if document["estimated"] else verdict
    return {"schemaVersion": 1, "label": "ipw gate", "message": message, "color": COLOURS[verdict]}


def action_benchmark(document: Document, better: str) -> list[dict[str, Any]]:
    """Make the input of github-action-benchmark's `customSmallerIsBetter` (`lower`) or `customBiggerIsBetter`."""
    return [
        {
            "name": f"{document['case']} {_name(entry)}",
            "unit": entry["unit"] or "share",
            "value": entry["candidate"],
            "extra": f"base {entry['base']:.6g}, change {change_text(entry)}, {entry['verdict'] or 'not judged'}",
        }
        for entry in document["metrics"]
        if entry["better"] == better and entry["candidate"] is not None and entry["base"] is not None
    ]


def bencher(document: Document) -> dict[str, Any]:
    """Make Bencher Metric Format: the candidate's value, and where its change against the base ends."""
    measures = {}
    for entry in document["metrics"]:
        value, base = entry["candidate"], entry["base"]
        if value is None or base is None:
            continue
        ends = {}
        for key, side in (("lower_value", "low"), ("upper_value", "high")):
            if entry[side] is not None:
                ends[key] = base + entry[side] if entry["change_in"] == "points" else base * (1 + entry[side])
        lower, upper = ends.get("lower_value", value), ends.get("upper_value", value)
        measures[_name(entry)] = {"value": value, "lower_value": min(lower, value), "upper_value": max(upper, value)}
    return {document["case"]: measures}


def _name(entry: dict[str, Any]) -> str:
    return f"{entry['metric']} (estimated)" if entry["estimated"] else str(entry["metric"])
