"""Scores of a stored run: files beside the journal, of which the newest whole one counts. The journal stays as it is.

`scores-1.jsonl`, `scores-2.jsonl`, …: a first line says how was scored, and each further line scores one query, by its
place in the journal. A scoring that was interrupted goes on where it stopped.
"""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ipw.errors import UsageError
from ipw.foreign_json import parsed
from ipw.runs.checks.digests import digest
from ipw.runs.directory import RunDir
from ipw.runs.files import appending, unwritable
from ipw.shapes import misfit

ROW = {"query_id?": str, "score!?": float, "parsed?": bool}
FACTS = {"scorer!": str}
SCORE_AGAIN = "`ipw score RUN --scorer NAME` scores again"

Floats = npt.NDArray[np.float64]


class Scores(NamedTuple):
    """Columns over the queries of the journal; NaN where unknown."""

    score: Floats
    parsed: Floats


class ScoreFile:
    """One scoring as it is written: `done` rows are there already."""

    def __init__(self, path: Path, facts: Mapping[str, Any]) -> None:
        self.path = path
        with self._told():
            file = appending(path, lines=True)  # a torn tail is scored again
            with path.open("rb") as written:
                lines = sum(1 for _ in written)
            self._file = io.BufferedWriter(file)
        self.done = max(0, lines - 1)
        if lines == 0:
            self._line(facts)

    def append(self, row: Mapping[str, Any]) -> None:
        """Write the score of the next query."""
        self._line(row)
        self.done += 1

    def _line(self, record: Mapping[str, Any]) -> None:
        with self._told():
            self._file.write(json.dumps(record, separators=(",", ":")).encode() + b"\n")

    def flush(self) -> None:
        """Hand what was written to the operating system, so that a crash keeps it."""
        with self._told():
            self._file.flush()

    def close(self) -> None:
        """Close the file."""
        with self._told():
            self._file.close()

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise unwritable(self.path, error) from None


def open_scores(run: RunDir, facts: Mapping[str, Any]) -> ScoreFile:
    """Go on with the newest scoring if it is of these `facts` and not whole, else begin a new one."""
    paths = score_files(run)
    if paths and _facts(paths[-1]) == dict(facts) and not _whole(run, paths[-1]):
        return ScoreFile(paths[-1], facts)
    return ScoreFile(run.path / f"scores-{len(paths) + 1}.jsonl", facts)


def score_files(run: RunDir) -> list[Path]:
    """All scorings, the newest last."""
    return sorted(run.path.glob("scores-*.jsonl"), key=lambda path: (len(path.name), path.name))


def keep_digest(run: RunDir, path: Path) -> None:
    """Write into the manifest what a scoring that is whole was, so that a change of it is told."""
    known = run.manifest().get("recorded") or {}
    files = known.get("files") or {}
    run.update_manifest(recorded=known | {"files": files | {path.name: digest(path)}})


def newest_scores(run: RunDir, queries: int) -> tuple[Scores, dict[str, Any]] | None:
    """Read the newest scoring of all `queries`, and how it was made; `None` where there is none.

    Raises UsageError where a line of it cannot be read.
    """
    for path in reversed(score_files(run)):
        scores = np.full((2, queries), np.nan)
        count = 0
        for count, row in enumerate(_rows(path), 1):
            if misfit(row, ROW):
                raise UsageError(f"{path}: line {count + 1} cannot be read", SCORE_AGAIN)
            if count <= queries:
                scores[:, count - 1] = _number(row.get("score")), _number(row.get("parsed"))
        if count == queries and count:
            facts = _facts(path)
            if misfit(facts, FACTS):
                raise UsageError(f"{path}: its first line does not say how was scored", SCORE_AGAIN)
            return Scores(*scores), {"file": path.name} | facts
    return None


def _whole(run: RunDir, path: Path) -> bool:
    return sum(1 for _ in _rows(path)) >= sum(1 for _ in run.journal("query"))


def _facts(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return _object(file.readline())


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    with path.open("rb") as file:
        for line in islice(file, 1, None):
            if line.endswith(b"\n"):
                yield _object(line)


def _object(line: bytes) -> dict[str, Any]:
    try:
        found = parsed(line)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _number(x: object) -> float:
    return float(x) if isinstance(x, bool | int | float) else np.nan
