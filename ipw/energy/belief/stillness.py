"""Where a counter stood still for longer than it may: every device that runs draws something, at idle too."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ipw.energy.arrays import Floats, Ints
from ipw.energy.belief.renewal import UNTOLD_PERIOD_S, learnt_period_s

STILL = "stood still"
"""Why such a stretch is a gap."""
PROMPT_S, PROMPT_LEAST_S = 0.15, 1.0
"""One that says that it is renewed so often, and is seen to be, may stand still for a second only."""
LEAST_S, PERIODS = 3.0, 3.0
"""A counter may stand still for three times as long as it takes to be renewed, and for three seconds in any case: idle
devices are renewed more seldom."""
NEVER_S, FEWEST_READS = 0.05, 3
"""One that never moved is not believed once it was read a few times over so long."""
ONCE_S, MANY_READS = 1.0, 10
"""One that moved a single time says when it was renewed once, and nothing about how much was drawn when."""
LEAST_W, SELDOM_STEPS = 0.1, 20.0
"""A coarse counter waits for its next step: of a device that draws this at the least or, where power is known, for so
many times the usual time."""
CAUGHT_UP = 0.5
"""A step that makes up for this share of what is usually drawn in the time tells what was drawn in it."""


class Stretch(NamedTuple):
    """From the first to the last reading of one value."""

    start_ns: int
    end_ns: int
    caught_up: bool
    """Whether the next value made up for it, so that its joules are known; then the stretch ends with that."""


def stood_still(
    t_ns: Ints, value_j: Floats, *, period_s: float | None = None, resolution_j: float = 0.0
) -> list[Stretch]:
    """Stretches in which a counter, whose readings are good and in order of time, stood still for too long.

    Only what was seen counts: time in which nobody read it is no stillness. `period_s` is how often it is renewed, as
    far as it says so; what its changes tell is allowed for too.
    """
    if t_ns.size < FEWEST_READS:
        return []
    first = np.flatnonzero(np.diff(value_j, prepend=np.nan) != 0)
    last = np.append(first[1:], t_ns.size) - 1
    still_s = (t_ns[last] - t_ns[first]) / 1e9
    whole_s = float(t_ns[-1] - t_ns[0]) / 1e9
    step_j, apart_s = np.diff(value_j[first]), np.diff(t_ns[first]) / 1e9
    coarse_s = 3 * resolution_j / LEAST_W
    if first.size == 1:
        never = whole_s >= max(NEVER_S, coarse_s)
        return [Stretch(int(t_ns[0]), int(t_ns[-1]), caught_up=False)] if never else []
    learnt_s = learnt_period_s(t_ns, value_j)
    if learnt_s is not None:
        usual_w = float(np.median(step_j / apart_s))
        coarse_s = min(coarse_s, SELDOM_STEPS * resolution_j / max(usual_w, LEAST_W))
    known = [each for each in (period_s, learnt_s) if each is not None]
    prompt = period_s is not None and len(known) == 2 and max(known) <= PROMPT_S
    longest_s = max(
        PROMPT_LEAST_S if prompt else LEAST_S,
        coarse_s,
        PERIODS * max(known) if known else UNTOLD_PERIOD_S * PERIODS / 2,
    )
    if first.size == 2 and t_ns.size >= MANY_READS and whole_s > max(ONCE_S, coarse_s, PERIODS * (period_s or 0.0)):
        return [Stretch(int(t_ns[0]), int(t_ns[-1]), caught_up=False)]
    long = still_s > longest_s
    usual = (step_j > 0) & ~long[:-1]
    usual_w = float(np.median(step_j[usual] / apart_s[usual])) if usual.any() else 0.0
    found = []
    for k in np.flatnonzero(long).tolist():
        caught_up = k < step_j.size and step_j[k] > CAUGHT_UP * usual_w * still_s[k] and step_j[k] > 0
        end = first[k + 1] if caught_up else last[k]
        found.append(Stretch(int(t_ns[first[k]]), int(t_ns[end]), bool(caught_up)))
    return found
