"""What offloaded decoding was measured to do, beside what hit rates and the price of a byte foretell."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ipw.attribution.run import straight_energy
from ipw.runs.directory import RunDir
from ipw.runs.recorded import Recorded
from ipw.workloads.routing.measures.bounded import replay_bounded
from ipw.workloads.routing.measures.replay import new_stack, replay
from ipw.workloads.routing.measures.segmented import new_segments, replay_segmented
from ipw.workloads.routing.offload.cost import Machine, expected_cost, fit_line
from ipw.workloads.routing.offload.profile import profile_behind
from ipw.workloads.routing.offload.run import PHASE
from ipw.workloads.routing.parameters import OnlinePolicy
from ipw.workloads.routing.trace import read_parts

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.integer[Any]]
Record = dict[str, Any]
ON_THE_LINE = ("lru", "lfu", "lfru", "slru", "static")
"""Policies that wait for every byte they load, so that prices of a token and a byte foretell their speed."""


def offload_rows(run: RunDir) -> list[dict[str, Any]]:
    """One row a configuration: measured speed, energy and hits of decoding, and what was to be expected.

    The prices of a token and of a loaded byte are fitted to all measured configurations; hit rates come from the
    routing trace alone.
    """
    records = [record for record in run.journal(PHASE) if record.get("decoded_tokens")]
    cached = [record for record in records if record["policy"]]
    if not cached:
        return []
    recorded = Recorded.of(run)
    energy = [_decode_energy(recorded, record) for record in records]
    priced = [(record, e) for record, e in zip(records, energy, strict=True) if record["policy"] in ON_THE_LINE]
    machine = _machine([record for record, _ in priced], [joules for _, joules in priced]) if priced else None
    expert_bytes = int(cached[0]["expert_bytes"])
    layers, k, _ = shape = _shape(run.path)
    decoded = cached[0].get("sequences")
    foretold = {
        policy: decode_hit_rates(run.path, policy, decoded) for policy in {record["policy"] for record in cached}
    }
    rows = []
    for record, joules in zip(records, energy, strict=True):
        policy, size, tokens = record["policy"], int(record["cache_size"]), int(record["decoded_tokens"])
        rates = foretold.get(policy, np.ones(shape[2]))
        cost = expected_cost(rates, k, layers, expert_bytes, machine or Machine(1.0, 0.0))
        at = size - 1
        rows.append(
            {
                "policy": policy,
                "cache_size": size,
                "memory_bytes": float(cost.memory_bytes[at]),
                "hit_rate": record["hits"] / record["accesses"] if policy else None,
                "hit_rate_expected": float(rates[at]) if policy else None,
                "loaded_bytes_per_token": record["loaded_bytes"] / tokens,
                "tokens_per_s": tokens / _seconds(record),
                "tokens_per_s_expected": float(cost.tokens_per_s[at]) if policy in ON_THE_LINE else None,
                "energy_per_token_j": None if joules is None else joules[0] / tokens,
                "energy_per_token_low_j": None if joules is None else joules[1] / tokens,
                "energy_per_token_high_j": None if joules is None else joules[2] / tokens,
                "energy_per_token_expected_j": None
                if cost.energy_per_token_j is None or policy not in ON_THE_LINE
                else float(cost.energy_per_token_j[at]),
                "same_output": bool(record["same_output"]),
            }
        )
    return rows


def decode_hit_rates(folder: Path, policy: OnlinePolicy, sequences: int | None = None) -> Floats:
    """Hit rates of caches of 1…E experts over the tokens that the model wrote, each cache warm from the prompt.

    Over all tokens where the model wrote none, and over the first `sequences`, if it is told how many were decoded.
    """
    base = policy.partition("+")[0]
    profile = profile_behind(folder, sequences or 0) if base == "static" else None
    hits, total, seen = np.zeros(1, np.int64), 0, 0
    for part in read_parts(folder):
        wrote = bool(part.generated.any())
        for start, stop in zip(part.bounds[:-1].tolist(), part.bounds[1:].tolist(), strict=True):
            if sequences is not None and seen == sequences:
                break
            seen += 1
            units = np.where(part.generated[start:stop] | (not wrote), 0, -1)
            for layer in range(len(part.layers)):
                experts = np.ascontiguousarray(part.experts[start:stop, layer], np.int32)
                pinned = None if profile is None else profile.uses[layer]
                hits = hits + hits_of(base, experts, units, part.num_experts, pinned)
            total += int((units == 0).sum()) * part.experts.shape[2] * len(part.layers)
    rates: Floats = hits / max(total, 1)
    return rates


def hits_of(policy: str, experts: Ints, units: Ints, num_experts: int, uses: Ints | None = None) -> Ints:
    """Hits [E] of one layer of one text under caches of 1…E experts that begin empty; `uses` [E] rank the pins."""
    counted = np.zeros((1, num_experts), np.int64)
    if policy == "static":
        assert uses is not None
        own = np.bincount(experts[units >= 0].ravel(), minlength=num_experts)
        pinned: Ints = np.cumsum(own[np.argsort(-uses, kind="stable")])
        return pinned
    if policy == "slru":
        replay_segmented(new_segments(num_experts), experts, units, counted)
        return np.ravel(counted)
    stack = new_stack(num_experts)
    if policy == "lru-bounded":
        bits = (num_experts - 1).bit_length()
        replay_bounded(experts, units, 0, 1, bits, stack.entries, stack.depth, stack.held, counted)
    else:
        replay(policy, stack, experts, units, 0, len(experts), counted)
    return np.cumsum(counted[0])


def _shape(folder: Path) -> tuple[int, int, int]:
    part = next(read_parts(folder))
    return len(part.layers), part.experts.shape[2], part.num_experts


def _seconds(record: Record) -> float:
    return float(sum(end - start for start, end in record["decode_ns"])) / 1e9


def _decode_energy(recorded: Recorded, record: Record) -> tuple[float, float, float] | None:
    """Joules while tokens were decoded, with the bounds of the sensors; `None` where no sensor saw them."""
    if recorded.unseen:
        return None
    starts, ends = zip(*record["decode_ns"], strict=True)
    value, low, high = straight_energy(recorded, starts, ends)
    total = float(value.sum())
    if not total > 0:
        return None
    return total, total - math.hypot(*(value - low)), total + math.hypot(*(high - value))


def _machine(cached: Sequence[Record], energy: Sequence[tuple[float, float, float] | None]) -> Machine:
    tokens = np.array([record["decoded_tokens"] for record in cached], np.float64)
    loaded = np.array([record["loaded_bytes"] for record in cached]) / tokens
    token_s, byte_s = fit_line(loaded, np.array([_seconds(record) for record in cached]) / tokens)
    known = [joules[0] for joules in energy if joules is not None]
    if len(known) < len(cached):
        return Machine(token_s, byte_s)
    return Machine(token_s, byte_s, *fit_line(loaded, np.array(known) / tokens))
