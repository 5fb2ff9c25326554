"""Digests of the files that a summary stands on, kept in it: a table of another journal is told by them."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from ipw.runs.directory import RunDir

PATTERNS = ("journal*.jsonl", "scores-*.jsonl", "*.parquet")


def digests(run: RunDir, known: Mapping[str, str]) -> dict[str, str]:
    """SHA-256 of the journals, the readings, the scores and the tables, by name; of some it is `known` already."""
    paths = sorted(path for pattern in PATTERNS for path in run.path.glob(pattern))
    return {path.name: known.get(path.name) or digest(path) for path in paths}


def altered(run: RunDir, files: Mapping[str, object]) -> Iterator[str]:
    """Say which of the files that a summary was made from are no longer those."""
    for name, then in files.items():
        path = run.path / Path(name).name
        try:
            now = digest(path)
        except OSError:
            yield f"{path.name} is gone"
        else:
            if now != then:
                yield f"{path.name} is not the one that the summary was made with"


def digest(path: Path) -> str:
    """SHA-256 of a file; one that has not changed since is not read again. Raises OSError."""
    state = path.stat()
    return _digest(path, state.st_ino, state.st_size, state.st_mtime_ns)


@functools.lru_cache(maxsize=4096)
def _digest(path: Path, *_: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
