"""A row for each policy and number of slots, with intervals over texts; and all replicates, to compare rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ipw.workloads.routing.advice.prices import Prices, absent, joules, seconds
from ipw.workloads.routing.measures.bootstrap import basic_interval
from ipw.workloads.routing.measures.curves import ORACLES, Counts, PolicyCurve

Floats = npt.NDArray[np.float64]
Row = dict[str, Any]
ALL_HIT = "all experts are in fast memory, and the time of a token is not known: give --token-time"
NO_JOULES = "no joules were measured: give --power, or a run with --offload"


@dataclass(frozen=True, slots=True)
class Priced:
    """A curve with its costs, as estimated and in every replicate."""

    curve: PolicyCurve
    rows: list[Row]
    hit_rate: Floats
    """[1 + replicates, s], the estimate first."""
    seconds: Floats | None
    """[1 + replicates, s] a token."""
    fits: npt.NDArray[np.bool_]
    """[s] whether it fits into the memory for experts."""

    @property
    def oracle(self) -> bool:
        """Whether it looks ahead, as no runtime can."""
        return self.curve.policy in ORACLES

    @property
    def variant(self) -> tuple[str, str, str, str | None]:
        """All that tells it from other curves."""
        return self.curve.policy, self.curve.per, self.curve.miss, self.curve.prefetch


def in_transit(curve: PolicyCurve, k: int, largest: int) -> int:
    """Bytes that lie beside the cache: an expert that the cache will not keep, or those that are fetched ahead."""
    if curve.prefetch:
        return k * largest
    return largest if curve.miss == "load" else 0


def priced(
    curve: PolicyCurve,
    counts: Counts,
    drawn: Floats,
    prices: Prices,
    budget: float,
    beside: int,
    accesses_per_token: int,
) -> Priced:
    """Give every number of slots its row. `drawn` [replicates, units] is how often each replicate draws each unit."""
    weights = np.vstack([np.ones(drawn.shape[1]), drawn])
    tokens = np.maximum(weights @ counts.tokens, 1e-12)[:, None]
    hit_rate = (weights @ curve.hits) / (tokens * accesses_per_token)
    missed = np.maximum(weights @ curve.missed_bytes, 0.0) / tokens
    fetched = None if curve.fetched_bytes is None else (weights @ curve.fetched_bytes) / tokens
    reason = absent(curve, prices)
    times = None if reason else seconds(curve, prices, missed, fetched)
    energy = joules(curve, prices, missed, fetched, times)
    all_bytes = curve.memory_bytes[-1]
    fits = np.where(curve.memory_bytes < all_bytes, curve.memory_bytes + beside, all_bytes) <= budget
    hits, spans = _metrics(hit_rate, 0.0, 1.0), None if times is None else _metrics(times, 0.0, np.inf)
    costs = None if energy is None else _metrics(energy, 0.0, np.inf)
    rows = []
    for at, slots in enumerate(curve.slots.tolist()):
        row: Row = {
            "policy": curve.policy,
            "per": curve.per,
            "slots": slots,
            "miss": curve.miss,
            "prefetch": curve.prefetch,
            "looks_ahead": curve.policy in ORACLES,
            "memory_bytes": int(curve.memory_bytes[at]),
            "fits": bool(fits[at]),
            "hit_rate": hits[at],
            "loaded_bytes_per_token": float(missed[0, at] + (0.0 if fetched is None else fetched[0, at])),
            "tokens_per_s": _missing(reason) if spans is None else _inverse(spans[at]),
            "energy_per_token_j": _missing(reason or NO_JOULES) if costs is None else costs[at],
        }
        if curve.hidden is not None:
            misses = tokens[0, 0] * accesses_per_token - curve.hits[:, at].sum()
            row["hidden_share"] = float(curve.hidden[:, at].sum() / misses) if misses > 0 else None
        if curve.in_sample_hits is not None:
            row["hit_rate_in_sample"] = float(curve.in_sample_hits[:, at].sum() / (tokens[0, 0] * accesses_per_token))
        rows.append(row)
    return Priced(curve, rows, hit_rate, times, fits)


def _metrics(values: Floats, least: float, most: float) -> list[dict[str, Any]]:
    """An entry for each column, from the estimate and its replicates."""
    if len(values) > 1:
        low, high = (np.clip(end, least, most) for end in basic_interval(values[0], values[1:]))
    else:
        low = high = values[0]
    low, high = np.minimum(low, values[0]), np.maximum(high, values[0])
    return [
        {"value": v, "low": a, "high": b, "reason": None}
        for v, a, b in zip(values[0].tolist(), low.tolist(), high.tolist(), strict=True)
    ]


def _inverse(entry: dict[str, Any]) -> dict[str, Any]:
    if entry["value"] <= 0:
        return _missing(ALL_HIT)
    return {
        "value": 1 / entry["value"],
        "low": 1 / entry["high"],
        "high": 1 / entry["low"] if entry["low"] > 0 else None,
        "reason": None,
    }


def _missing(reason: str | None) -> dict[str, Any]:
    return {"value": None, "low": None, "high": None, "reason": reason}
