"""Reads what the chart of costs shows: requests of a run whose joules were divided by the steps of its engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ipw.metrics.metric import number
from ipw.metrics.validity.steps import BY_STEPS
from ipw.reports.plots.in_flight import Charged, mean_in_flight
from ipw.runs.directory import RunDir
from ipw.runs.recorded import Recorded, part_of

if TYPE_CHECKING:
    from ipw.metrics.stats import Array

COLUMNS = ("prompt_tokens", "cached_tokens", "completion_tokens", "start_ns", "end_ns", "net_energy_j")
STEP, TOKEN, PROMPT_TOKEN = "step", "token", "prompt token"
FEWEST = 3


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
