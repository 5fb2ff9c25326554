"""Reads what the chart of costs shows: requests of a run whose joules were divided by the steps of its engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from ipw.metrics.metric import number
from ipw.metrics.stats import Array
from ipw.metrics.validity.steps import BY_STEPS
from ipw.runs.directory import RunDir
from ipw.runs.recorded import Recorded, part_of

COLUMNS = ("prompt_tokens", "cached_tokens", "completion_tokens", "start_ns", "end_ns", "net_energy_j")
STEP, TOKEN, PROMPT_TOKEN = "step", "token", "prompt token"
FEWEST = 3


class Charged(NamedTuple):
    """Requests of one run, in arrays of one length, and what their engine's steps cost."""

    tokens: Array
    """Of the answers."""
    net_j: Array
    in_flight: Array
    """How many were, on average while each was."""
    prompt: float
    """Tokens that a usual request computed before its first."""
    step_j: float
    token_j: float
    prompt_token_j: float


def charged(run: RunDir, manifest: Mapping[str, Any]) -> Charged | None:
    """Read a run's requests and costs; `None` where steps did not serve, or hardly any request has net joules.

    Raises UsageError where the table of the queries is damaged.
    """
    attribution = Recorded(manifest).attribution
    costs = part_of(attribution, "costs")
    step_j, token_j, prompt_token_j = (
        number(part_of(costs, name).get("value")) for name in (STEP, TOKEN, PROMPT_TOKEN)
    )
    if not str(attribution.get("rule")).startswith(BY_STEPS) or step_j is None or token_j is None:
        return None
    columns = _columns(run)
    if columns is None:
        return None
    prompt, cached, tokens, start_ns, end_ns, net_j = columns
    timed = np.isfinite(start_ns) & np.isfinite(end_ns)
    since = start_ns[timed].min() if timed.any() else 0.0
    in_flight = np.full(net_j.size, np.nan)
    in_flight[timed] = mean_in_flight((start_ns[timed] - since) / 1e9, (end_ns[timed] - since) / 1e9)
    kept = np.isfinite(net_j) & np.isfinite(in_flight) & (tokens > 0)
    if int(kept.sum()) < FEWEST:
        return None
    computed = (prompt - np.nan_to_num(cached))[kept]
    usual = float(np.nanmedian(computed)) if np.isfinite(computed).any() else 0.0
    return Charged(tokens[kept], net_j[kept], in_flight[kept], usual, step_j, token_j, prompt_token_j or 0.0)


def _columns(run: RunDir) -> list[Array] | None:
    """Numbers of all queries, NaN where unknown; `None` where a column is not there."""
    import pyarrow as pa

    table = run.read_table("queries", COLUMNS)
    if table is None or set(COLUMNS) - set(table.column_names):
        return None
    return [table[name].cast(pa.float64()).to_numpy(zero_copy_only=False) for name in COLUMNS]


def mean_in_flight(start_s: Array, end_s: Array) -> Array:
    """How many requests were in flight on average between the start and the end of each; 1 where it took no time."""
    begun, ended = np.sort(start_s), np.sort(end_s)

    def passed(at: Array) -> Array:
        return _seconds(at, begun) - _seconds(at, ended)

    lasted = end_s - start_s
    mean: Array = np.divide(passed(end_s) - passed(start_s), lasted, out=np.ones(lasted.size), where=lasted > 0)
    return mean


def _seconds(at: Array, moments: Array) -> Array:
    """Seconds gone by at each time since each moment before it, added up."""
    count = np.searchsorted(moments, at, "right")
    total: Array = count * at - np.concatenate([[0.0], np.cumsum(moments)])[count]
    return total
