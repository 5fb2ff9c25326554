"""The phases of queries as leaf spans: prefill up to the first token, decode behind it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ipw.energy.timeline import Spans

Ints = npt.NDArray[np.int64]

PHASES = ("prefill", "decode", "query")
"""`query` is all of a query whose first token came at no known moment."""
PREFILL, DECODE, WHOLE = range(3)
MISSING = -1


class Timing(NamedTuple):
    """Queries as columns of one length; what is not known is `MISSING`."""

    start_ns: Ints
    first_token_ns: Ints
    end_ns: Ints
    prompt_tokens: Ints
    cached_tokens: Ints
    completion_tokens: Ints


def query_spans(timing: Timing) -> Spans:
    """Leaf spans in the order of the queries, which own them; the work of a span is the tokens that it processed.

    Those of a prefill are the prompt's that were not cached, and it yields the first token of the answer; those of a
    decode are the tokens that follow.
    """
    queries = np.arange(timing.start_ns.size)
    split = timing.first_token_ns != MISSING
    prompt = np.maximum(timing.prompt_tokens - np.maximum(timing.cached_tokens, 0), 1)
    produced = np.maximum(timing.completion_tokens, 0)
    middle = np.where(split, timing.first_token_ns, timing.end_ns)
    owner = np.concatenate([queries, queries[split]])
    order = np.argsort(owner, kind="stable")  # a query's first span, then its decode

    def joined(first: Ints, second: Ints) -> Ints:
        return np.concatenate([first, second[split]])[order]

    return Spans(
        start_ns=joined(timing.start_ns, middle),
        end_ns=joined(middle, timing.end_ns),
        phase=joined(np.where(split, PREFILL, WHOLE), np.full(queries.size, DECODE)),
        phases=PHASES,
        owner=owner[order],
        work=joined(np.where(split, prompt, prompt + produced), np.maximum(produced - 1, 0)).astype(np.float64),
        owners=queries.size,
    )


def first_owners(spans: Spans, owners: int) -> Spans:
    """Keep the spans of the first so many owners, by whom they are ordered."""
    count = int(np.searchsorted(spans.owner, owners))
    return Spans(
        start_ns=spans.start_ns[:count],
        end_ns=spans.end_ns[:count],
        phase=spans.phase[:count],
        phases=spans.phases,
        owner=spans.owner[:count],
        work=spans.work[:count],
        owners=owners,
    )
