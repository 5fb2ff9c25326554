"""What kind of engine answered a run's requests, as their chunks tell."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ipw.attribution.queries.phases import Timing
from ipw.energy.steps.arrivals import Arrivals, Requests
from ipw.energy.steps.engine import LONG, Engine, engine_of
from ipw.runs.arrivals import Chunks

MICROSECOND_BITS = 10
"""Of a time in nanoseconds: what is less than about a microsecond."""
AT_ONCE = 1 << 22
"""Chunks whose times are made at once, so that memory holds them once."""


def engine_seen(asked: Timing, chunks: Chunks | None) -> Engine | None:
    """Tell the engine of all that was `asked` for, in its order; `None` where no chunks were kept.

    The arrays of `chunks` are used up.
    """
    if chunks is None:
        return None
    return engine_of(_requests(asked), _in_order(asked, chunks))


def _requests(asked: Timing) -> Requests:
    cached = np.maximum(asked.cached_tokens, 0)
    told = asked.prompt_tokens >= 0
    return Requests(
        start_ns=asked.start_ns,
        first_ns=asked.first_token_ns,
        end_ns=asked.end_ns,
        before=np.where(told, np.maximum(asked.prompt_tokens - cached, 1), -1),
        produced=asked.completion_tokens,
        cached=cached,
    )


def _in_order(asked: Timing, chunks: Chunks) -> Arrivals:
    t_ns = chunks.since_ns
    for first in range(0, t_ns.size, AT_ONCE):
        rows = slice(first, first + AT_ONCE)
        t_ns[rows] += asked.start_ns[chunks.row[rows]]
    if t_ns.size > LONG and chunks.tokens.max(initial=1) == chunks.tokens.min(initial=1) == 1:
        return _packed(t_ns, chunks.row, asked.start_ns.size)
    order = np.argsort(t_ns, kind="stable")
    return Arrivals(t_ns[order], chunks.tokens[order], chunks.row[order])


def _packed(t_ns: npt.NDArray[np.int64], row: npt.NDArray[np.int32], rows: int) -> Arrivals:
    """Sort in place, each time to the microsecond beside whose it is in 64 bits, so that memory holds little else."""
    since_ns, bits = int(t_ns.min()), int(rows).bit_length()
    t_ns -= since_ns
    t_ns >>= MICROSECOND_BITS
    t_ns <<= bits
    t_ns |= row
    t_ns.sort()
    np.bitwise_and(t_ns, (1 << bits) - 1, out=row, casting="unsafe")
    t_ns >>= bits
    t_ns <<= MICROSECOND_BITS
    t_ns += since_ns
    return Arrivals(t_ns, np.broadcast_to(np.uint8(1), t_ns.shape), row)
