"""A counter that is seldom read, shaped by a power reading that is cheap: how much from one, when from the other."""

from __future__ import annotations

from dataclasses import replace
from itertools import compress

import numpy as np

from ipw.energy.arrays import Floats
from ipw.energy.curve import Curve

REACH_NS = 150_000_000
"""So far beyond its first and last value, power is taken to stay as it was."""


def shaped(slow: Curve, fast: Curve) -> Curve:
    """Place the energy between two knots of `slow` as `fast` has it there, so that every knot of `slow` stays true.

    Where `fast` has a gap, saw nothing, or ended long before, `slow` stays straight. What is placed is as uncertain in
    time as the knots of `fast` and those of `slow` around it are. An outage of `slow` whose joules are known is none
    where `fast` tells when they were drawn.
    """
    if slow.t_ns.size < 2 or fast.t_ns.size < 2:
        return slow
    at = _energy_at(fast, slow.t_ns.astype(np.float64))
    grown = np.diff(at)
    known = (grown > 0) & (slow.t_ns[:-1] >= fast.t_ns[0] - REACH_NS) & (slow.t_ns[1:] <= fast.t_ns[-1] + REACH_NS)
    for start, end in np.concatenate([fast.gaps_ns, slow.lost_ns]):
        known &= (slow.t_ns[1:] <= start) | (slow.t_ns[:-1] >= end)
    gaps = ~known[np.searchsorted(slow.t_ns, slow.gaps_ns[:, 0])]
    interval = np.searchsorted(slow.t_ns, fast.t_ns, "right") - 1
    inside = (interval >= 0) & (interval < grown.size)
    inside &= known[np.clip(interval, 0, grown.size - 1)] & (fast.t_ns != slow.t_ns[np.clip(interval, 0, None)])
    k, t = interval[inside], fast.t_ns[inside]
    share = (_energy_at(fast, t.astype(np.float64)) - at[k]) / grown[k]
    energy = slow.energy_j[k] + np.diff(slow.energy_j)[k] * np.clip(share, 0.0, 1.0)
    around_ns = np.interp(t - slow.t_ns[0], slow.t_ns - slow.t_ns[0], slow.t_err_ns)
    where = np.searchsorted(slow.t_ns, t)
    return replace(
        slow,
        t_ns=np.insert(slow.t_ns, where, t),
        energy_j=np.insert(slow.energy_j, where, energy),
        t_err_ns=np.insert(slow.t_err_ns, where, np.hypot(fast.t_err_ns[inside], around_ns)),
        gaps_ns=slow.gaps_ns[gaps],
        gap_reasons=tuple(compress(slow.gap_reasons, gaps)),
        gap_lost=slow.gap_lost[gaps],
    )


def _energy_at(curve: Curve, t_ns: Floats) -> Floats:
    """Cumulative joules, going on beyond both ends at the power there."""
    t, e = curve.t_ns.astype(np.float64), curve.energy_j
    first_w, last_w = (e[1] - e[0]) / (t[1] - t[0]), (e[-1] - e[-2]) / (t[-1] - t[-2])
    energy: Floats = np.interp(t_ns, t, e)
    energy += np.minimum(t_ns - t[0], 0.0) * first_w + np.maximum(t_ns - t[-1], 0.0) * last_w
    return energy
