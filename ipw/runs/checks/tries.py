"""Questions that were asked again, by `ipw resume`: of several tries of one, the last counts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ipw.runs.directory import RunDir

CUT_OFF, PROBE = "cut_off", "probe"
"""Kinds of the journal's records of questions that were on their way when the run ended, or that a lost server was
asked, so that they are open; and of what a server was asked to see whether it is there."""
APART = ("warmup", CUT_OFF, PROBE)
"""What was asked beside the questions that count: it says what the devices were busy with."""


def replaced(run: RunDir) -> frozenset[int]:
    """Rows, counted among the journal's queries from 0, that failed and whose question was asked again later."""
    if not run.manifest().get("resumed"):
        return frozenset()  # nobody else asks a question twice
    failed: dict[str, int] = {}
    rows: set[int] = set()
    begun: dict[str, tuple[int, list[int]]] = {}
    for row, record in enumerate(run.journal("query")):
        if (attempt := record.get("attempt")) is not None:  # a task that was cut begins anew
            task = str(record.get("task"))
            before, mine = begun.get(task, (attempt, []))
            rows.update(mine if attempt > before else ())
            begun[task] = (attempt, [row] if attempt > before else [*mine, row])
            continue
        name = str(record.get("query_id"))
        if name in failed:
            rows.add(failed.pop(name))
        if record.get("status") != "ok":
            failed[name] = row
    return frozenset(rows)


def counted(run: RunDir) -> Iterator[dict[str, Any]]:
    """Yield the journal's queries in its order, without the tries that a later one replaced."""
    gone = replaced(run)
    return (record for row, record in enumerate(run.journal("query")) if row not in gone)
