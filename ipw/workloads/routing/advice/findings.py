"""What the threads argue about, answered for one trace and each of its domains: skew, static against LRU, guessing."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ipw.workloads.routing.measures.bootstrap import basic_interval, multiplicities
from ipw.workloads.routing.measures.curves import Counts, PolicyCurve, Trace, pins_and_lru
from ipw.workloads.routing.measures.units import units_of
from ipw.workloads.routing.streams.opened import open_stream
from ipw.workloads.routing.trace import part_paths

Ints = npt.NDArray[np.integer[Any]]
Floats = npt.NDArray[np.float64]
TENTH = 0.1
WORTH = 1.5
"""A tenth of the experts that takes so many times its share of the uses is a skew."""
AS_GOOD = 0.01
"""Hit rates that differ by less are as good as one another."""


def findings(
    curves: Sequence[PolicyCurve], counts: Counts, drawn: Floats, domain: Ints, names: Sequence[str], slots: int
) -> list[dict[str, Any]]:
    """Findings over all domains (`domain` None) and of each, with 95 % intervals over texts.

    `slots` is the number in every layer at which policies are compared.
    """
    by_name = {(curve.name, curve.per, curve.miss): curve for curve in curves}
    static, lru = by_name["static", "layer", "load"], by_name["lru", "layer", "load"]
    num_experts = len(static.slots)
    groups: list[tuple[str | None, npt.NDArray[np.bool_]]] = [(None, np.ones(len(domain), np.bool_))]
    if len(np.unique(domain)) > 1:
        groups += [(names[number], domain == number) for number in np.unique(domain)]
    found = []
    for name, own in groups:
        weights = np.vstack([np.ones(int(own.sum())), drawn[:, own]]) if own.sum() > 1 else np.ones((1, int(own.sum())))
        total = np.maximum(weights @ counts.accesses[own], 1e-12)

        def rate(curve: PolicyCurve, at: int, own: Any = own, weights: Any = weights, total: Any = total) -> Floats:
            rates: Floats = (weights @ curve.hits[own, at]) / total
            return rates

        tenth = max(round(TENTH * num_experts), 1)
        skew = _found("skew", name, rate(static, tenth - 1) / (tenth / num_experts))
        skew["text"] = (
            f"the {tenth} most used of {num_experts} experts take {skew['value']:.2f} times their share of the uses of "
            f"texts that they were not chosen on: {_judged(skew, WORTH, 'a skew', 'no skew worth pinning for')}"
        )
        found.append(skew)
        gain = _found("static against LRU", name, rate(static, slots - 1) - rate(lru, slots - 1))
        gain["text"] = (
            f"with {slots} slots a layer the static set {_compared(gain)} LRU ({gain['value']:+.3f} of the uses)"
        )
        found.append(gain)
        for ahead in ("layer", "token"):
            guessed = by_name.get((f"lru+{ahead}", "layer", "load"))
            if guessed is None or guessed.hidden is None:
                continue
            misses = weights @ (counts.accesses[own] - guessed.hits[own, slots - 1])
            share = (weights @ guessed.hidden[own, slots - 1]) / np.maximum(misses, 1e-12)
            entry = _found(f"guessed from the {ahead} before", name, share)
            entry["text"] = (
                f"guesses from the {ahead} before name {entry['value']:.0%} of what LRU with {slots} slots misses"
            )
            found.append(entry)
    return found


def run_findings(folder: Path, slots: int) -> list[dict[str, Any]]:
    """Findings of a run's own routing, of its first part where it has several; without guesses."""
    with tempfile.TemporaryDirectory(prefix="ipw-experts-") as spool:
        stream = open_stream(part_paths(folder)[0], Path(spool))
        units = units_of(stream)
        curves, counts = pins_and_lru(Trace(stream, units, np.ones(len(stream.layers), np.int64), Path(spool)))
    drawn = multiplicities(units.domain, 0) if units.total > 1 else np.zeros((0, units.total))
    return findings(curves, counts, drawn, units.domain, stream.domain_names, min(slots, stream.num_experts))


def _found(what: str, domain: str | None, values: Floats) -> dict[str, Any]:
    value = float(values[0])
    low = high = None
    if len(values) > 1:
        low, high = (float(end) for end in basic_interval(values[0], values[1:]))
    return {"finding": what, "domain": domain, "value": value, "low": low, "high": high}


def _judged(entry: dict[str, Any], bound: float, above: str, below: str) -> str:
    if entry["low"] is None:
        return "one text does not say more"
    if entry["low"] > bound:
        return above
    return below if entry["high"] < bound else "not told"


def _compared(entry: dict[str, Any]) -> str:
    low, high = entry["low"], entry["high"]
    if low is None:
        return "cannot be compared, over one text, with"
    if low > -AS_GOOD and high < AS_GOOD:
        return "is as good as"
    if low > 0:
        return "is better than"
    return "is worse than" if high < 0 else "is not told apart from"
