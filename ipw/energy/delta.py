"""From one value of an energy counter to the next: how many joules, or why nobody can say."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ipw.energy.belief.limits import MARGIN

OK, RESET, IMPOSSIBLE, AMBIGUOUS = 0, 1, 2, 3
REASONS = ("ok", "reset", "impossible power", "unread for more than one wrap")
"""What each code says."""


def deltas(
    value_j: npt.NDArray[np.float64],
    t_ns: npt.NDArray[np.int64],
    slack_ns: npt.NDArray[np.float64],
    *,
    waited_ns: npt.NDArray[np.float64] | None = None,
    range_j: float | None = None,
    max_power_w: float | None = None,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int8]]:
    """Energy between successive values of a counter: joules and a code for each of the n-1 intervals.

    A value below the one before it is a wrap where the counter has a range, else a reset. `slack_ns` is the half-width
    of each value's moment: power is judged impossible only where the widest interval still makes it so, and `waited_ns`
    before it, in which may have been counted what shows only now. An interval in which the device could have used its
    whole range is ambiguous. The energy of an interval that is not OK is 0.
    """
    step = np.diff(value_j)
    span_s = (np.diff(t_ns) + slack_ns[1:] + slack_ns[:-1]) / 1e9
    code = np.full(step.size, OK, np.int8)
    back = step < 0
    if range_j is None:
        code[back] = RESET
    else:
        step = np.where(back, step + range_j, step)
        code[step < 0] = RESET  # beyond the stated range: this was no wrap
    if max_power_w is not None:
        if range_j is not None:
            code[(code == OK) & (max_power_w * span_s >= range_j)] = AMBIGUOUS
        counted_s = span_s if waited_ns is None else span_s + waited_ns / 1e9
        code[(code == OK) & (step > MARGIN * max_power_w * counted_s)] = IMPOSSIBLE
    return np.where(code == OK, step, 0.0), code
