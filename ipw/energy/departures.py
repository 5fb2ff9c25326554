"""How far real power departs from the levels: how much from span to span, within a span, and at edges told late."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ipw.energy.arrays import Floats, Ints
from ipw.energy.chain import Steps, innovations
from ipw.energy.regression import triangle
from ipw.energy.segments import Segments

USUAL = {"spans": 1e-2, "within": 3e-4, "edges": 1e-4}
"""Before the ticks say more: fractions of power by which spans depart, by which power departs within them (per √s), and
seconds by which edges are off, …"""
ORDERS = 2.3
"""… each give or take a factor of ten (standard deviation of the logarithm)."""
UNLIKE = 1.5
"""The same of a phase's departure about what all have in common."""
ORDERLY = 0.75
"""How spans in flight end: 0 at random, 1 in the order in which they began."""
EXACT = 0.5
"""Probability that nothing departs at all: power follows the phases, as of a machine that is simulated."""
DRAWS, ROUNDS = 400, 5
"""Sets of departures tried at once, from a proposal that is improved so often, …"""
ENOUGH = 40
"""… from as many effective draws at least."""
AT_ONCE = 16
"""Of those are worked on at once, so that they stay in the processor's cache. The result does not depend on it."""
PIECES, PIECE = 4, 1000
"""Long runs are represented by this many pieces of about this many segments."""
MOST = 0.7
"""No departure is larger."""
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

        When some of several spans end, the departure of the total keeps part of what the rest can be expected to hold
        of it: spans of like length end in the order in which they began, and nothing outlives the last of them.
        """
        var = (np.maximum(departures[..., :-2], ROUGH) * self.unit_w) ** 2
        held, over = var @ self.present, var @ self.leaving
        found = np.empty((3, *held.shape))
        for some in [...] if held.ndim == 1 else [slice(a, a + AT_ONCE) for a in range(0, len(held), AT_ONCE)]:
            found[:, some] = self._step(held[some], over[some], departures[some])
        keep, fresh_var, drift_var = found
        return Steps(
            seconds=np.broadcast_to(self.seconds, keep.shape),
            keep=keep,
            fresh_var=fresh_var,
            drift_var=drift_var,
            knot_var=np.broadcast_to(self.knot_var, (*keep.shape[:-1], self.knot_var.size)),
        )

    def _step(self, held: Floats, over: Floats, departures: Floats) -> tuple[Floats, Floats, Floats]:
        """What is kept of the departure of power, what comes anew, and the drift, from what is `held` and `over`."""
        within, edge = departures[..., -2, None], departures[..., -1, None]
        before = np.concatenate([np.zeros_like(held[..., :1]), held[..., :-1]], axis=-1)
        over = np.minimum(over, before)
        keep = np.divide(before - over, before + ORDERLY * over, out=np.zeros_like(held), where=before > over)
        drift = within**2 * self.drift_unit + edge**2 * self.edge_unit + self.extra_var
        return keep, np.maximum(held - keep**2 * before, 1e-9 * held), drift


def scene(seg: Segments, power_w: Floats, knot_var: Floats, unit_w: Floats) -> Scene:
    """Everything but the departures, from the model's power in each segment and the variance of each knot."""
    jump = jumps(power_w)
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
        unit_w=unit_w,
    )


def jumps(power_w: Floats) -> Floats:
    """Change of the model's power at the start of each segment."""
    return np.concatenate([[0.0], np.diff(power_w)])


def estimate(parts: Scene, observed: Floats, knots: Ints, prior_sd: Floats) -> Floats:
    """Departures `[kinds + 2]`: of a span's power for each kind, within spans (per √s), both as fractions; of edges, s.

    The root mean square of each over their joint posterior, with the levels integrated out (restricted likelihood), by
    adaptive importance sampling (Cornuet et al., "Adaptive multiple importance sampling", 2012). A phase's departure is
    one that all have in common times a factor of its own; with some probability there are none. `observed` is
    `[1 + levels, events]`: the energy, and what each level contributes to it.
    """
    phases = parts.unit_w.size - 1
    pieces = _pieces(knots)
    rng = np.random.default_rng(0)
    usual = np.array([*np.log(list(USUAL.values())), *[0.0] * phases])
    spread = np.array([*[ORDERS] * 3, *[UNLIKE] * phases])
    mean, root = usual, np.diag(spread)
    draws, log, proposals = np.zeros((0, usual.size)), np.zeros(0), []
    for _ in range(ROUNDS):
        fresh = mean + rng.standard_normal((DRAWS, usual.size)) @ root.T
        proposals.append((mean, root))
        tried = np.vstack([np.zeros(phases + 3), _departures(fresh)])
        none, *likely = _log_likelihood(parts, tried, observed, pieces, prior_sd)
        draws, log = np.vstack([draws, fresh]), np.append(log, likely)
        proposed = [_log_density(draws, *proposal) for proposal in proposals]
        ratio = log + proposed[0] - np.logaddexp.reduce(proposed, axis=0) + np.log(len(proposals))
        weight, flat = _weights(ratio), 1.0
        while 1 / (weight @ weight) < ENOUGH:
            flat *= 0.7
            weight = _weights(flat * ratio)
        mean = weight @ draws
        root = np.linalg.cholesky((draws - mean).T * weight @ (draws - mean) + 1e-6 * np.eye(mean.size))
    some = np.logaddexp.reduce(ratio) - np.log(ratio.size)
    share = 1 / (1 + EXACT / (1 - EXACT) * np.exp(np.clip(none - some, -500, 500)))
    found: Floats = np.sqrt(share * (weight @ _departures(draws) ** 2))
    return found


def _departures(draws: Floats) -> Floats:
    """`[n, kinds + 2]` from logarithms of: spans, within, edges, own factor of each phase; idle stretches have none."""
    spans = draws[:, :1] + np.hstack([draws[:, 3:], np.zeros((draws.shape[0], 1))])
    return np.minimum(np.exp(np.hstack([spans, draws[:, 1:3]])), MOST)


def _log_density(draws: Floats, mean: Floats, root: Floats) -> Floats:
    """Of a normal distribution, up to a constant."""
    z = np.linalg.solve(root, (draws - mean).T)
    density: Floats = -(z**2).sum(0) / 2 - np.log(np.diag(root)).sum()
    return density


def _weights(log: Floats) -> Floats:
    """Of logarithms, so that they add up to 1."""
    weight: Floats = np.exp(log - log.max())
    weight /= weight.sum()
    return weight


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
    observed = np.roll(observed, -1, axis=0)  # the energy last
    surprises = []
    for knots in pieces:
        a, b = int(knots[0]), int(knots[-1])
        surprise, scale = innovations(parts.part(a, b).steps(tried), observed[:, a : b + 1] - observed[:, a : a + 1])
        log -= scale
        surprises.append(surprise)
    known = np.roll(np.diag([0.0, *1 / prior_sd]), -1, axis=0)[:, None]
    for first in range(0, tried.shape[0], AT_ONCE):
        some = slice(first, first + AT_ONCE)
        prior = np.broadcast_to(known, (known.shape[0], log[some].size, known.shape[2]))
        rows = np.concatenate([*(surprise[:, some] for surprise in surprises), prior], axis=-1)
        corner = np.abs(np.diagonal(triangle(rows.transpose(1, 2, 0)), axis1=1, axis2=2))
        # determinant of the levels' precision, and misfit
        log[some] -= np.log(corner[:, :-1]).sum(1) + corner[:, -1] ** 2 / 2
    return log
