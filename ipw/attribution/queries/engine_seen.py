"""What kind of engine answered a run's requests, as their chunks tell."""

from __future__ import annotations

import numpy as np

from ipw.attribution.queries.phases import Timing
from ipw.energy.steps.arrivals import Arrivals, Requests
from ipw.energy.steps.engine import Engine, engine_of
from ipw.runs.arrivals import Chunks

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
    order = np.argsort(t_ns, kind="stable")
    return Arrivals(t_ns[order], chunks.tokens[order], chunks.row[order])
