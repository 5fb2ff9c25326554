"""The energy of each segment, divided among the spans in flight in it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ipw.energy.arrays import Bools, Floats, Ints
from ipw.energy.curve import Z95
from ipw.energy.model import PowerModel
from ipw.energy.timeline import Spans, Timeline
from ipw.energy.uncertainty import Pieces, quadratic, timing_variance

WEIGHT_UNIT = 1 << 20
"""Weights are whole numbers, so that sums in flight are exact; this is the strongest phase's at its usual rate."""
MOST = 64.0
"""Times that weight: no span has more."""


@dataclass(frozen=True, slots=True)
class Share:
    """Joules of each span or each owner, and the ends of the 95 % interval of the gross energy, gain left out."""

    energy_j: Floats
    low_j: Floats
    high_j: Floats
    net_energy_j: Floats | None
    """Above the idle floor; `None` where no idle power is known."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """What was drawn in each segment of a timeline, 0 outside the window."""

    line: Timeline
    part: slice
    """The segments between the first and the last knot."""
    energy_j: Floats
    floor_j: Floats
    """Of it, what an idle machine would have drawn."""
    window: Bools
    """Which segments lie in the window."""


@dataclass(frozen=True, slots=True)
class Division:
    """Gross and net energy of each span, J, and the variance of the gross energy, in parts."""

    gross_j: Floats
    net_j: Floats
    pieces: Pieces
    per_weight: Floats
    """Per segment, 1 / (sum of the weights in flight)."""
    beside_s: Floats
    """Per span: of its duration, the share that others took."""
    rows: list[Floats]
    """Per coefficient of the model, the change of each span's energy with it."""


def divide(drawn: Drawn, spans: Spans, model: PowerModel) -> Division:
    """Share the floor equally, and what is above it by level of the phase times work per second."""
    line, part = drawn.line, drawn.part
    weight = _weights(spans, model.levels_w)
    number = line.counts.sum(0)
    busy = number > 0
    per_weight = np.divide(1.0, line.in_flight(weight), out=np.zeros(number.size), where=busy)
    per_span = np.divide(1.0, number, out=np.zeros(number.size), where=busy)
    alone, together = number == 1, np.where(number > 1, per_weight, 0.0)

    def by_weight(values: Floats) -> Floats:
        """Shares of each span; what it has alone is added as it is, so that small weights lose no digits."""
        return weight * line.over_spans(values * together) + line.over_spans(values * alone)

    above = drawn.energy_j - drawn.floor_j
    net = by_weight(above)
    rows = []
    for k, sensitivity in enumerate(model.sensitivity):
        row = by_weight(placed(line, part, np.diff(sensitivity)) * drawn.window)
        phase = k - model.level_at.start
        if 0 <= phase < len(spans.phases) and model.levels_w[phase] > 0:  # and through the weights
            mine = spans.phase == phase
            share = line.in_flight(weight[mine], mine) * together
            row += weight * line.over_spans(above * together * (1 - share)) * mine / model.levels_w[phase]
            row -= weight * line.over_spans(above * together * share) * ~mine / model.levels_w[phase]
        rows.append(row)

    first, last = (np.clip(events, part.start, part.stop) - part.start for events in (line.first, line.last))
    return Division(
        gross_j=net + line.over_spans(drawn.floor_j * per_span),
        net_j=net,
        pieces=Pieces(first, last, weight.astype(np.float64)),
        per_weight=per_weight[part],
        beside_s=np.maximum(spans.seconds - by_weight(line.seconds), 0.0),
        rows=rows,
    )


def share_of_spans(division: Division, spans: Spans, model: PowerModel, *, net: bool) -> Share:
    """Energy of each span; without `net` the floor is not known."""
    each = np.arange(spans.owner.size)
    return _share(division, spans, model, each, each.size, each, net=net)


def share_of_owners(division: Division, spans: Spans, model: PowerModel, *, net: bool) -> Share:
    """Energy of each owner; without `net` the floor is not known."""
    return _share(division, spans, model, spans.owner, spans.owners or 0, spans.stretches()[0], net=net)


def _share(
    division: Division, spans: Spans, model: PowerModel, owner: Ints, owners: int, stretch: Ints, *, net: bool
) -> Share:
    """Sums over owners. A stretch is what departs from its level as one, which beside others no reading tells."""

    def owned(values: Floats) -> Floats:
        return np.bincount(owner, values, owners).astype(np.float64)

    value = owned(division.gross_j)
    variance = timing_variance(division.pieces, owner, owners, division.per_weight, model.smoothed)
    sd_w = model.span_sd_w[spans.phase]
    whole = np.bincount(stretch, spans.seconds * sd_w)[stretch]
    variance += owned(whole * division.beside_s * sd_w)
    rows = np.array([owned(row) for row in division.rows]).reshape(len(division.rows), owners)
    variance += quadratic(rows, model.cov)
    margin = Z95 * np.sqrt(variance)
    low = np.maximum(value - margin, np.minimum(value, 0.0))
    return Share(value, low, value + margin, owned(division.net_j) if net else None)


def placed(line: Timeline, part: slice, values: npt.NDArray[np.float64] | Bools) -> Floats:
    """Values of the segments between the first and the last knot, on the whole timeline."""
    whole = np.zeros(line.t_ns.size - 1)
    whole[part] = values
    return whole


def _weights(spans: Spans, levels_w: Floats) -> Ints:
    level = levels_w[spans.phase] if levels_w.any() else np.ones(spans.phase.size)
    relative = spans.relative_rates() * level / max(float(level.max(initial=0.0)), 1e-300)
    weights: Ints = np.maximum(np.rint(np.minimum(relative, MOST) * WEIGHT_UNIT), 1).astype(np.int64)
    return weights
