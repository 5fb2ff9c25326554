"""A gate's document as Markdown for a job's summary, and as lines for a terminal."""

from __future__ import annotations

import re
from typing import Any

from ipw.gate.document import Document
from ipw.gate.formats import change_text, margin_text
from ipw.printable import clean
from ipw.reports.text import MISSING, quantity

MOST_BYTES = 1_000_000
"""GitHub drops a summary of more than 1 MiB."""
HEADS = ("metric", "base", "candidate", "change", "margin", "verdict")
HEADINGS = {
    "ok": "ok: no metric is worse than its margin",
    "regressed": "regressed",
    "inconclusive": "inconclusive: the measurements do not decide",
    "invalid": "invalid: the runs cannot be compared",
    "failed": "failed: there is nothing to judge",
}


def markdown(document: Document) -> str:
    """Write the verdict, a table of the metrics, what is not valid, and how it was measured."""
    lines = [f"## ipw gate: {HEADINGS[document['verdict']]}", ""]
    lines += [_escaped(document["error"]), ""] if document["error"] else []
    if document["estimated"]:
        lines += ["**Estimated.** No sensor measures energy here; every joule is guessed from load.", ""]
    lines += [f"| {' | '.join(HEADS)} |", "|---|--:|--:|--:|--:|---|"]
    lines += [f"| {' | '.join(_escaped(cell) for cell in _cells(entry))} |" for entry in document["metrics"]]
    lines += ["", *(f"- {_escaped(text)}" for text in remarks(document)), "", _escaped(method(document)), ""]
    text = "\n".join(lines)
    return text if len(text.encode()) <= MOST_BYTES else text.encode()[:MOST_BYTES].decode(errors="ignore")


def terminal(document: Document, width: int = 10_000) -> list[str]:
    """Write the same as plain lines, the table in at most `width` columns."""
    from rich.text import Text

    from ipw.reports.tables.fitted import fitted

    rows = [[Text(cell) for cell in _cells(entry)] for entry in document["metrics"]]
    heads = [Text(head) for head in HEADS]
    table = [line.plain for line in fitted(heads, rows, width, left=range(1, len(HEADS)))] if rows else []
    heading = f"gate: {HEADINGS[document['verdict']]}"
    return [*table, *remarks(document), method(document), *([document["error"]] if document["error"] else []), heading]


def remarks(document: Document) -> list[str]:
    """List what the table does not say: failed checks, reasons, notes."""
    found = [
        f"{'not valid' if check['level'] == 'error' else 'mind'}: {check['check']}: {check['detail']}"
        for check in document["validity"]
        if not check["ok"]
    ]
    found += [f"{entry['metric']}: {entry['reason']}" for entry in document["metrics"] if entry["reason"]]
    return [clean(text, 500) for text in [*found, *document.get("notes", [])]]


def method(document: Document) -> str:
    """Say how it was measured, in a sentence."""
    pairs, starts = document["pairs"], document["starts"]
    return clean(
        f"{document['case']}: {pairs} pair{'s' * (pairs != 1)} in {starts} start{'s' * (starts != 1)}, "
        f"{document['family']} gating metric{'s' * (document['family'] != 1)} at alpha {document.get('alpha')}, "
        f"basis {document['basis'] or 'none'}"
    )


def _cells(entry: dict[str, Any]) -> list[str]:
    base, candidate = (
        MISSING if value is None else quantity({"value": value, "unit": entry["unit"]})
        for value in (entry["base"], entry["candidate"])
    )
    label = f"{entry['label']}{' (estimated)' if entry['estimated'] else ''}{'' if entry['gates'] else ' (shown only)'}"
    change = change_text(entry) if entry["change"] is not None else MISSING
    return [clean(label), base, candidate, change, margin_text(entry), entry["verdict"] or "not judged"]


def _escaped(text: object) -> str:
    """Let Markdown show any text as it is, on one line."""
    shown = clean(text, 500).replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"([\\`*_{}\[\]()#+!|~@])", r"\\\1", shown)
