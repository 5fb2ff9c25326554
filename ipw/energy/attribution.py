"""Who used which joules: a curve and spans in, energy with an interval for every span and every owner out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import compress

import numpy as np
import numpy.typing as npt

from ipw.energy.arrays import Floats, Ints, checked
from ipw.energy.baseline import Baseline, idle_baseline, quiet_intervals
from ipw.energy.curve import Z95, Curve, energy_at
from ipw.energy.division import Drawn, Share, divide, placed, share_of_owners, share_of_spans
from ipw.energy.model import PowerModel, fitted, interpolated
from ipw.energy.pieces import EVENTS, Collected, Piece, pieces
from ipw.energy.segments import Segments, segments
from ipw.energy.steps.by_work import RULE, ByWork, divided, measured
from ipw.energy.steps.engine import Engine
from ipw.energy.timeline import Spans, timeline

__all__ = ["Attribution", "Share", "Spans", "attribute"]

Interval = tuple[float, float, float]
"""Value, low, high."""
LEAST_TICKS = 4
"""Readings during spans, for each phase, below which phases are not told apart."""
VAGUE = 0.5
"""A level with a standard deviation of more than this fraction of the largest is as good as unknown, …"""
NEGLIGIBLE = 0.01
"""… unless that is less than this fraction of all power."""
FEWER_EVENTS = EVENTS // 4
"""Of a piece that is divided by steps: an edge of a span stands for as many chunks as an answer has."""
COSTS_EVERY = 64
"""Pieces, of whose first it is found how large errors are, and what is held up, for all of them."""

HIDDEN = 0.25
"""Of net joules, how far shares by phase are from those by steps (standard deviation; see docs/attribution.md)."""
OTHERS = "steps last longer than what was asked for takes: others share the engine, how many is a guess"
_NONE = Share(np.zeros(0), np.zeros(0), np.zeros(0), None)


@dataclass(frozen=True, slots=True)
class Attribution:
    """Energy of a window, divided: Σ owners + idle + unattributed = measured."""

    spans: Share
    owners: Share
    measured_j: float
    """As readings have it; of a window that begins or ends under load, moved by as much as all of them are late."""
    idle_j: float
    """While no span was in flight."""
    unattributed_j: float
    """Counted across an outage, or drawn by steps for others: nobody can say whose it is."""
    idle_power_w: Interval | None
    """The floor that net energy leaves out: value, low, high."""
    levels: dict[str, Interval]
    """Mean power above the floor of one span of each phase, as it ran, in W: value, low, high."""
    rule: str
    gain_rel: float
    flags: tuple[str, ...] = ()
    costs: dict[str, Interval] = field(default_factory=dict)
    """Of an engine that computes in steps: J above the floor of a step, of a token, …: value, low, high."""


def attribute(
    curve: Curve,
    spans: Spans,
    *,
    window_ns: tuple[int, int],
    idle_ns: npt.ArrayLike | None = None,
    engine: Engine | None = None,
) -> Attribution:
    """Divide the energy of a window among spans and their owners.

    A span with nothing else in flight is charged all that was drawn from its start to its end. Several in flight share
    the idle floor equally, and what is above it by level of their phase times work per second. `idle_ns` `[n, 2]` are
    times known to be idle; without them the floor is taken from stretches without a span, as far as there are any. The
    whole curve and all spans tell the levels; the window only says what is summed. Where the steps of an `engine` can
    be told, and idle power is known, what is above the floor is divided by steps (`ipw.energy.steps.by_work`) instead.
    Raises ValueError for reversed or non-finite times.
    """
    start, end = (int(t) for t in checked(window_ns, "window_ns"))
    if end < start:
        raise ValueError("the window ends before it starts")
    idle = checked([] if idle_ns is None else idle_ns, "idle_ns").reshape(-1, 2)
    if curve.t_ns.size < 2:
        return _nothing(spans, curve.gain_rel)
    if not idle.size:
        idle = quiet_intervals(curve, spans.start_ns, spans.end_ns)
    baseline = idle_baseline(curve, idle)
    untold = ""
    if engine is not None and engine.told:
        by_work = _divided(curve, spans, engine, baseline, window_ns) if baseline else "no idle power is known"
        if baseline and isinstance(by_work, ByWork):
            return _by_work(curve, by_work, baseline, window_ns)
        untold = f"; not by steps: {by_work}"
    parts, seconds = [], []
    of_spans, of_owners = Collected(spans.owner.size), Collected(spans.owners or 0)

    departures = None
    for piece in pieces(curve, spans, (start, end)):
        part, departures = _attribute_piece(piece, idle, baseline, departures)
        of_spans.add(part.spans, piece.span, piece.inside)
        of_owners.add(part.owners, piece.owner, piece.owner_inside)
        parts.append(replace(part, spans=_NONE, owners=_NONE))
        seconds.append((piece.window_ns[1] - piece.window_ns[0]) / 1e9)
    found = _joined(curve, spans, parts, seconds, of_spans.share(), of_owners.share())
    if engine is not None and engine.hidden:
        found = replace(found, spans=_by_guess(found.spans), owners=_by_guess(found.owners))
    return replace(found, rule=found.rule + untold)


def _by_guess(share: Share) -> Share:
    """Widen the shares of an engine whose steps are hidden: readings that are alike say nothing of who used what."""
    if share.net_energy_j is None:
        return share
    more = Z95 * HIDDEN * np.abs(share.net_energy_j)
    high = share.energy_j + np.hypot(share.high_j - share.energy_j, more)
    low = share.energy_j - np.hypot(share.energy_j - share.low_j, more)
    return replace(share, low_j=np.maximum(low, np.minimum(share.energy_j, 0.0)), high_j=high)


def _divided(
    curve: Curve, spans: Spans, engine: Engine, baseline: Baseline, window_ns: tuple[int, int]
) -> ByWork | str:
    """Divide by steps, a long run piece by piece; or say why that cannot be."""
    if engine.whole is None:
        return divided(curve, spans, engine, baseline, window_ns)
    of_spans, of_owners = Collected(spans.owner.size), Collected(spans.owners or 0)
    idle_j, unseen_j, costs, seconds = 0.0, 0.0, [], []
    known = None
    for number, piece in enumerate(pieces(curve, spans, window_ns, FEWER_EVENTS)):
        part = engine.within(piece.owner, int(piece.curve.t_ns[0]), int(piece.curve.t_ns[-1]))
        known = known if number % COSTS_EVERY else None
        found = divided(piece.curve, piece.spans, part, baseline, piece.window_ns, known)
        if isinstance(found, str):
            return found
        known = found.known
        of_spans.add(found.spans, piece.span, piece.inside)
        of_owners.add(found.owners, piece.owner, piece.owner_inside)
        idle_j += found.idle_j
        unseen_j += found.unseen_j
        costs.append(found.costs)
        seconds.append((piece.window_ns[1] - piece.window_ns[0]) / 1e9)
    names = dict.fromkeys(name for each in costs for name in each)
    mean = {name: _mean([each.get(name) for each in costs], seconds) for name in names}
    return ByWork(of_spans.share(), of_owners.share(), idle_j, unseen_j, mean)


def _by_work(curve: Curve, found: ByWork, baseline: Baseline, window_ns: tuple[int, int]) -> Attribution:
    """Of the steps of an engine."""
    measured_j, unattributed_j = measured(curve, window_ns)
    return Attribution(
        spans=found.spans,
        owners=found.owners,
        measured_j=measured_j,
        idle_j=found.idle_j,
        unattributed_j=unattributed_j + found.unseen_j,
        idle_power_w=baseline.estimate(*window_ns),
        levels={},
        rule=RULE,
        gain_rel=curve.gain_rel,
        flags=(OTHERS,) if found.unseen_j else (),
        costs=found.costs,
    )


def _attribute_piece(
    piece: Piece, idle: Ints, baseline: Baseline | None, departures: Floats | None
) -> tuple[Attribution, Floats | None]:
    curve, spans, (start, end) = piece.curve, piece.spans, piece.window_ns
    line = timeline(curve, spans, [np.array([start, end]), idle, curve.gaps_ns])
    seg = segments(curve, spans, line)
    part = slice(seg.first, seg.first + seg.seconds.size)
    reason = _untold(seg, spans)
    model = interpolated(curve, seg) if reason else fitted(curve, seg, line.within(idle)[part], baseline, departures)

    window = line.within(np.array([[start, end]]))
    floor = _floor(baseline, model, start, end)
    floor_j = np.full(window.size, floor[0] if floor else 0.0) * line.seconds
    if baseline is not None:
        floor_j = np.diff(baseline.energy_at(line.t_ns))
    drawn = Drawn(
        line=line,
        part=part,
        energy_j=placed(line, part, model.energy_j) * window,
        floor_j=floor_j * placed(line, part, ~seg.lost) * window,
        window=window,
    )
    division = divide(drawn, spans, model)
    unattributed = float((np.diff(energy_at(curve, line.t_ns)) * window * line.within(curve.gaps_ns)).sum())
    rule, flags = _rule(curve, spans, model, reason)
    found = Attribution(
        spans=share_of_spans(division, spans, model, net=floor is not None),
        owners=share_of_owners(division, spans, model, net=floor is not None),
        measured_j=float(drawn.energy_j.sum()) + unattributed,
        idle_j=float(drawn.energy_j[line.counts.sum(0) == 0].sum()),
        unattributed_j=unattributed,
        idle_power_w=floor,
        levels={} if reason else _levels(spans, model),
        rule=rule,
        gain_rel=curve.gain_rel,
        flags=flags,
    )
    return found, model.departures


def _joined(
    curve: Curve,
    spans: Spans,
    parts: Sequence[Attribution],
    seconds: Sequence[float],
    of_spans: Share,
    of_owners: Share,
) -> Attribution:
    """Make one attribution of those of the pieces: sums of joules, means over time of watts."""
    phases = dict.fromkeys(phase for part in parts for phase in part.levels)
    beyond = int(((spans.start_ns < curve.t_ns[0]) | (spans.end_ns > curve.t_ns[-1])).sum())
    told = [f"{beyond} spans reach beyond the readings"] if beyond else []
    floors = [part.idle_power_w for part in parts]
    return Attribution(
        spans=of_spans,
        owners=of_owners,
        measured_j=sum(part.measured_j for part in parts),
        idle_j=sum(part.idle_j for part in parts),
        unattributed_j=sum(part.unattributed_j for part in parts),
        idle_power_w=_mean(floors, seconds) if all(floors) else None,
        levels={phase: _mean([part.levels.get(phase) for part in parts], seconds) for phase in phases},
        rule="; ".join(dict.fromkeys(part.rule for part in parts)),
        gain_rel=curve.gain_rel,
        flags=(*told, *dict.fromkeys(flag for part in parts for flag in part.flags)),
    )


def _mean(values: Sequence[Interval | None], seconds: Sequence[float]) -> Interval:
    """Mean over time of values with bounds, as far as they are known: the bounds may all err in one direction."""
    known = [value is not None for value in values]
    weights = np.array(seconds)[known] if sum(compress(seconds, known)) else None
    value, low, high = np.average([value for value in values if value is not None], axis=0, weights=weights).tolist()
    return value, low, high


def _levels(spans: Spans, model: PowerModel) -> dict[str, Interval]:
    """Mean power of a span of each phase that there is, with its interval."""
    sd = np.sqrt(np.diag(model.cov))[model.level_at] * model.mean_factor
    return {
        spans.phases[k]: _interval(float(model.levels_w[k] * model.mean_factor[k]), float(sd[k]))
        for k in np.unique(spans.phase).tolist()
    }


def _interval(value: float, sd: float) -> Interval:
    return value, max(0.0, value - Z95 * sd), value + Z95 * sd


def _untold(seg: Segments, spans: Spans) -> str | None:
    """Why phases cannot be told apart at all, or `None` where they can be tried."""
    if not spans.owner.size:
        return "no spans"
    busy = seg.ticks((seg.number > 0) * seg.seconds)[seg.usable] > 0
    needed = LEAST_TICKS * np.unique(spans.phase).size
    if int(busy.sum()) < needed:
        return f"{int(busy.sum())} readings during spans, where telling phases apart takes {needed}"
    if not seg.tick_j.any():
        return "readings tell of no energy"
    return None


def _rule(curve: Curve, spans: Spans, model: PowerModel, reason: str | None) -> tuple[str, tuple[str, ...]]:
    """Name what was done, and flag the phases that were merged because nothing told them apart."""
    if reason:
        flags = ("phases not told apart",) if spans.owner.size else ()
        return f"interpolation between readings ({reason})", flags
    sd = np.sqrt(np.diag(model.cov))[model.level_at]
    seen = np.unique(spans.phase)
    mean_w = float(curve.energy_j[-1]) / (float(curve.t_ns[-1] - curve.t_ns[0]) / 1e9)
    limit = max(VAGUE * float(model.levels_w[seen].max()), NEGLIGIBLE * mean_w)
    vague = [spans.phases[k] for k in seen if seen.size > 1 and sd[k] > limit]
    rule = "phase-aware division of each tick; above idle by level times work, idle floor shared equally"
    if vague:
        return f"{rule}; {', '.join(vague)} not told apart", ("phases not told apart",)
    return rule, ()


def _floor(baseline: Baseline | None, model: PowerModel, start: int, end: int) -> Interval | None:
    """Idle power over the window with its interval, from idle times or else from the model."""
    if baseline is not None:
        return baseline.estimate(start, end)
    if model.floor_w is None or model.floor_w[1] > VAGUE * model.floor_w[0]:
        return None
    return _interval(*model.floor_w)


def _nothing(spans: Spans, gain_rel: float) -> Attribution:
    """Of a curve with fewer than two knots."""
    each, owned = np.zeros(spans.owner.size), np.zeros(spans.owners or 0)
    return Attribution(
        spans=Share(each, each, each, None),
        owners=Share(owned, owned, owned, None),
        measured_j=0.0,
        idle_j=0.0,
        unattributed_j=0.0,
        idle_power_w=None,
        levels={},
        rule="none: fewer than two readings",
        gain_rel=gain_rel,
        flags=("no readings",),
    )
