"""What a server tells of itself at `/metrics`: tokens, steps and requests, before a run asks it and after.

In the text format of Prometheus. Names as vLLM (from 0.5 on), SGLang and llama.cpp's server have them; versions differ
in the sign behind the prefix (`:` or `_`) and in whether a counter ends in `_total`. It is a check and nothing else.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Mapping
from typing import NamedTuple

from ipw.clock import now_ns
from ipw.workloads.lm.http.client import MAX_DOCUMENT, get
from ipw.workloads.lm.http.parser import HttpError
from ipw.workloads.lm.http.transport import Transport
from ipw.workloads.lm.servers.endpoint import Endpoint

PATIENCE_S = 2.0
LONGEST_LINE = 4096
MOST = 1e15
NAMES: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "vllm": {
        "prompt_tokens": ("prompt_tokens",),
        "generated_tokens": ("generation_tokens",),
        "cached_tokens": ("prefix_cache_hits", "gpu_prefix_cache_hits"),
        "steps": ("iteration_tokens_total_count",),
        "running": ("num_requests_running",),
        "waiting": ("num_requests_waiting",),
        "draft_tokens": ("spec_decode_num_draft_tokens",),
        "accepted_tokens": ("spec_decode_num_accepted_tokens",),
    },
    "sglang": {
        "prompt_tokens": ("prompt_tokens",),
        "generated_tokens": ("generation_tokens",),
        "cached_tokens": ("cached_tokens",),
        "running": ("num_running_reqs",),
        "waiting": ("num_queue_reqs",),
    },
    "llamacpp": {
        "computed_prompt_tokens": ("prompt_tokens",),
        "generated_tokens": ("tokens_predicted",),
        "cached_tokens": ("prompt_tokens_cached",),
        "steps": ("n_decode",),
        "running": ("requests_processing",),
        "waiting": ("requests_deferred",),
        "draft_tokens": ("spec_decode_num_draft_tokens",),
        "accepted_tokens": ("spec_decode_num_accepted_tokens",),
    },
}
"""Of each engine our names, and its own by preference. llama.cpp counts the prompt tokens that no cache held."""
LINE = re.compile(rf"({'|'.join(NAMES)})[:_](\w+)(?:\{{(.*)\}})?\s+(\S+)(?:\s+-?\d+)?\s*")
OTHER_RANK = re.compile(r'\b(?:tp|pp)_rank="(?!0")')
"""Ranks that compute one request together count it once each."""


class Told(NamedTuple):
    """What a server told at one moment."""

    engine: str
    values: dict[str, float]
    """By our names, and the moment as `t_ns`."""


def server_metrics(endpoint: Endpoint) -> Told | None:
    """Ask the server; `None` where it does not tell, in time or at all."""
    try:
        return asyncio.run(_asked(endpoint))
    except (OSError, HttpError, ValueError):
        return None


async def _asked(endpoint: Endpoint) -> Told | None:
    url = endpoint.url._replace(path=endpoint.url.path.removesuffix("/v1"))
    async with asyncio.timeout(PATIENCE_S), Transport(url, endpoint.key) as transport:
        status, document = await get(transport, "/metrics")
    whole = status == 200 and len(document) <= MAX_DOCUMENT
    return read_metrics(document.decode(errors="replace"), now_ns()) if whole else None


def read_metrics(text: str, t_ns: int) -> Told | None:
    """Read what is known of it, summed over models and replicas; `None` where nothing is, or where two engines tell."""
    found: dict[str, dict[str, float]] = {}
    for line in text.splitlines():
        told = LINE.fullmatch(line) if len(line) < LONGEST_LINE else None
        value = _number(told[4]) if told and not OTHER_RANK.search(told[3] or "") else None
        if told and value is not None:
            sums = found.setdefault(told[1], {})
            name = told[2] if told[2].endswith("_total_count") else told[2].removesuffix("_total")
            sums[name] = sums.get(name, 0.0) + value
    known = {engine: _known(sums, NAMES[engine]) for engine, sums in found.items()}
    known = {engine: values for engine, values in known.items() if values}
    if len(known) != 1:
        return None
    ((engine, values),) = known.items()
    return Told(engine, {"t_ns": t_ns, **values})


def _known(sums: Mapping[str, float], names: Mapping[str, tuple[str, ...]]) -> dict[str, float]:
    told = {ours: [sums[name] for name in theirs if name in sums] for ours, theirs in names.items()}
    return {ours: values[0] for ours, values in told.items() if values}


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and 0 <= value < MOST else None
