"""From a trace, the sizes of a model, a memory and prices to the advice: pure but for the spool of the trace."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ipw.errors import UsageError
from ipw.workloads.routing.advice.candidates import Priced, in_transit, priced
from ipw.workloads.routing.advice.choice import advise
from ipw.workloads.routing.advice.findings import findings
from ipw.workloads.routing.advice.model import Sizes
from ipw.workloads.routing.advice.prices import Prices, told
from ipw.workloads.routing.advice.settings import settings
from ipw.workloads.routing.measures.bootstrap import multiplicities
from ipw.workloads.routing.measures.curves import Trace, all_curves, best_pins, best_pooled_pins
from ipw.workloads.routing.measures.units import units_of
from ipw.workloads.routing.streams.stream import Stream

SCHEMA_VERSION = 1
ABSENT = {"value": None, "low": None, "high": None}


@dataclass(frozen=True, slots=True)
class Budget:
    """Fast memory, and what of it is not for experts."""

    total_bytes: int
    resident_bytes: int
    kv_cache_bytes: int
    context_tokens: int

    @property
    def experts_bytes(self) -> int:
        """What is left for experts; below 0 where nothing is."""
        return self.total_bytes - self.resident_bytes - self.kv_cache_bytes


def advice_for(
    stream: Stream,
    sizes: Sizes,
    budget: Budget,
    prices: Prices,
    folder: Path,
    *,
    inserts: int = 1,
    seed: int = 0,
) -> dict[str, Any]:
    """Give the whole answer; `folder` is for what the passes keep on disk. Raises UsageError where sizes do not fit."""
    layer_bytes = matched(stream, sizes)
    untraced = _untraced(stream, sizes)
    if untraced:
        rest = sum(untraced.values()) * sizes.num_experts
        budget = replace(budget, resident_bytes=budget.resident_bytes + rest)
    units = units_of(stream)
    curves, counts, uses = all_curves(Trace(stream, units, layer_bytes, folder), inserts)
    drawn = multiplicities(units.domain, seed) if units.total > 1 else np.zeros((0, units.total))
    layers, largest = len(stream.layers), int(layer_bytes.max())
    if layers == 1:
        curves = [curve for curve in curves if curve.per != "pool"]
    found = [
        priced(
            curve, counts, drawn, prices, budget.experts_bytes, in_transit(curve, stream.k, largest), stream.k * layers
        )
        for curve in curves
    ]
    known = any(each.seconds is not None and each.curve.policy == "lru" for each in found)
    chosen = advise(found, "tokens_per_s" if known or _all_on_cpu(prices) else "hit_rate")
    whole = _whole_layers(found)
    answer = _answer(chosen, budget, found, prices)
    pins = _pins(answer, uses, layer_bytes)
    if pins is not None:
        answer["experts"] = {str(number): own for number, own in zip(stream.layers, pins, strict=True)}
    answer["settings"] = settings(answer, stream.layers, whole, inserts)
    compared = int(answer["slots"] or stream.k) // (layers if answer["per"] == "pool" else 1)
    compared = min(max(compared if answer["per"] != "model" else stream.k, 1), stream.num_experts)
    return {
        "schema_version": SCHEMA_VERSION,
        "advice": answer,
        "memory": _memory(answer, budget, sizes, layer_bytes, stream, largest),
        "more_memory": _more(found, answer, budget),
        "findings": findings(curves, counts, drawn, units.domain, stream.domain_names, compared),
        "candidates": [row for each in found for row in each.rows],
        "excluded": [each._asdict() for each in stream.excluded],
        "prices": told(prices),
        "trace": {
            "tokens": stream.tokens,
            "counted_tokens": int(counts.tokens.sum()),
            "layers": list(stream.layers),
            "experts": stream.num_experts,
            "experts_per_token": stream.k,
            "accesses": stream.accesses,
            "intervals": f"95 %, bootstrap over {units.kind}",
        },
        "notes": [
            *stream.notes,
            *sizes.notes,
            *(f"layer {layer} routes in the model but not in the trace: its experts all stay" for layer in untraced),
        ],
    }


def matched(stream: Stream, sizes: Sizes) -> Any:
    """Bytes of an expert of each layer of the trace, [L]. Raises UsageError where it is of another model."""
    if sizes.num_experts != stream.num_experts:
        raise UsageError(
            f"the trace is of {stream.num_experts} experts a layer, the model {sizes.name} has {sizes.num_experts}",
            "are they of one model? see --num-experts",
        )
    by_layer = dict(zip(sizes.layers, sizes.layer_bytes, strict=True))
    if set(stream.layers) <= set(by_layer):
        return np.array([by_layer[layer] for layer in stream.layers], np.int64)
    if len(sizes.layers) == len(stream.layers):
        return np.array(sizes.layer_bytes, np.int64)
    raise UsageError(
        f"the trace has {len(stream.layers)} layers, the model {sizes.name} routes in {len(sizes.layers)}",
        "are they of one model?",
    )


def _untraced(stream: Stream, sizes: Sizes) -> dict[int, int]:
    """Bytes of an expert of each layer that the trace lacks, such as those that guess tokens ahead."""
    by_layer = dict(zip(sizes.layers, sizes.layer_bytes, strict=True))
    if not set(stream.layers) <= set(by_layer):
        return {}
    return {layer: size for layer, size in by_layer.items() if layer not in stream.layers}


def _all_on_cpu(prices: Prices) -> bool:
    return prices.link_byte_s is None and prices.cpu_byte_s is not None


def _whole_layers(found: list[Priced]) -> int:
    """How many whole layers fit."""
    layers = next(each for each in found if each.curve.policy == "layers")
    return int(np.flatnonzero(layers.fits).max(initial=0))


def _answer(chosen: dict[str, Any], budget: Budget, found: list[Priced], prices: Prices) -> dict[str, Any]:
    if chosen["policy"] is None:
        least = min(int(each.curve.memory_bytes[0]) for each in found if each.curve.per == "layer")
        return {
            "policy": None, "slots": None, "per": None, "miss": None, "prefetch": None, "memory_bytes": None,
            "hit_rate": ABSENT, "tokens_per_s": ABSENT, "energy_per_token_j": ABSENT, "told_apart": False,
            "reason": f"{max(budget.experts_bytes, 0):,} bytes are left for experts; one of each layer takes {least:,}",
            "beats": None, "by": None,
        }  # fmt: skip
    answer = {name: value for name, value in chosen.items() if name not in ("fits", "looks_ahead")}
    static = next(each for each in found if each.variant[:3] == ("static", "layer", "load"))
    if static.fits[-1]:
        row = static.rows[-1]
        answer = {**{name: value for name, value in row.items() if name not in ("fits", "looks_ahead")},
                  "told_apart": True, "beats": None, "by": chosen["by"],
                  "reason": "all experts fit into the memory, so that nothing is loaded"}  # fmt: skip
    if prices.token_s is None and answer["tokens_per_s"]["value"] is not None:
        answer["reason"] += "; tokens/s leave computing out: give --token-time"
    return answer


def _pins(answer: dict[str, Any], uses: Any, layer_bytes: Any) -> list[list[int]] | None:
    if answer["policy"] != "static":
        return None
    if answer["per"] == "pool":
        return best_pooled_pins(uses, layer_bytes, answer["memory_bytes"])
    return best_pins(uses, answer["slots"])


def _memory(
    answer: dict[str, Any], budget: Budget, sizes: Sizes, layer_bytes: Any, stream: Stream, largest: int
) -> dict[str, Any]:
    experts, everything = answer["memory_bytes"] or 0, int(layer_bytes.sum()) * stream.num_experts
    beside = 0
    if experts and experts < everything and answer["miss"] == "load":
        beside = largest * (stream.k if answer["prefetch"] else 1)
    return {
        "total_bytes": budget.total_bytes,
        "resident_bytes": budget.resident_bytes,
        "kv_cache_bytes": budget.kv_cache_bytes,
        "experts_bytes": experts,
        "in_transit_bytes": beside,
        "free_bytes": budget.experts_bytes - experts - beside,
        "all_experts_bytes": everything,
        "expert_bytes": layer_bytes.tolist(),
        "context_tokens": budget.context_tokens,
        "kv_cache_bytes_per_token": sizes.kv_bytes,
        "from": sizes.kind,
    }


def _more(found: list[Priced], answer: dict[str, Any], budget: Budget) -> list[dict[str, Any]]:
    """What the advised policy would give with more memory, and with less: its curve."""
    wanted = tuple(answer[name] for name in ("policy", "per", "miss", "prefetch"))
    curve = next((each for each in found if each.variant == wanted), None)
    if curve is None:
        return []
    fixed = budget.total_bytes - budget.experts_bytes
    names = ("slots", "hit_rate", "tokens_per_s", "energy_per_token_j")
    return [{"total_bytes": fixed + row["memory_bytes"], **{name: row[name] for name in names}} for row in curve.rows]
