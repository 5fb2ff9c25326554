"""How often a counter is renewed, as far as its readings tell."""

from __future__ import annotations

import numpy as np

from ipw.energy.arrays import Floats, Ints

UNTOLD_PERIOD_S = 3.0
"""A counter that does not say how often it is renewed is so at least this often: Apple's rails come every 2.2 s."""
FEWEST = 3
"""Changes of a value that tell how far apart they come."""
SELDOM = 2.5
"""A counter whose changes are so many reads apart is renewed in batches, …"""
COARSE = 3.0
"""… unless it counts in steps of which one or few are a change."""


def changes(value_j: Floats) -> Ints:
    """Indices of the first readings of each new value."""
    found: Ints = np.flatnonzero(np.diff(value_j) != 0) + 1
    return found


def learnt_period_s(t_ns: Ints, value_j: Floats) -> float | None:
    """Usual time between two changes; `None` where there are too few."""
    new = changes(value_j)
    return float(np.median(np.diff(t_ns[new]))) / 1e9 if new.size >= FEWEST else None


def seldom_renewed(t_ns: Ints, value_j: Floats, resolution_j: float) -> bool:
    """Whether readings in order of time saw most values more than once, since they come in batches.

    Two changes tell: between them it was not renewed, however little more is known.
    """
    new = changes(value_j)
    if new.size < 2 or np.median(np.diff(t_ns[new])) < SELDOM * float(np.median(np.diff(t_ns))):
        return False
    steps = np.diff(value_j)
    return float(np.median(np.abs(steps[steps != 0]))) > COARSE * resolution_j


def waited(t_ns: Ints, value_j: Floats, period_s: float | None) -> Floats:
    """Of each interval between two readings, how long before it the energy may have been counted that it shows, in ns.

    That is since the value before was first seen, and a period more: since then it was not renewed.
    """
    if t_ns.size < 2:
        return np.zeros(0)
    new = np.diff(value_j, prepend=np.nan) != 0
    first_seen = t_ns[np.maximum.accumulate(np.where(new, np.arange(t_ns.size), 0))][:-1]
    before = first_seen == t_ns[0]  # nobody saw it renewed
    learnt_s = period_s if period_s is not None else learnt_period_s(t_ns, value_j) or UNTOLD_PERIOD_S
    unseen_s = np.where(before & (period_s is None), max(learnt_s, UNTOLD_PERIOD_S), learnt_s)
    since: Floats = (t_ns[:-1] - first_seen) + 1e9 * unseen_s
    return since
