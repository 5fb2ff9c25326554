"""What every policy hits of a trace, for every number of slots, by unit of the intervals."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ipw.workloads.routing.measures.bounded import replay_bounded
from ipw.workloads.routing.measures.pooled import new_pool, replay_pooled
from ipw.workloads.routing.measures.prediction import chances, count_pairs, guess, replay_guessed
from ipw.workloads.routing.measures.replay import RULES, new_stack, next_uses_of, replay
from ipw.workloads.routing.measures.segmented import new_segments, replay_segmented
from ipw.workloads.routing.measures.units import Units
from ipw.workloads.routing.streams.stream import Stream

Ints = npt.NDArray[np.integer[Any]]
Floats = npt.NDArray[np.float64]
ORACLES = ("belady", "sch")
"""They look ahead: bounds, which no runtime reaches."""
SEGMENT = 16
"""m of SCH."""
AHEAD = ("layer", "token")
"""What guesses are made from: the layer before, or the token before."""


@dataclass(frozen=True, slots=True)
class PolicyCurve:
    """One policy at every number of slots; where it loads, all that it waits for."""

    policy: str
    per: str
    """`layer`: so many slots in each; `pool`: in one memory for all layers; `model`: so many whole layers."""
    miss: str
    """`load`: a miss is brought into fast memory; `cpu`: it is computed where it lies."""
    slots: Ints
    """[s]"""
    memory_bytes: Ints
    """[s]"""
    hits: Ints
    """[units, s]"""
    missed_bytes: Floats
    """[units, s] of the experts that were waited for, or computed where they lie."""
    prefetch: str | None = None
    fetched_bytes: Floats | None = None
    """[units, s] that were brought in beside the computing, needed or not."""
    hidden: Ints | None = None
    """[units, s] misses that had been fetched."""
    in_sample_hits: Ints | None = None
    """[units, s] of pins that are profiled on what they are judged on."""

    @property
    def name(self) -> str:
        """What tells it from the others."""
        return f"{self.policy}+{self.prefetch}" if self.prefetch else self.policy


class Counts(NamedTuple):
    """Of each unit."""

    tokens: Ints
    accesses: Ints


class Trace(NamedTuple):
    """What all passes need."""

    stream: Stream
    units: Units
    layer_bytes: Ints
    """[L] of one expert of each layer."""
    folder: Path


def all_curves(trace: Trace, inserts: int = 1, workers: int | None = None) -> tuple[list[PolicyCurve], Counts, Ints]:
    """Run every policy over the trace, layers and policies side by side on all cores.

    Returns the curves, the tokens and accesses of each unit, and how often each expert was used, [L, E].
    """
    stream, units = trace.stream, trace.units
    layers, num_experts = len(stream.layers), stream.num_experts
    with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        pooled = pool.submit(_pooled_lru, trace)
        tasks: dict[str, Callable[[int], Any]] = {"slru": partial(_segmented, trace)}
        tasks |= {f"lru+{ahead}": partial(_guessed, trace, ahead) for ahead in AHEAD}
        tasks |= {policy: partial(_ranked, trace, policy) for policy in RULES}
        tasks |= {"lru-bounded": partial(_bounded, trace, inserts)}
        running = {name: [pool.submit(task, layer) for layer in range(layers)] for name, task in tasks.items()}
        uses = np.stack(list(pool.map(partial(_uses, trace), range(layers))))  # [L, units, E]
        found = {name: [each.result() for each in own] for name, own in running.items()}
        lru_hits, lru_bytes = pooled.result()
    accesses = uses.sum(axis=2)  # [L, units]
    counts = Counts(accesses[0] // stream.k, accesses.sum(axis=0))
    weights = trace.layer_bytes[:, None, None].astype(np.float64)
    slots = np.arange(1, num_experts + 1)
    memory = slots * int(trace.layer_bytes.sum())

    def missed(hits: Ints) -> Floats:
        """Bytes of misses, from hits [L, units, s]."""
        waited: Floats = ((accesses[:, :, None] - hits) * weights).sum(axis=0)
        return waited

    def curve(policy: str, hits: Ints, miss: str = "load", **more: Any) -> PolicyCurve:
        return PolicyCurve(policy, "layer", miss, slots, memory, hits.sum(axis=0), missed(hits), **more)

    curves = [curve(policy, np.stack(found[policy])) for policy in ("lru", "lfu", "lfru", "slru", *ORACLES)]
    bounded = np.stack(found["lru-bounded"])
    brought = np.minimum((accesses[:, :, None] - bounded), counts.tokens[:, None] * inserts) * weights
    curves.append(curve("lru-bounded", bounded, "cpu", fetched_bytes=brought.sum(axis=0)))
    for ahead in AHEAD:
        depths, hidden, fetched = (np.stack(part) for part in zip(*found[f"lru+{ahead}"], strict=True))
        late = PolicyCurve(
            "lru", "layer", "load", slots, memory, depths.sum(axis=0), missed(depths + hidden), ahead,
            (fetched * weights).sum(axis=0), hidden.sum(axis=0),
        )  # fmt: skip
        curves.append(late)
    by_layer = [_pinned(own, units.fold) for own in uses]
    static, in_sample = (np.stack(part) for part in zip(*by_layer, strict=True))
    curves += [curve("static", static, miss, in_sample_hits=in_sample.sum(axis=0)) for miss in ("load", "cpu")]
    unit_bytes = missed(np.zeros((layers, units.total, 1), np.int64))
    curves.append(PolicyCurve("lru", "pool", "load", slots * layers, memory, lru_hits, unit_bytes - lru_bytes))
    curves += _pooled_static(trace, uses, unit_bytes, slots * layers, memory)
    curves.append(_whole_layers(trace, accesses))
    return curves, counts, uses.sum(axis=1)


def pins_and_lru(trace: Trace) -> tuple[list[PolicyCurve], Counts]:
    """Run the two policies alone that are argued about most: a static set and LRU, with slots in each layer."""
    layers, num_experts = range(len(trace.stream.layers)), trace.stream.num_experts
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        uses = np.stack(list(pool.map(partial(_uses, trace), layers)))
        lru = sum(
            pool.map(partial(_ranked, trace, "lru"), layers), np.zeros((trace.units.total, num_experts), np.int64)
        )
    accesses = uses.sum(axis=2)
    static = np.stack([_pinned(own, trace.units.fold)[0] for own in uses]).sum(axis=0)
    slots = np.arange(1, num_experts + 1)
    curves = [
        PolicyCurve(name, "layer", "load", slots, slots * int(trace.layer_bytes.sum()), hits, np.zeros(hits.shape))
        for name, hits in (("static", static), ("lru", lru))
    ]
    return curves, Counts(accesses[0] // trace.stream.k, accesses.sum(axis=0))


def _ranked(trace: Trace, policy: str, layer: int) -> Ints:
    """Hits [units, E]."""
    stream, units = trace.stream, trace.units
    depths = np.zeros((units.total, stream.num_experts), np.int64)
    stack, path = new_stack(stream.num_experts), trace.folder / f"next-{layer:05d}.bin"
    if policy == "belady":
        _write_next_uses(stream, layer, path)
    for start, stop in stream.chunks():
        next_uses = ahead = None
        if policy == "belady":
            with path.open("rb") as file:
                file.seek(start * stream.k * 4)
                next_uses = np.fromfile(file, np.int32, (stop - start) * stream.k).reshape(-1, stream.k)
        elif policy == "sch":
            ahead = stream.read(layer, stop, stop + SEGMENT) if stop < stream.tokens else None
        replay(
            policy, stack, stream.read(layer, start, stop), units.of(start, stop), start, stream.tokens, depths,
            next_uses=None if next_uses is None else next_uses.astype(np.int64), ahead=ahead, segment_length=SEGMENT,
        )  # fmt: skip
    if policy == "belady":
        path.unlink()
    return np.cumsum(depths, axis=1)


def _write_next_uses(stream: Stream, layer: int, path: Path) -> None:
    upcoming = np.full(stream.num_experts, stream.tokens, np.int64)
    with path.open("wb") as file:
        for start, stop in reversed(stream.chunks()):
            experts = stream.read(layer, start, stop)
            found = np.empty(experts.shape, np.int64)
            next_uses_of(experts, start, upcoming, found)
            file.seek(start * stream.k * 4)
            file.write(found.astype(np.int32).tobytes())


def _bounded(trace: Trace, inserts: int, layer: int) -> Ints:
    stream, units = trace.stream, trace.units
    depths = np.zeros((units.total, stream.num_experts), np.int64)
    stack, bits = new_stack(stream.num_experts), (stream.num_experts - 1).bit_length()
    for start, stop in stream.chunks():
        experts, own = stream.read(layer, start, stop), units.of(start, stop)
        replay_bounded(experts, own, start, inserts, bits, stack.entries, stack.depth, stack.held, depths)
    return np.cumsum(depths, axis=1)


def _segmented(trace: Trace, layer: int) -> Ints:
    stream, units = trace.stream, trace.units
    hits: Ints = np.zeros((units.total, stream.num_experts), np.int64)
    caches = new_segments(stream.num_experts)
    for start, stop in stream.chunks():
        replay_segmented(caches, stream.read(layer, start, stop), units.of(start, stop), hits)
    return hits


def _guessed(trace: Trace, ahead: str, layer: int) -> tuple[Ints, Ints, Ints]:
    """Hits, hidden misses and fetched guesses, [units, E] each."""
    stream, units, num_experts = trace.stream, trace.units, trace.stream.num_experts
    pairs = np.zeros((2, num_experts, num_experts), np.int64)
    for start, stop in stream.chunks():
        causes = causes_of(stream, ahead, layer, start, stop)
        count_pairs(causes, stream.read(layer, start, stop), units.folds(start, stop), pairs)
    chance = chances(pairs)
    stack, bits = new_stack(num_experts), (num_experts - 1).bit_length()
    depths = np.zeros((units.total, num_experts), np.int64)
    hidden, fetched = np.zeros((2, units.total, num_experts + 1), np.int64)
    for start, stop in stream.chunks():
        experts, folds = stream.read(layer, start, stop), units.folds(start, stop)
        guesses = np.zeros(experts.shape, np.int32)
        guess(causes_of(stream, ahead, layer, start, stop), np.where(folds < 0, -1, 1 - folds), chance, guesses)
        replay_guessed(
            experts, guesses, units.of(start, stop), start, bits, stack.entries, stack.depth, stack.held, depths,
            hidden, fetched,
        )  # fmt: skip
    beyond = [np.cumsum(part[:, ::-1], axis=1)[:, ::-1][:, 1:] for part in (hidden, fetched)]
    return np.cumsum(depths, axis=1), beyond[0], beyond[1]


def causes_of(stream: Stream, ahead: str, layer: int, start: int, stop: int) -> Ints:
    """Ids [n, k] that a layer's guesses are made from: of the layer before, or of the same layer a token earlier.

    Before the first layer comes the last one, a token earlier. The first token has zeros.
    """
    if ahead == "layer" and layer > 0:
        return stream.read(layer - 1, start, stop)
    from_layer = layer if ahead == "token" else len(stream.layers) - 1
    earlier = stream.read(from_layer, max(start - 1, 0), stop - 1)
    return earlier if start else np.concatenate([np.zeros((1, stream.k), np.int32), earlier])


def _uses(trace: Trace, layer: int) -> Ints:
    """Uses [units, E] of one layer."""
    stream, units = trace.stream, trace.units
    found: Ints = np.zeros(units.total * stream.num_experts, np.int64)
    for start, stop in stream.chunks():
        own = units.of(start, stop)
        experts = stream.read(layer, start, stop)[own >= 0]
        bins = own[own >= 0, None] * stream.num_experts + experts
        found += np.bincount(bins.ravel(), minlength=len(found))
    return found.reshape(units.total, -1)


def _pinned(uses: Ints, fold: Ints) -> tuple[Ints, Ints]:
    """Hits [units, E] of the most used 1…E experts: profiled on the other half, and on the same one."""
    hits, in_sample = np.zeros_like(uses), np.zeros_like(uses)
    for half in (0, 1):
        own = fold == half
        for out, profile in ((hits, ~own), (in_sample, own)):
            order = np.argsort(-uses[profile].sum(axis=0), kind="stable")
            out[own] = np.cumsum(uses[own][:, order], axis=1)
    return hits, in_sample


def _pooled_lru(trace: Trace) -> tuple[Ints, Ints]:
    stream, units = trace.stream, trace.units
    pool = new_pool(trace.layer_bytes, stream.num_experts)
    hits, hit_bytes = np.zeros((2, units.total, stream.num_experts), np.int64)
    for start, stop in stream.chunks(len(stream.layers)):
        experts = np.stack([stream.read(layer, start, stop) for layer in range(len(stream.layers))], axis=1)
        replay_pooled(pool, experts, units.of(start, stop), hits, hit_bytes)
    return np.cumsum(hits, axis=1), np.cumsum(hit_bytes, axis=1)


def _pooled_static(trace: Trace, uses: Ints, unit_bytes: Floats, slots: Ints, memory: Ints) -> list[PolicyCurve]:
    """Pins of all layers together: those that are used most, whatever their size, as long as the next one fits."""
    _, count, num_experts = uses.shape
    flat = uses.transpose(1, 0, 2).reshape(count, -1)
    sizes = np.repeat(trace.layer_bytes, num_experts)
    fold = trace.units.fold
    hits = np.zeros((count, len(slots)), np.int64)
    in_sample, hit_bytes = hits.copy(), np.zeros((count, len(slots)))
    for half in (0, 1):
        own = fold == half
        for out, profile in ((hits, ~own), (in_sample, own)):
            order = np.argsort(-flat[profile].sum(axis=0), kind="stable")
            fit = np.searchsorted(np.cumsum(sizes[order]), memory, side="right")
            gained = np.concatenate(
                [np.zeros((own.sum(), 1), np.int64), np.cumsum(flat[own][:, order], axis=1)], axis=1
            )
            out[own] = gained[:, fit]
            if out is hits:
                saved = np.cumsum(flat[own][:, order] * sizes[order].astype(np.float64), axis=1)
                hit_bytes[own] = np.concatenate([np.zeros((own.sum(), 1)), saved], axis=1)[:, fit]
    return [
        PolicyCurve("static", "pool", miss, slots, memory, hits, unit_bytes - hit_bytes, in_sample_hits=in_sample)
        for miss in ("load", "cpu")
    ]


def _whole_layers(trace: Trace, accesses: Ints) -> PolicyCurve:
    """The experts of the last layers in fast memory, all others computed where they lie: llama.cpp's `--n-cpu-moe`."""
    layers = len(trace.layer_bytes)
    sizes = trace.layer_bytes.astype(np.int64)
    numbers = np.arange(layers + 1)
    from_end = np.concatenate([[0], np.cumsum(sizes[::-1])])
    memory = from_end * trace.stream.num_experts
    own = np.concatenate([np.zeros((1, accesses.shape[1]), np.int64), np.cumsum(accesses[::-1], axis=0)])
    weighted = accesses * sizes[:, None].astype(np.float64)
    saved = np.concatenate([np.zeros((1, accesses.shape[1])), np.cumsum(weighted[::-1], axis=0)])
    return PolicyCurve("layers", "model", "cpu", numbers, memory, own.T, (weighted.sum(axis=0) - saved).T)


def best_pins(uses: Ints, slots: int) -> list[list[int]]:
    """The most used experts of each layer, from uses [L, E]: what a static set of so many slots keeps."""
    return [sorted(np.argsort(-own, kind="stable")[:slots].tolist()) for own in uses]


def best_pooled_pins(uses: Ints, layer_bytes: Sequence[int], memory: int) -> list[list[int]]:
    """The most used experts of all layers that fit into so many bytes together, by layer."""
    num_experts = uses.shape[1]
    order = np.argsort(-uses.ravel(), kind="stable")
    fit = int(np.searchsorted(np.cumsum(np.repeat(layer_bytes, num_experts)[order]), memory, side="right"))
    kept: list[list[int]] = [[] for _ in uses]
    for place in sorted(order[:fit].tolist()):
        kept[place // num_experts].append(place % num_experts)
    return kept
