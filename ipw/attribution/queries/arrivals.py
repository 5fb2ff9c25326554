"""When the chunks of a run's answers came, read for its requests and held against its journal."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ipw.attribution.queries.phases import MISSING, Timing
from ipw.runs.arrivals import ARRIVALS, UNIT_NS, Chunks, read_chunks
from ipw.runs.directory import RunDir

Ints = npt.NDArray[np.int64]


def read_arrivals(run: RunDir, timing: Timing, at: Ints) -> tuple[Chunks | None, dict[str, Any]]:
    """Read the chunks of requests whose blocks begin `at` those places; `None` where the run has kept none.

    Returns what could be read for the manifest too. A block that is not of the request that points at it, by its first
    token, is none. Raises UsageError where the file is damaged.
    """
    path = run.path / ARRIVALS
    cut = (run.manifest().get("arrivals") or {}).get("cut_bytes")
    facts: dict[str, Any] = {"cut_bytes": cut} if cut else {}
    if not path.is_file():
        return None, facts | {"requests": 0, "chunks": 0, "missing": int((at != MISSING).sum())}
    read = read_chunks(path, at)
    row, since_ns, tokens = chunks = read.chunks
    first = read.first[read.first < row.size]  # a block may hold no chunk
    late_ns = timing.first_token_ns[row[first]] - timing.start_ns[row[first]] - since_ns[first]
    foreign = row[first][(late_ns < 0) | (late_ns >= UNIT_NS)]
    if foreign.size:
        mine = ~np.isin(row, foreign)
        chunks = Chunks(row[mine], since_ns[mine], tokens[mine])
    facts |= {
        "requests": read.first.size - foreign.size,
        "chunks": chunks.row.size,
        "missing": read.missing + foreign.size,
    }
    facts |= {"torn_bytes": read.torn_bytes} if read.torn_bytes else {}
    return (chunks if chunks.row.size else None), facts
