"""What offloaded decoding was measured to do, beside what hit rates and the price of a byte foretell."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ipw.attribution.run import straight_energy
from ipw.runs.directory import RunDir
from ipw.runs.unseen import unseen
from ipw.workloads.routing.measures.caches import accesses
from ipw.workloads.routing.offload.cost import Machine, expected_cost, fit_line
from ipw.workloads.routing.offload.run import PHASE
from ipw.workloads.routing.parameters import OnlinePolicy
from ipw.workloads.routing.trace import Trace, read_parts

Floats = npt.NDArray[np.float64]
Record = dict[str, Any]


def offload_rows(run: RunDir) -> list[dict[str, Any]]:
    """One row a configuration: measured speed, energy and hits of decoding, and what was to be expected.

    The prices of a token and of a loaded byte are fitted to all measured configurations; hit rates come from the
    routing trace alone.
    """
    records = [record for record in run.journal(PHASE) if record.get("decoded_tokens")]
    cached = [record for record in records if record["policy"]]
    if not cached:
        return []
    energy = [_decode_energy(run, record) for record in records]
    machine = _machine(cached, [e for record, e in zip(records, energy, strict=True) if record["policy"]])
    expert_bytes = int(cached[0]["expert_bytes"])
    layers, k, _ = shape = _shape(run.path)
    foretold = {policy: decode_hit_rates(run.path, policy) for policy in {record["policy"] for record in cached}}
    rows = []
    for record, joules in zip(records, energy, strict=True):
        policy, size, tokens = record["policy"], int(record["cache_size"]), int(record["decoded_tokens"])
        rates = foretold.get(policy, np.ones(shape[2]))
        cost = expected_cost(rates, k, layers, expert_bytes, machine)
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
                "tokens_per_s_expected": float(cost.tokens_per_s[at]) if policy else None,
                "energy_per_token_j": None if joules is None else joules[0] / tokens,
                "energy_per_token_low_j": None if joules is None else joules[1] / tokens,
                "energy_per_token_high_j": None if joules is None else joules[2] / tokens,
                "energy_per_token_expected_j": None
                if cost.energy_per_token_j is None or not policy
                else float(cost.energy_per_token_j[at]),
                "same_output": bool(record["same_output"]),
            }
        )
    return rows


def decode_hit_rates(folder: Path, policy: OnlinePolicy) -> Floats:
    """Hit rates of caches of 1…E experts over the tokens that the model wrote, each cache warm from the prompt.

    Hits in a prompt do not depend on what follows, so they can be taken off those of the whole sequence. Over all
    tokens where the model wrote none.
    """
    hits, total = np.zeros(1, np.int64), 0
    for part in read_parts(folder):
        whole, prompts = _runs(part, policy, part.bounds), _prompts(part)
        hits, total = hits + whole[0], total + whole[1]
        if part.generated.any():
            read = _runs(prompts, policy, prompts.bounds)
            hits, total = hits - read[0], total - read[1]
    rates: Floats = hits / total
    return rates


def _runs(part: Trace, policy: OnlinePolicy, bounds: npt.NDArray[Any]) -> tuple[npt.NDArray[np.int64], int]:
    found = [
        accesses(part.experts[:, layer], part.num_experts, policy, pinned=True, bounds=bounds)
        for layer in range(len(part.layers))
    ]
    hits = sum((x.hits("charged").sum(axis=0) for x in found), np.zeros(part.num_experts, np.int64))
    return hits, int(sum(x.total().sum() for x in found))


def _prompts(part: Trace) -> Trace:
    """Leave out what the model wrote; every sequence has a prompt."""
    kept = ~part.generated
    lengths = np.add.reduceat(kept.astype(np.int64), part.bounds[:-1])
    return replace(
        part,
        experts=part.experts[kept],
        bounds=np.cumsum([0, *lengths]),
        token_ids=part.token_ids[kept],
        generated=part.generated[kept],
    )


def _shape(folder: Path) -> tuple[int, int, int]:
    part = next(read_parts(folder))
    return len(part.layers), part.experts.shape[2], part.num_experts


def _seconds(record: Record) -> float:
    return float(sum(end - start for start, end in record["decode_ns"])) / 1e9


def _decode_energy(run: RunDir, record: Record) -> tuple[float, float, float] | None:
    """Joules while tokens were decoded, with the bounds of the sensors; `None` where no sensor saw them."""
    if unseen(run.manifest()):
        return None
    starts, ends = zip(*record["decode_ns"], strict=True)
    value, low, high = straight_energy(run, starts, ends)
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
