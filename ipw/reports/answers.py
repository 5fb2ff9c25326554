"""A few wrong answers of a run as text: read alone, since those of all queries may be gigabytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ipw.runs.checks.tries import counted
from ipw.runs.directory import RunDir
from ipw.runs.queries import Queries

MOST_WRONG = 5
SHOWN = ("query_id", "question", "subject", "status", "error", "response", "answer")
Answer = dict[str, str]
"""The columns `SHOWN` of one query; '' where there is none."""


def wrong_answers(run: RunDir, queries: Queries) -> list[Answer]:
    """Read up to `MOST_WRONG` answers that scored below a half, spread over the run."""
    wrong = np.flatnonzero(queries.numbers["score"] < 0.5)
    rows = wrong[np.linspace(0, len(wrong) - 1, min(len(wrong), MOST_WRONG)).astype(np.int64)].tolist()
    return [{name: _text(record.get(name)) for name in SHOWN} for record in _records(run, rows)] if rows else []


def _records(run: RunDir, rows: Sequence[int]) -> list[dict[str, Any]]:
    """Rows by number, in rising order, of the table or else of the journal."""
    path = run.path / "queries.parquet"
    if not path.is_file():
        wanted = set(rows)
        return [record for row, record in enumerate(counted(run)) if row in wanted]
    import pyarrow.parquet as pq

    found: list[dict[str, Any]] = []
    with pq.ParquetFile(path) as file:
        columns = [name for name in SHOWN if name in file.schema_arrow.names]
        first = 0
        for group in range(file.num_row_groups):
            count = file.metadata.row_group(group).num_rows
            mine = [row - first for row in rows if first <= row < first + count]
            if mine:
                found += file.read_row_group(group, columns).take(mine).to_pylist()
            first += count
    return found


def _text(x: object) -> str:
    return x if isinstance(x, str) else ""
