"""From a routing trace to tables and metrics."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ipw.attribution.queries.tables import derive_lm
from ipw.runs.directory import RunDir
from ipw.workloads.routing.advice.findings import run_findings
from ipw.workloads.routing.analysis import MAIN_LENGTH, POOLED_SEQUENCES, Analysis, Cache, Key, analyse
from ipw.workloads.routing.measures.bootstrap import basic_interval
from ipw.workloads.routing.measures.segments import best_router
from ipw.workloads.routing.measures.specialisation import coefficient_of_variation, vocabulary_shares
from ipw.workloads.routing.offload.table import offload_rows
from ipw.workloads.routing.parameters import SEGMENT_LENGTHS
from ipw.workloads.routing.throughput import throughput
from ipw.workloads.routing.trace import read_parts

if TYPE_CHECKING:
    import pyarrow as pa

Floats = npt.NDArray[np.float64]
Metric = dict[str, Any]
Row = dict[str, Any]
MAIN_RATIO = 2
"""Cache sizes are told as multiples of k; the paper's tables stand at twice k."""
INTERVAL = "bootstrap over sequences"
TOO_SHORT = f"no sequence has {MAIN_LENGTH} tokens"


def derive_routing(run: RunDir) -> dict[str, Metric]:
    """Write the tables of a routing run, and return its metrics for `summary.json`.

    Energy is attributed to sequences as to the queries of a language model; a trace from elsewhere has none.
    """
    if next(iter(run.journal("query")), None):
        derive_lm(run)
    analysis = analyse(run.path, SEGMENT_LENGTHS)
    run.write_table("routing_srp", _table(srp_rows(analysis)))
    run.write_table("routing_cache", _table(cache_rows(analysis)))
    run.write_table("routing_experts", _table(expert_rows(analysis)))
    run.write_table("routing_positions", _table(position_rows(analysis)))
    for name, rows in (
        ("routing_example", list(example_rows(run))),
        ("routing_offload", offload_rows(run)),
        ("routing_findings", run_findings(run.path, MAIN_RATIO * analysis.k)),
    ):
        if rows:
            run.write_table(name, _table(rows))
    model = run.manifest().get("model")
    expert_bytes = model.get("expert_bytes") if isinstance(model, dict) else None
    return metrics(analysis, expert_bytes) | throughput(run)


def metrics(analysis: Analysis, expert_bytes: int | None = None) -> dict[str, Metric]:
    """The figures of the whole model, each with its interval or the reason why it is absent."""
    n = len(analysis.index.domains)
    size = min(MAIN_RATIO * analysis.k, analysis.num_experts)
    srp, low, high, ratio = _srp(analysis, Key("model", 0, MAIN_LENGTH))
    reason = None if srp is not None else TOO_SHORT
    found = {
        "segment_routing_best_performance": _metric(srp, low, high, n=n, reason=reason),
        "segment_routing_size_ratio": _metric(ratio, n=n, reason=reason),
    }
    named = {
        "segment_cache_best_hit_rate": ("sch", MAIN_LENGTH),
        "lru_hit_rate": ("lru", 0),
        "lfu_hit_rate": ("lfu", 0),
        "belady_hit_rate": ("belady", 0),
    }
    for name, (policy, m) in named.items():
        for corrected in (False, True):
            rates = _rates(analysis, Key("model", 0, Cache(policy, m, corrected)))  # type: ignore[arg-type]
            at_size = [None if x is None else float(x[size - 1]) for x in rates]
            found[f"{name}_corrected" if corrected else name] = _metric(*at_size, n=n)
    found |= _pooled(analysis)
    shares = analysis.uses.sum(axis=0) / analysis.index.tokens.sum()
    found["load_balance_sd"] = _metric(float(shares.std(ddof=1)) if shares.size > 1 else 0.0, n=n)
    lru, _, _ = _rates(analysis, Key("model", 0, Cache("lru", 0, corrected=True)))
    knee = cache_knee(lru, analysis.k)
    found["cache_knee_experts"] = _metric(knee, n=n, unit="experts")
    found["cache_knee_bytes"] = (
        _metric(knee * len(analysis.layers) * expert_bytes, n=n, unit="B")
        if expert_bytes
        else _metric(None, n=n, unit="B", reason="the size of an expert is not known")
    )
    columns = _expert_columns(analysis)
    for name, missing in (
        ("domain_specialisation", "experts are used in fewer than two domains"),
        ("vocabulary_specialisation_input", "no token id occurs often enough"),
        ("vocabulary_specialisation_next", "no token id occurs often enough"),
    ):
        values = columns[name][np.isfinite(columns[name])]
        known = float(values.mean()) if values.size else None
        found[name] = _metric(known, n=values.size, reason=None if values.size else missing)
    return found


def _pooled(analysis: Analysis) -> dict[str, Metric]:
    """SCH of one pool over all layers at every segment length; the main one has the plain name."""
    layers = len(analysis.layers)
    size = min(MAIN_RATIO * analysis.k, analysis.num_experts) * layers
    found = {}
    for m in analysis.lengths:
        key = Key("pool", 0, Cache("sch", m, corrected=False))
        at_size = [None if x is None else float(x[size - 1]) for x in _rates(analysis, key)]
        name = "segment_cache_best_hit_rate_pooled"
        n = min(POOLED_SEQUENCES, len(analysis.index.domains))
        found[name if m == MAIN_LENGTH else f"{name}_{m}"] = _metric(*at_size, n=n)
    return found


def cache_knee(rates: Floats, k: int) -> int:
    """Find the cache size behind which further experts help least, from hit rates of caches of 1…E experts.

    There the curve lies highest above the straight line from a cache of k experts to one of all.
    """
    curve = rates[k - 1 :]
    line = np.linspace(curve[0], curve[-1], len(curve))
    return k + int(np.argmax(curve - line))


def srp_rows(analysis: Analysis) -> Iterator[Row]:
    """SRP of model, layers and domains at every segment length that some sequence has."""
    for key in analysis.tally.sums:
        if isinstance(key, Key) and isinstance(key.what, int):
            srp, low, high, ratio = _srp(analysis, key)
            if srp is not None:
                yield {
                    **_named(analysis, key),
                    "segment_length": key.what,
                    "srp": srp,
                    "low": low,
                    "high": high,
                    "size_ratio": ratio,
                }


def cache_rows(analysis: Analysis) -> Iterator[Row]:
    """Hit rates of every cache at every size; sizes of the level `pool` are of all layers together."""
    for key in analysis.tally.sums:
        if isinstance(key, Key) and isinstance(key.what, Cache):
            rates, low, high = _rates(analysis, key)
            k = analysis.k * (len(analysis.layers) if key.level == "pool" else 1)
            for place, rate in enumerate(rates.tolist()):
                yield {
                    **_named(analysis, key),
                    "policy": key.what.policy,
                    "segment_length": key.what.segment_length or None,
                    "corrected": key.what.corrected,
                    "cache_size": place + 1,
                    "cache_ratio": (place + 1) / k,
                    "hit_rate": rate,
                    "low": None if low is None else float(low[place]),
                    "high": None if high is None else float(high[place]),
                }


def expert_rows(analysis: Analysis) -> Iterator[Row]:
    """One row an expert."""
    columns = {name: values.ravel().tolist() for name, values in _expert_columns(analysis).items()}
    for place in range(len(analysis.layers) * analysis.num_experts):
        layer, expert = divmod(place, analysis.num_experts)
        values = {name: _known(values[place]) for name, values in columns.items()}
        yield {"layer": analysis.layers[layer], "layer_index": layer, "expert": expert, **values}


def position_rows(analysis: Analysis) -> Iterator[Row]:
    """SRP of the segments that begin at each position, all layers together."""
    best = best_router(analysis.position_segments)
    pairs = analysis.position_segments.sum(axis=1) // (analysis.num_experts * len(analysis.layers))
    for position, (srp, sequences) in enumerate(zip(best.srp.tolist(), pairs.tolist(), strict=True)):
        yield {"position": position, "srp": srp, "sequences": sequences, "segment_length": MAIN_LENGTH}


def example_rows(run: RunDir) -> Iterator[Row]:
    """Give the experts of the first sequence beside its text: what the routing map shows."""
    record = next(iter(run.journal("example")), None)
    if record is None:
        return
    part = next(read_parts(run.path))
    pieces = [str(piece) for piece in record.get("pieces", [])][: int(part.bounds[1])]
    for position, piece in enumerate(pieces):
        for layer in range(len(part.layers)):
            experts = part.experts[position, layer].tolist()
            yield {"position": position, "piece": piece, "layer_index": layer, "experts": experts}


def _expert_columns(analysis: Analysis) -> dict[str, Floats]:
    """[layers, E] values of every expert."""
    domains = np.bincount(analysis.index.domains, weights=analysis.index.tokens, minlength=len(analysis.uses))
    rates = analysis.uses / np.maximum(domains, 1)[:, None, None]
    best = best_router(analysis.expert_segments)
    by_layer = range(len(analysis.layers))
    return {
        "use_rate": analysis.uses.sum(axis=0) / analysis.index.tokens.sum(),
        "srp": best.srp,
        "size_ratio": best.size_ratio,
        "domain_specialisation": np.stack([coefficient_of_variation(rates[:, layer]) for layer in by_layer]),
        "vocabulary_specialisation_input": np.stack(
            [vocabulary_shares(analysis.words[0, layer]) for layer in by_layer]
        ),
        "vocabulary_specialisation_next": np.stack([vocabulary_shares(analysis.words[1, layer]) for layer in by_layer]),
    }


def _srp(analysis: Analysis, key: Key) -> tuple[float | None, float | None, float | None, float | None]:
    best = best_router(analysis.tally.sums[key])
    if not np.isfinite(best.srp):
        return None, None, None, None
    low, high = _interval(best.srp, best_router(analysis.tally.replicates[key]).srp)
    return float(best.srp), _scalar(low), _scalar(high), float(best.size_ratio)


def _rates(analysis: Analysis, key: Key) -> tuple[Floats, Floats | None, Floats | None]:
    sums, replicates = analysis.tally.sums[key], analysis.tally.replicates[key]
    rates = sums[:-1] / sums[-1]
    drawn = np.maximum(replicates[:, -1:], 1)
    return rates, *_interval(rates, replicates[:, :-1] / drawn)


def _interval(value: npt.ArrayLike, replicates: Floats) -> tuple[Floats | None, Floats | None]:
    """Absent where some replicate drew nothing to look at: there are too few sequences."""
    return basic_interval(value, replicates) if np.isfinite(replicates).all() else (None, None)


def _metric(
    value: float | None,
    low: float | None = None,
    high: float | None = None,
    *,
    n: int,
    unit: str = "",
    reason: str | None = None,
) -> Metric:
    return {
        "value": value,
        "low": low,
        "high": high,
        "unit": unit,
        "n": n,
        "method": "counted",
        "interval": INTERVAL if low is not None else None,
        "reason": reason,
    }


def _named(analysis: Analysis, key: Key) -> Row:
    names = {"layer": analysis.layers, "domain": analysis.index.domain_names}.get(key.level)
    return {"level": key.level, "index": key.number, "name": names[key.number] if names else None}


def _scalar(value: Floats | None) -> float | None:
    return None if value is None else float(value)


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _table(rows: Iterable[Row]) -> pa.Table:
    import pyarrow as pa

    return pa.Table.from_pylist(list(rows))
