"""How far real power departs from the levels: how much from span to span, within a span, and at edges told late."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ipw.energy.arrays import Floats, Ints
from ipw.energy.chain import Steps, filtered
from ipw.energy.regression import triangle
from ipw.energy.segments import Segments

COARSE = np.geomspace(1e-5, 0.7, 12)
"""Fractions of power tried first for the departure of spans, and per √s for what is within them."""
COARSE_EDGE_S = np.geomspace(1e-5, 0.03, 12)
"""Errors of edges tried first."""
FINE = np.logspace(-0.6, 0.6, 9)
"""Factors on the first answer tried next."""
PIECES, PIECE = 4, 1000
"""Long runs are represented by this many pieces of about this many segments."""
ROUGH = 1e-6
"""Least departure as a fraction of power: keeps the algebra regular."""


@dataclass(frozen=True, slots=True)
class Scene:
    """What the chain's steps are made from once the departures are given, for a part of the segments."""

    seconds: Floats
    """`[m]`."""
    present: Floats
    """`[kinds, m]`: what is in flight."""
    leaving: Floats
    """`[kinds, m]`: what was until then, and is over."""
    drift_unit: Floats
    """`[m]`: J² of energy for a departure within spans of 1 per √s."""
    edge_unit: Floats
    """`[m]`: J² of energy for edges wrong by 1 s."""
    extra_var: Floats
    """`[m]`: J² beside those, huge in gaps."""
    knot_var: Floats
    """`[m + 1]`: J² at each event, infinite where there is no knot."""
    unit_w: Floats
    """`[kinds]`: mean power of one of each kind."""

    def part(self, a: int, b: int) -> Scene:
        """The segments from `a` to `b`."""
        return Scene(
            seconds=self.seconds[a:b],
            present=self.present[:, a:b],
            leaving=self.leaving[:, a:b],
            drift_unit=self.drift_unit[a:b],
            edge_unit=self.edge_unit[a:b],
            extra_var=self.extra_var[a:b],
            knot_var=self.knot_var[a : b + 1],
            unit_w=self.unit_w,
        )

    def steps(self, departures: Floats) -> Steps:
        """Steps of one chain, or of several side by side: `[…, kinds + 2]` departures as `estimate` returns them.

        When some of several spans end, the departure of the total keeps what the rest can be expected to hold of it.
        """
        var = (np.maximum(departures[..., :-2], ROUGH) * self.unit_w) ** 2
        within, edge = departures[..., -2, None], departures[..., -1, None]
        held = var @ self.present
        before = np.concatenate([np.zeros_like(held[..., :1]), held[..., :-1]], axis=-1)
        kept = np.maximum(before - var @ self.leaving, 0.0)
        keep = np.divide(kept, before, out=np.zeros_like(kept), where=before > 0)
        drift = within**2 * self.drift_unit + edge**2 * self.edge_unit + self.extra_var
        shape = keep.shape
        return Steps(
            seconds=np.broadcast_to(self.seconds, shape),
            keep=keep,
            fresh_var=np.maximum(held - keep * kept, 1e-9 * held),
            drift_var=drift,
            knot_var=np.broadcast_to(self.knot_var, (*shape[:-1], self.knot_var.size)),
        )


def scene(seg: Segments, power_w: Floats, knot_var: Floats) -> Scene:
    """Everything but the departures, from the model's power in each segment and the variance of each knot."""
    jump = jumps(power_w)
    time = seg.present * seg.seconds
    share = np.abs(power_w) / np.maximum(seg.number, 1)
    mean_w = float(np.abs(power_w) @ seg.seconds) / max(float(seg.seconds.sum()), 1e-12)
    used = time.sum(1)
    unit = np.where(used > 0, (time @ share) / np.maximum(used, 1e-12), mean_w)
    var = np.full(seg.t_ns.size, np.inf)
    var[seg.knots] = knot_var
    return Scene(
        seconds=seg.seconds,
        present=seg.present,
        leaving=seg.leaving,
        drift_unit=power_w**2 * seg.seconds,
        edge_unit=(jump**2 + np.append(jump[1:], 0.0) ** 2) / 2,  # an edge may be told early or late
        extra_var=np.where(seg.lost, 4.0, 1e-9) * float(knot_var.max()),
        knot_var=var,
        unit_w=np.maximum(unit, 1e-6),
    )


def jumps(power_w: Floats) -> Floats:
    """Change of the model's power at the start of each segment."""
    return np.concatenate([[0.0], np.diff(power_w)])


def estimate(parts: Scene, observed: Floats, knots: Ints, prior_sd: Floats) -> Floats:
    """Departures `[kinds + 2]`: of a span's power for each kind, within spans (per √s), both as fractions; of edges, s.

    Each in turn is averaged over its likelihood given the others, on a coarse grid and then on finer ones; the levels
    are integrated out (restricted likelihood). `observed` is `[1 + levels, events]`: the energy, and what each level
    contributes to it.
    """
    kinds = parts.unit_w.size
    pieces = _pieces(knots)
    found = np.array([*[0.05] * kinds, 0.01, 5e-4])
    for fine in (False, True, True):
        for k in range(found.size):
            coarse = COARSE if k < found.size - 1 else COARSE_EDGE_S
            grid = found[k] * FINE if fine else coarse
            tried = np.tile(found, (grid.size, 1))
            tried[:, k] = grid
            log = _log_likelihood(parts, tried, observed, pieces, prior_sd)
            weight = np.exp(log - log.max())
            if k < kinds:  # flat in the departure itself, on a logarithmic grid: spans do depart, by little or much
                weight *= grid
                found[k] = np.sqrt(weight @ grid**2 / weight.sum())
            else:  # flat in its logarithm: what is within spans and at edges may as well be nothing
                found[k] = weight @ grid / weight.sum()
    return found


def _pieces(knots: Ints) -> list[Ints]:
    """Events at the knots of the pieces of the run that are looked at."""
    if knots[-1] <= PIECES * PIECE:
        return [knots]
    starts = np.linspace(0, knots[-1] - PIECE, PIECES)
    pieces = [knots[(knots >= start) & (knots <= start + PIECE)] for start in starts]
    return [piece for piece in pieces if piece.size > 2] or [knots[:PIECE]]


def _log_likelihood(parts: Scene, tried: Floats, observed: Floats, pieces: list[Ints], prior_sd: Floats) -> Floats:
    """Of each row of departures."""
    log = np.zeros(tried.shape[0])
    surprises = []
    for knots in pieces:
        a, b = int(knots[0]), int(knots[-1])
        values = observed[:, None, a : b + 1] - observed[:, None, a : a + 1]
        out = filtered(parts.part(a, b).steps(tried), values)
        log -= out.log_scale.sum(-1)
        surprises.append(out.innovations[..., knots - a])
    prior = np.broadcast_to(
        np.diag([0.0, *1 / prior_sd])[:, None], (observed.shape[0], *tried.shape[:1], observed.shape[0])
    )
    rows = np.roll(np.concatenate([*surprises, prior], axis=-1), -1, axis=0)  # the energy last
    corner = np.abs(np.diagonal(triangle(rows.transpose(1, 2, 0)), axis1=1, axis2=2))
    log -= np.log(corner[:, :-1]).sum(1) + corner[:, -1] ** 2 / 2  # determinant of the levels' precision, and misfit
    return log
