"""From raw readings and the journal to attributed energy: what the tables of every workload are made from."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ipw.attribution.beside import Beside, Joined, joined
from ipw.attribution.ranks import rank_flags, rank_parts
from ipw.energy.attribution import Attribution, Share, attribute
from ipw.energy.curve import Curve, Ints, coverage, energy_between, lost_j
from ipw.energy.steps.engine import Engine
from ipw.energy.timeline import Spans
from ipw.runs.directory import RunDir
from ipw.runs.recorded import Recorded

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
MEASURED = "measure"
"""The phase of the span that is the measured window."""
IDLE = "idle"


class Attributed(NamedTuple):
    """Energy of a run's window, summed over the channels of its basis."""

    window_ns: tuple[int, int]
    spans: Share
    owners: Share
    covered: Bools
    """Whether readings of every channel surround each span and no gap touches it; elsewhere its energy is unknown."""
    facts: dict[str, Any]
    """For the manifest: totals, idle power, levels, rule, joules by channel."""

    def first(self, spans: int, owners: int) -> Attributed:
        """Keep only the first so many spans and owners."""
        return self._replace(
            spans=_cut(self.spans, spans), owners=_cut(self.owners, owners), covered=self.covered[:spans]
        )


def unread(recorded: Recorded) -> str | None:
    """Say why nothing was attributed though there were sensors."""
    names = [channel["name"] for channel in recorded.in_total]
    return f"no reading of {', '.join(names)} can be believed" if names else None


def no_spans() -> Spans:
    """Make spans for a window in which nothing is told apart."""
    none = np.zeros(0, np.int64)
    return Spans(none, none, none, (), none, np.zeros(0))


def journal_spans(run: RunDir, phase: str) -> list[tuple[int, int]]:
    """Start and end of every journalled span of a phase."""
    return [(int(s["start_ns"]), int(s["end_ns"])) for s in run.journal("span") if s.get("phase") == phase]


def attribute_run(
    recorded: Recorded,
    spans: Spans,
    window_ns: tuple[int, int],
    engine: Engine | None = None,
    beside: Beside | None = None,
) -> Attributed | None:
    """Attribute the window's energy to `spans`, channel by channel; `None` where no channel was read.

    By the steps of an `engine` whose units are the spans' owners, where one is given and its steps can be told. What
    goes on `beside` has a share too: its owners come behind those of the spans.

    Channels are independent sensors, so half-widths of intervals add in quadrature; their gains stay apart.
    """
    found = recorded.curves
    names = [name for name, curve in recorded.total_curves.items() if curve.t_ns.size]
    if not names:
        return None
    complete = len(names) == len(recorded.in_total)
    idle_ns = journal_spans(recorded.folder, IDLE)
    scopes = {channel["name"]: channel.get("scope") for channel in recorded.in_total}
    parts = []
    for name in names:
        flying = joined(spans, engine, beside, scopes[name]) if beside else Joined(spans, engine)
        part = attribute(found[name], flying.spans, window_ns=window_ns, idle_ns=idle_ns, engine=flying.engine)
        parts.append(replace(part, spans=_cut(part.spans, spans.owner.size)))
    measured = [part.measured_j for part in parts]
    covers = [coverage(found[name], *window_ns)[0] if window_ns[1] > window_ns[0] else 1.0 for name in names]
    errors = [_half_width(found, names, window_ns, end) for end in (1, 2)]
    nothing = not sum(measured) + sum(errors) and window_ns[1] > window_ns[0]  # what is measured always draws something
    facts = {
        "window_ns": list(window_ns),
        "idle_ns": [list(each) for each in idle_ns],
        "coverage": min(covers) if complete and not nothing else 0.0,
        "mean_power_w": _mean_power_w(measured, covers, window_ns),
        "measured_j": sum(measured),
        "measured_error_j": errors,
        "lost_j": sum(lost_j(found[name], *window_ns) for name in names),
        "attributed_j": float(sum(part.owners.energy_j.sum() for part in parts)),
        "idle_j": sum(part.idle_j for part in parts),
        "unattributed_j": sum(part.unattributed_j for part in parts),
        "idle_power_w": _sum_intervals([part.idle_power_w for part in parts]),
        "levels": _levels(parts),
        "rule": "; ".join(dict.fromkeys(part.rule for part in parts)),
        "costs": _costs(parts),
        "engine": engine and engine.facts(),
        "flags": sorted({flag for part in parts for flag in part.flags}),
        "gain_rel": _weighted([part.gain_rel for part in parts], measured),
        "method": recorded.method,
        "channels": {
            name: float(energy_between(curve, *window_ns)[0][0]) for name, curve in found.items() if curve.t_ns.size
        },
    }
    return Attributed(
        window_ns,
        _sum_shares([part.spans for part in parts]),
        _sum_shares([part.owners for part in parts]),
        complete & np.all([placed(found[name], spans.start_ns, spans.end_ns) for name in names], axis=0),
        facts,
    )


def _half_width(found: Mapping[str, Curve], names: Sequence[str], window_ns: tuple[int, int], end: int) -> float:
    """How far the window's energy may be below (`end` 1) or above (2) what was measured: channels err on their own."""
    each = [energy_between(found[name], *window_ns) for name in names]
    return math.hypot(*(float(abs(energy[0][0] - energy[end][0])) for energy in each))


def covered(curve: Curve, start_ns: npt.ArrayLike, end_ns: npt.ArrayLike) -> Bools:
    """Whether the joules of each interval are known: it lies between knots, and no energy was lost in it."""
    return _clear_of(curve, curve.lost_ns, start_ns, end_ns)


def placed(curve: Curve, start_ns: npt.ArrayLike, end_ns: npt.ArrayLike) -> Bools:
    """Whether each interval lies between the curve's knots and touches none of its gaps, so that its share is known."""
    return _clear_of(curve, curve.gaps_ns, start_ns, end_ns)


def _clear_of(curve: Curve, gaps_ns: Ints, start_ns: npt.ArrayLike, end_ns: npt.ArrayLike) -> Bools:
    start, end = np.asarray(start_ns, np.int64), np.asarray(end_ns, np.int64)
    if curve.t_ns.size == 0:
        return np.zeros(np.broadcast_shapes(start.shape, end.shape), bool)
    inside: Bools = (start >= curve.t_ns[0]) & (end <= curve.t_ns[-1])
    gaps_before_end = np.searchsorted(gaps_ns[:, 0], end, "left")
    gaps_over_at_start = np.searchsorted(gaps_ns[:, 1], start, "right")
    inside &= gaps_before_end == gaps_over_at_start
    return inside


def derive_window(run: RunDir) -> tuple[int, int] | None:
    """Derive a workload that is one window: what the devices drew in it, and the spans marked inside.

    Returns the window, where there is one.
    """
    import pyarrow as pa

    marked = list(run.journal("span"))
    window = whole_window(marked)
    if window is None:
        run.update_manifest(attribution=None, attribution_reason="the measured window never ended")
        return None
    recorded = Recorded.of(run)
    attributed = attribute_run(recorded, no_spans(), window)
    if attributed:
        attributed.facts["flags"] += rank_flags(run)
    run.update_manifest(
        attribution=attributed.facts if attributed else None,
        attribution_reason=None if attributed else unread(recorded),
    )
    columns = {name: [s[name] for s in marked] for name in ("phase", "start_ns", "end_ns")}
    columns |= {name: [_writable(s.get(name)) for s in marked] for name in ("name", "status", "error", "rank")}
    energy: dict[str, Any] = dict.fromkeys(("energy_j", "energy_low_j", "energy_high_j"), pa.nulls(len(marked)))
    if attributed:
        start, end = columns["start_ns"], columns["end_ns"]
        known = np.all([covered(curve, start, end) for curve in recorded.total_curves.values()], axis=0)
        bounds = straight_energy(recorded, start, end, rank_parts(run, marked))
        energy = {name: pa.array(x, mask=~known) for name, x in zip(energy, bounds, strict=True)}
    numbers = {"span_id": range(len(marked)), "parent_id": pa.array(parents(marked), pa.int64())}
    kinds = {"error": pa.string(), "rank": pa.int64()}
    columns |= {name: pa.array(columns[name], kind) for name, kind in kinds.items()}
    run.write_table("spans", pa.table({**numbers, **columns, **energy}))
    return window


def _writable(told: Any) -> Any:
    """Names of files that are no UTF-8 end up in blocks' names and errors, and no table takes them."""
    return told.encode(errors="replace").decode() if isinstance(told, str) else told


def whole_window(marked: Sequence[Mapping[str, Any]]) -> tuple[int, int] | None:
    """From the first start to the last end of what was not idle: blocks may outlast the one that came first."""
    busy = [span for span in marked if span["phase"] != IDLE]
    if not busy:
        return None
    return min(int(span["start_ns"]) for span in busy), max(int(span["end_ns"]) for span in busy)


def parents(marked: Sequence[Mapping[str, Any]]) -> list[int | None]:
    """For each span the number of the shortest one around it of the same thread, else of the measured window."""
    around: list[int | None] = [None] * len(marked)
    stacks: dict[Any, list[int]] = {}
    window = next((i for i, s in enumerate(marked) if s["phase"] == MEASURED), None)
    for i in sorted(range(len(marked)), key=lambda i: (marked[i]["start_ns"], -marked[i]["end_ns"])):
        span = marked[i]
        stack = stacks.setdefault((span.get("rank"), span.get("thread")), [])
        while stack and marked[stack[-1]]["end_ns"] < span["end_ns"]:
            stack.pop()
        if stack:
            around[i] = stack[-1]
        elif window is not None and i != window and _contains(marked[window], span):
            around[i] = window
        stack.append(i)
    return around


def _contains(outer: Mapping[str, Any], inner: Mapping[str, Any]) -> bool:
    return bool(outer["start_ns"] <= inner["start_ns"] and inner["end_ns"] <= outer["end_ns"])


def straight_energy(
    recorded: Recorded, start_ns: Sequence[int], end_ns: Sequence[int], parts: Mapping[str, Floats] | None = None
) -> list[Floats]:
    """Joules and their 95 % bounds between pairs of moments, over the channels of the basis: three arrays.

    `parts` says, by channel, which part of it to count for each pair.
    """
    return summed_energy(recorded.total_curves, start_ns, end_ns, parts)


def summed_energy(
    found: Mapping[str, Curve],
    start_ns: Sequence[int],
    end_ns: Sequence[int],
    parts: Mapping[str, Floats] | None = None,
) -> list[Floats]:
    """Joules and their 95 % bounds between pairs of moments, over all of the curves: three arrays."""
    each = []
    for name, curve in found.items():
        part = (parts or {}).get(name, np.ones(len(start_ns)))
        each.append([part * bound for bound in energy_between(curve, start_ns, end_ns)])
    value = sum((energy for energy, _, _ in each), np.zeros(len(start_ns)))
    below = np.sqrt(sum(((energy - low) ** 2 for energy, low, _ in each), np.zeros(len(start_ns))))
    above = np.sqrt(sum(((high - energy) ** 2 for energy, _, high in each), np.zeros(len(start_ns))))
    return [value, value - below, value + above]


def _mean_power_w(measured_j: Sequence[float], covers: Sequence[float], window_ns: tuple[int, int]) -> float | None:
    """Mean power over the part of the window whose joules each channel knows; `None` where one knows none."""
    seconds = [share * (window_ns[1] - window_ns[0]) / 1e9 for share in covers]
    return sum(j / s for j, s in zip(measured_j, seconds, strict=True)) if all(seconds) else None


def _cut(share: Share, count: int) -> Share:
    net = share.net_energy_j
    return Share(
        share.energy_j[:count], share.low_j[:count], share.high_j[:count], None if net is None else net[:count]
    )


def _sum_shares(shares: Sequence[Share]) -> Share:
    value = np.sum([share.energy_j for share in shares], axis=0)
    below = np.sqrt(np.sum([(share.energy_j - share.low_j) ** 2 for share in shares], axis=0))
    above = np.sqrt(np.sum([(share.high_j - share.energy_j) ** 2 for share in shares], axis=0))
    nets = [share.net_energy_j for share in shares if share.net_energy_j is not None]
    net = np.sum(nets, axis=0) if len(nets) == len(shares) else None
    return Share(value, value - below, value + above, net)


def _sum_intervals(parts: Sequence[tuple[float, float, float] | None]) -> dict[str, float] | None:
    """Sum independent values with bounds; one that is absent makes the sum absent."""
    known = [part for part in parts if part is not None]
    if not known or len(known) < len(parts):
        return None
    value = sum(part[0] for part in known)
    below = float(np.hypot.reduce([part[0] - part[1] for part in known]))
    above = float(np.hypot.reduce([part[2] - part[0] for part in known]))
    return {"value": value, "low": value - below, "high": value + above}


def _levels(parts: Sequence[Attribution]) -> dict[str, dict[str, float] | None]:
    phases = dict.fromkeys(phase for part in parts for phase in part.levels)
    return {phase: _sum_intervals([part.levels.get(phase) for part in parts]) for phase in phases}


def _costs(parts: Sequence[Attribution]) -> dict[str, dict[str, float] | None]:
    """What a step, a token, … cost on all devices together, J."""
    names = dict.fromkeys(name for part in parts for name in part.costs)
    return {name: _sum_intervals([part.costs.get(name) for part in parts]) for name in names}


def _weighted(values: Sequence[float], weights: Sequence[float]) -> float:
    total = sum(weights)
    return sum(v * w for v, w in zip(values, weights, strict=True)) / total if total > 0 else max(values)
