"""Digests of the files that a summary stands on, kept in it: a table of another journal is told by them."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from ipw.runs.arrivals import ARRIVALS
from ipw.runs.directory import MANIFEST, RunDir
from ipw.runs.readings import READINGS, RECORD

PATTERNS = ("journal*.jsonl", ARRIVALS, "scores-*.jsonl", "routing-*.safetensors", "*.parquet")
BLOCK = 1 << 20
RAW = (ARRIVALS, "journal-rank*.jsonl", "routing-*.safetensors")
"""What a run leaves beside its journal and its readings."""


def digests(run: RunDir, known: Mapping[str, str]) -> dict[str, str]:
    """SHA-256 of the manifest, the journals, the readings, the scores and the tables; of some it is `known` already."""
    paths = sorted(path for pattern in (MANIFEST, *PATTERNS) for path in run.path.glob(pattern))
    return {path.name: known.get(path.name) or digest(path) for path in paths}


def raw_digests(run: RunDir) -> dict[str, str]:
    """SHA-256 of what the run left beside its journal and its readings, by name."""
    return {path.name: digest(path) for pattern in RAW for path in sorted(run.path.glob(pattern))}


def readings_digest(run: RunDir) -> str:
    """SHA-256 of all whole readings, the same in `power.bin` and in the table that is made of it."""
    path = run.path / READINGS
    if not path.is_file():
        return hashlib.sha256(run.readings().tobytes()).hexdigest()
    sha256, left = hashlib.sha256(), run.reading_count() * RECORD.size
    with path.open("rb") as file:
        while left and (block := file.read(min(left, BLOCK))):
            sha256.update(block)
            left -= len(block)
    return sha256.hexdigest()


SUMMARISED, LEFT = "the one that the summary was made with", "as it was written"


def altered(run: RunDir, files: Mapping[str, object], then_was: str = SUMMARISED) -> Iterator[str]:
    """Say which of the files whose digests are given are no longer those."""
    for name, before in files.items():
        path = run.path / Path(name).name
        try:
            now = digest(path)
        except OSError:
            yield f"{path.name} is gone"
        else:
            if now != before:
                yield f"{path.name} is not {then_was}"


def digest(path: Path) -> str:
    """SHA-256 of a file; one that has not changed since is not read again. Raises OSError."""
    state = path.stat()
    return _digest(path, state.st_ino, state.st_size, state.st_mtime_ns)


@functools.lru_cache(maxsize=4096)
def _digest(path: Path, *_: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
