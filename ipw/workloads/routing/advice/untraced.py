"""What can be said of a model without a trace: how many whole layers fit, which any routing uses alike."""

from __future__ import annotations

from typing import Any

import numpy as np

from ipw.workloads.routing.advice.advice import SCHEMA_VERSION, Budget
from ipw.workloads.routing.advice.candidates import priced
from ipw.workloads.routing.advice.model import Sizes
from ipw.workloads.routing.advice.prices import Prices, told
from ipw.workloads.routing.advice.settings import settings
from ipw.workloads.routing.measures.curves import Counts, PolicyCurve

REASON = "without a trace only whole layers can be told: give one of your own texts, and this model with --model"


def untraced(sizes: Sizes, budget: Budget, prices: Prices) -> dict[str, Any]:
    """Give the answer for whole layers alone; each layer is used alike."""
    k, layers = sizes.k or 1, len(sizes.layers)
    one = np.array(sizes.layer_bytes, np.int64)
    memory = np.concatenate([[0], np.cumsum(one[::-1])]) * sizes.num_experts
    missed = (one.sum() - np.concatenate([[0], np.cumsum(one[::-1])]))[None] * float(k)
    slots = np.arange(layers + 1)
    curve = PolicyCurve("layers", "model", "cpu", slots, memory, slots[None] * k, missed)
    found = priced(
        curve, Counts(np.ones(1, np.int64), np.array([k * layers])), np.zeros((0, 1)), prices,
        budget.experts_bytes, 0, k * layers,
    )  # fmt: skip
    kept = int(np.flatnonzero(found.fits).max(initial=0))
    row = {name: value for name, value in found.rows[kept].items() if name not in ("fits", "looks_ahead")}
    answer = {**row, "told_apart": False, "reason": REASON, "beats": None, "by": None}
    answer["settings"] = settings(answer, sizes.layers, kept, 1)
    return {
        "schema_version": SCHEMA_VERSION,
        "advice": answer,
        "memory": {
            "total_bytes": budget.total_bytes,
            "resident_bytes": budget.resident_bytes,
            "kv_cache_bytes": budget.kv_cache_bytes,
            "experts_bytes": row["memory_bytes"],
            "in_transit_bytes": 0,
            "free_bytes": budget.experts_bytes - row["memory_bytes"],
            "all_experts_bytes": int(memory[-1]),
            "expert_bytes": list(sizes.layer_bytes),
            "context_tokens": budget.context_tokens,
            "kv_cache_bytes_per_token": sizes.kv_bytes,
            "from": sizes.kind,
        },
        "more_memory": [],
        "findings": [],
        "candidates": found.rows,
        "excluded": [],
        "prices": told(prices),
        "trace": None,
        "notes": [
            *sizes.notes,
            *([] if prices.token_s else ["tokens/s leave computing out: give --token-time"]),
        ],
    }
