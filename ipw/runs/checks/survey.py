"""What lies in a run's folder: its journal's lines, counted and held to be whole, its digest, and the marks in it."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ipw.registry import workload
from ipw.runs.checks.digests import LEFT, altered, raw_digests, readings_digest
from ipw.runs.checks.record import Found, Ints
from ipw.runs.checks.tries import counted, replaced
from ipw.runs.directory import RunDir
from ipw.runs.journal_lines import JOURNAL, KINDS, RANK_JOURNALS
from ipw.runs.readings import READINGS, RECORD
from ipw.runs.run_shapes import record_of

BLOCK = 1 << 20
QUERY, BETWEEN_QUERIES = b'{"kind":"query",', b'}\n{"kind":"query",'
MARKS = {"query": ("query_id", "start_ns", "end_ns"), "step": ("step", "start_ns", "end_ns")}
"""Without which a line says nothing."""
MEASURED = "measure"
"""Phase of the measured window."""
ROWS = {"queries": "query", "spans": "span"}
"""Of tables that hold a row for each line of a kind, where the workload has such a table."""


def recorded(run: RunDir, readings: int | None) -> dict[str, Any]:
    """What the manifest keeps of a run that ends now: what it left, and how many readings its sampler wrote."""
    scan = _Scan()
    scan.read(run.path / JOURNAL, main=True)
    told = {"readings": readings, "readings_sha256": readings_digest(run), "files": raw_digests(run)}
    return {"journal": scan.journal(), **told}


def tail_bytes(run: RunDir) -> int:
    """How many bytes stand behind the last whole record of `power.bin`."""
    path = run.path / READINGS
    return path.stat().st_size % RECORD.size if path.is_file() else 0


def survey_derived(run: RunDir, cut_bytes: int) -> Found:
    """Look at a run whose tables were made from its journal just now; `cut_bytes` were behind its last reading."""
    found = _scanned(run)
    kind = (run.manifest().get("workload") or {}).get("kind")
    known = workload(kind)
    name = (known.table or None) if known else None
    table = run.read_table(name, ("query_id", "start_ns", "end_ns")) if name else None
    if name is None or table is None:
        return replace(found, cut_bytes=cut_bytes)
    table = table.drop_null()  # a line without a name or a time was read, and is none
    rows = {ROWS[name]: table.num_rows + (len(replaced(run)) if name == "queries" else 0)}
    if name == "queries":
        times = {key: table[key].to_numpy() for key in ("start_ns", "end_ns")}
        found = replace(found, query_id=table["query_id"].to_pylist(), **times)
    return replace(found, rows=rows, cut_bytes=cut_bytes)


def survey_raw(run: RunDir) -> Found:
    """Look at a run by its journal and readings alone."""
    queries = [query for query in counted(run) if all(query.get(name) is not None for name in MARKS["query"])]
    return replace(
        _scanned(run),
        rows={"query": len(queries) + len(replaced(run))},
        query_id=[query["query_id"] for query in queries],
        start_ns=_ints([query["start_ns"] for query in queries]),
        end_ns=_ints([query["end_ns"] for query in queries]),
        cut_bytes=tail_bytes(run),
    )


def _ints(values: list[int]) -> Ints:
    return np.array(values, np.int64)


def _scanned(run: RunDir) -> Found:
    scan = _Scan()
    scan.read(run.path / JOURNAL, main=True)
    for path in sorted(run.path.glob(RANK_JOURNALS)):
        scan.read(path, main=False)
    return Found(
        journal=scan.journal(),
        lines=scan.lines,
        damaged=scan.damaged,
        unknown=set(scan.lines) - set(KINDS),
        windows=scan.windows,
        steps=scan.steps,
        readings=run.reading_count(),
        readings_sha256=readings_digest(run),
        altered=list(altered(run, (run.manifest().get("recorded") or {}).get("files") or {}, LEFT)),
        manifest_is_whole=run.manifest_is_whole(),
    )


class _Scan:
    """One pass over journals. Of queries, of which there are many, only how a line begins and ends is looked at."""

    def __init__(self) -> None:
        self.lines: Counter[str] = Counter()
        self.damaged = 0
        self.windows: list[tuple[int, int]] = []
        self.steps: list[tuple[str, int]] = []
        self._sha256, self._bytes = hashlib.sha256(), 0

    def journal(self) -> dict[str, Any]:
        """Length and digest of the main journal."""
        return {"bytes": self._bytes, "sha256": self._sha256.hexdigest()}

    def read(self, path: Path, *, main: bool) -> None:
        """Look at a whole file; none is no error."""
        if not path.is_file():
            return
        with path.open("rb") as file:
            while block := file.read(BLOCK):
                block += file.readline()
                if main:
                    self._sha256.update(block)
                    self._bytes += len(block)
                self._look(block)

    def _look(self, block: bytes) -> None:
        count = block.count(b"\n")
        if block.startswith(QUERY) and block.endswith(b"}\n") and block.count(BETWEEN_QUERIES) == count - 1:
            self.lines["query"] += count
            return
        *lines, tail = block.split(b"\n")
        self.damaged += bool(tail)
        for line in lines:
            self._line(line)

    def _line(self, line: bytes) -> None:
        if line.startswith(QUERY) and line.endswith(b"}"):
            self.lines["query"] += 1
            return
        record = record_of(line)
        if record is None:
            self.damaged += 1
            return
        kind = record["kind"]
        if any(record.get(name) is None for name in MARKS.get(kind, ())):
            self.damaged += 1
            return
        self.lines[kind] += 1
        if kind == "span" and record.get("phase") == MEASURED:
            self.windows.append((record["start_ns"], record["end_ns"]))
        if kind == "step":
            self.steps.append((str(record.get("method")), record["step"]))
