"""The comparison as a table for other programs: CSV, JSON and Parquet."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

from ipw.metrics.accounting import questions_of
from ipw.metrics.definitions import definitions_of
from ipw.printable import cell
from ipw.reports.names import model_name, quantisation
from ipw.reports.ranking import Group, Row, Summary, groups
from ipw.reports.tables.by_method import by_method
from ipw.reports.tables.settings import QUESTIONS, in_order, settings

ENDS = ("value", "low", "high")


def records(summaries: Sequence[Summary]) -> list[dict[str, Any]]:
    """One flat record a run: who it is, its settings, and every metric with its ends in plain units.

    All have the same keys in the same order (`settings.in_order`); what is absent is `None`.
    """
    rows = [_record(group, row) for group in groups(by_method(summaries)) for row in group.rows]
    heads = in_order(name for row in rows for name in row)
    return [{name: row.get(name) for name in heads} for row in rows]


def as_csv(summaries: Sequence[Summary]) -> str:
    """Write `records` with one heading; what is absent is empty, text that a spreadsheet would run is quoted."""
    rows = records(summaries)
    heads = list(rows[0]) if rows else []
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(map(cell, heads))
    writer.writerows([cell("" if value is None else value) for value in row.values()] for row in rows)
    return text.getvalue()


def as_json(summaries: Sequence[Summary]) -> str:
    """Write `records` as a list."""
    return json.dumps(records(summaries), indent=1, allow_nan=False) + "\n"


def as_parquet(summaries: Sequence[Summary]) -> bytes:
    """Write `records` as a Parquet file. A column of numbers and texts is one of texts."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = records(summaries)
    columns = {name: _one_type([row[name] for row in rows]) for name in (rows[0] if rows else ())}
    out = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), out)
    found: bytes = out.getvalue().to_pybytes()
    return found


def _one_type(values: list[Any]) -> list[Any]:
    kinds = {type(value) for value in values} - {type(None)}
    if kinds <= {int, float}:
        return values if len(kinds) < 2 else [None if value is None else float(value) for value in values]
    return values if len(kinds) == 1 else [None if value is None else str(value) for value in values]


def _record(group: Group, row: Row) -> dict[str, Any]:
    summary = row.summary
    about = {
        "run": row.name, "run_id": summary.get("run_id"), "label": summary.get("label"),
        "started": summary.get("started"), "workload": group.kind, "model": model_name(summary),
        "quantisation": quantisation(summary), "dataset": group.dataset,
        "basis": summary.get("basis"), "method": summary.get("method"), "estimated": group.estimated,
        "valid": summary.get("valid"), "rank": row.rank, "status": summary.get("status"),
        "apart": ", ".join(row.apart) or None, **settings(summary),
    }  # fmt: skip
    told = questions_of(summary)
    about |= {} if told is None else {f"{QUESTIONS}{name}": value for name, value in told.as_dict().items()}
    numbers: dict[str, Any] = {}
    for name, metric in row.metrics.items():
        if name in definitions_of(group.kind) or metric.get("value") is not None:
            numbers |= {name if end == "value" else f"{name}_{end}": metric.get(end) for end in ENDS}
    return about | numbers
