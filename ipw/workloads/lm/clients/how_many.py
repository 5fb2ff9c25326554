"""How many processes ask: as many as were asked for, or as the load needs."""

from __future__ import annotations

import math
import os

from ipw.workloads.lm.plan import Plan

MOST_PROCESSES = 64
TOKENS_PER_S = 8000.0
"""That one process takes with ease: a quarter to a half of a processor, at 30 to 60 µs a token (tools/bench/client.py).
"""
STREAM_TOKENS_PER_S, ANSWER_TOKENS = 50.0, 256
"""Of one request in flight, and of one answer, where nobody knows better. A server that is faster than that shows: the
run says that its client was the bottleneck."""


def processes_for(planned: Plan) -> int:
    """Say how many; by default at most as many as there are processors, and mostly 1."""
    parameters = planned.parameters
    if parameters.clients is not None:
        return parameters.clients
    in_flight = min(parameters.in_flight, len(planned.dataset.questions))
    tokens_per_s = in_flight * STREAM_TOKENS_PER_S
    if parameters.rate is not None:
        longest = planned.dataset.request.get("max_tokens") or min(
            parameters.max_tokens or ANSWER_TOKENS, ANSWER_TOKENS
        )
        tokens_per_s = min(tokens_per_s, parameters.rate * float(longest))
    return max(1, min(math.ceil(tokens_per_s / TOKENS_PER_S), _processors(), MOST_PROCESSES))


def _processors() -> int:
    """How many this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
