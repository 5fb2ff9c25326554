"""How much of what waits each step takes: of the line of all work, where it was at the end of each."""

from __future__ import annotations

import numpy as np

from ipw.energy.arrays import Bools, Floats
from ipw.energy.steps.pace import short
from ipw.energy.steps.waiting import LATE, Queue

MISSED = 4
"""Steps of one run that were just missed, at most."""
FULL_IF_TOLD = 0.7
"""A step that lasts so much of what full ones do was full, where counts tell the most that one takes."""


def by_counts(queue: Queue, seconds: Floats, finishing: Floats, decoding: Floats, told: float) -> tuple[Bools, Floats]:
    """Which steps were full, and how many of the engine's steps each is, where counts have `told` the most.

    One after which something still waits was full; what was asked for may just have missed one.
    """
    filled, passes = queue.asked & (decoding > 0), np.ones(seconds.size)
    if not (np.isfinite(told) and filled.any()):
        return np.zeros(seconds.size, bool), passes
    full_s = float(np.median(seconds[filled]))
    filled &= seconds > FULL_IF_TOLD * full_s
    passes = np.where(queue.asked & (decoding == 0), np.maximum(np.rint(seconds / full_s), 1.0), 1.0)
    just_ns = LATE * 1e9 * short(seconds)
    return _without_missed(filled, queue, finishing, told - decoding, just_ns), passes


def _without_missed(filled: Bools, queue: Queue, finishing: Floats, room: Floats, just_ns: float) -> Bools:
    """Leave out steps that what was asked for just missed, on its way to the engine.

    It was in time for none of them where it would have been done a step before its first result. Then it missed the one
    that it was asked for the shortest time before, if that was less than `just_ns`.
    """
    filled = filled.copy()
    for _ in range(MISSED):
        carried = carried_on(finishing, queue, np.where(filled, room, 0.0), np.ones(room.size))
        early = np.flatnonzero(filled & (queue.next_work > 1) & (carried >= queue.next_work - 1))
        if not early.size:
            break
        first = np.maximum.accumulate(np.where(filled & ~np.append(False, filled[:-1]), np.arange(room.size), 0))
        for k in early.tolist():
            run = slice(int(first[k]), k + 1)
            latest = run.start + int(np.argmin(queue.waited_ns[run]))
            if filled[run].all() and queue.waited_ns[latest] < just_ns:
                filled[latest] = False
    return filled


def whole_passes(room: Floats, most: float, hidden: Bools, off: Floats) -> Floats:
    """Of steps seen as one before any unit began, while something waits, all are full."""
    if not np.isfinite(most):
        return room
    passes = np.rint(room / most)
    whole: Floats = np.where(hidden & (passes >= 1) & (np.abs(room - passes * most) < off), passes * most, room)
    return whole


def carried_on(finishing: Floats, queue: Queue, room: Floats, least: Floats) -> Floats:
    """What of the next unit's work was done by the end of each step: `least` or more at once, or none."""
    carried = np.zeros(finishing.size)
    carry = 0.0
    busy = np.flatnonzero((finishing > 0) | queue.waiting)
    rows = zip(
        busy.tolist(),
        finishing[busy].tolist(),
        queue.waiting[busy].tolist(),
        queue.next_work[busy].tolist(),
        room[busy].tolist(),
        least[busy].tolist(),
        strict=True,
    )
    for k, ends, waiting, following, fits, told in rows:
        before = carry
        if ends:
            rest = max(ends - before, 0.0)
            carry = min(fits - rest, following - 1) if waiting and fits - rest >= told else 0.0
        else:
            carry = max(before, min(before + fits, following - 1)) if fits >= told else before
        carried[k] = carry
    return carried


def done_before(finishing: Floats, queue: Queue, fits: Floats, carried: Floats) -> Floats:
    """Move to the step before what does not fit into a step, as far as it can have been done there."""
    more = carried.copy()
    for k in np.flatnonzero(finishing + carried - np.append(0.0, carried[:-1]) > fits)[::-1].tolist():
        while k and queue.waiting[k - 1]:
            needed = float(finishing[k] + more[k] - fits[k])
            if needed <= more[k - 1]:
                break
            more[k - 1] = min(needed, float(queue.next_work[k - 1]) - 1)
            k -= 1  # noqa: PLW2901
    return more
