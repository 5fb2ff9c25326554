"""Makes the directory of a run that was cut off ready to be gone on with."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ipw.runs.directory import PAGE, SUMMARY, RunDir
from ipw.runs.files import replacing
from ipw.runs.journal import Journal
from ipw.runs.readings import READINGS, STATUS_CODES
from ipw.system import await_end, command_line, processes

DERIVED = (SUMMARY, PAGE, "queries.parquet", "spans.parquet", "tasks.parquet", "tools.parquet", "power.parquet")

SAMPLER_S = 10.0


def prepare(run: RunDir) -> None:
    """Lay open the readings, mark what was measured without a mark, and take away what was derived.

    Every channel gets a record that it was lost: nobody knows what was drawn until the sampler is back.
    """
    readings = run.readings()
    last = [readings[readings["channel"] == index][-1:] for index in np.unique(readings["channel"])]
    ends = np.concatenate([readings[:0], *last])
    lost = np.zeros(ends.size, readings.dtype)
    lost["t_ns"], lost["value"] = ends["t_ns"] + 1, np.nan
    lost["channel"], lost["status"] = ends["channel"], STATUS_CODES["lost"]
    with replacing(run.path / READINGS, durable=True) as file:
        file.write(np.concatenate([readings, lost]).tobytes())
    mark(run)
    for name in DERIVED:
        (run.path / name).unlink(missing_ok=True)


def mark(run: RunDir) -> None:
    """Mark as measured what was, where the run was killed before its window ended."""
    with Journal(run) as journal:
        if window := _unmarked(run):
            start_ns, end_ns = window
            span = {"name": "measure", "phase": "measure", "start_ns": start_ns, "end_ns": end_ns, "recovered": True}
            journal.append("span", span)


@contextlib.contextmanager
def restored_on_error(run: RunDir) -> Iterator[None]:
    """Take back what sensors wrote where the next part does not even begin, which the manifest tells."""
    _await_sampler(run)
    manifest, before = run.manifest(), run.readings()
    try:
        yield
    except BaseException:
        if run.manifest() == manifest and (run.path / READINGS).is_file():
            os.truncate(run.path / READINGS, before.nbytes)
        raise


def _await_sampler(run: RunDir) -> None:
    """Let the sampler of the part before, which soon sees that its parent is gone, write what it has."""
    for pid in processes():
        words = command_line(pid)
        if "ipw.profilers.sampler.process" in words and any(Path(word).name == run.path.name for word in words):
            await_end(pid, SAMPLER_S)


def _unmarked(run: RunDir) -> tuple[int, int] | None:
    """From the first to the last moment of the queries behind the last window that was marked as measured."""
    marked = max((s["end_ns"] for s in run.journal("span") if s.get("phase") == "measure"), default=-1)
    start_ns: int | None = None
    end_ns = marked
    for query in run.journal("query"):
        begun_ns, ended_ns = query.get("start_ns"), query.get("end_ns")
        if begun_ns is not None and ended_ns is not None and begun_ns > marked:
            start_ns = begun_ns if start_ns is None else min(start_ns, begun_ns)
            end_ns = max(end_ns, ended_ns)
    return None if start_ns is None else (start_ns, end_ns)
