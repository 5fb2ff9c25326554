"""Several engines behind one address: which computed which units, told by whose results come at once."""

from __future__ import annotations

import numpy as np

from ipw.energy.arrays import Bools, Floats, Ints
from ipw.energy.steps.arrivals import Arrivals

AT_ONCE_NS = 1_000_000
"""Results so close together are of one step, as far as two engines do not finish at once."""
TOGETHER = 0.85
"""Of the results that two units had while both had results to come, those that came at once, if one engine computed
both."""
MOST_ENGINES = 16
"""Where there seem to be more, none is told."""
CLOSER, ROUNDS = 0.8, 6
"""A unit moves to an engine whose results its own were so much closer to; so often at most."""
LEAST = 4
"""Results, below which that tells nothing."""


def engine_of_units(arrivals: Arrivals, units: int) -> Ints:
    """`[units]`: the number of the engine that computed each; -1 for a unit without results.

    Units are taken in the order of their first results, and go to the engine with whose units they had results at once,
    else to one that has nothing to do.
    """
    order = np.argsort(arrivals.unit, kind="stable")
    t_ns, counts = arrivals.t_ns[order], np.bincount(arrivals.unit, minlength=units)
    begin = np.concatenate([[0], np.cumsum(counts)])
    results = [t_ns[begin[k] : begin[k + 1]] for k in range(units)]
    engine = np.full(units, -1)
    going_on: list[int] = []
    first = np.array([r[0] if r.size else np.iinfo(np.int64).max for r in results])
    for unit in np.argsort(first, kind="stable")[: int((counts > 0).sum())].tolist():
        going_on = [other for other in going_on if results[other][-1] > first[unit]]
        shares = [_at_once(results[unit], results[other]) for other in going_on]
        best = int(np.argmax(shares)) if shares else -1
        if best >= 0 and shares[best] >= TOGETHER:
            engine[unit] = engine[going_on[best]]
        else:
            busy = {int(engine[other]) for other in going_on}
            engine[unit] = next(number for number in range(units + 1) if number not in busy)
        going_on.append(unit)
    return _settled(arrivals, engine)


def _settled(arrivals: Arrivals, engine: Ints) -> Ints:
    """Move each unit to the engine whose other results its own were closest to, until none moves."""
    engines = int(engine.max(initial=-1)) + 1
    if engines > MOST_ENGINES:
        return engine
    counts = np.maximum(np.bincount(arrivals.unit, minlength=engine.size), 1)
    for _ in range(ROUNDS if engines > 1 else 0):
        apart_ns = np.stack([_away_ns(arrivals, engine[arrivals.unit] == one) for one in range(engines)])
        mean_ns = np.stack([np.bincount(arrivals.unit, each, engine.size) for each in apart_ns]) / counts
        best, units = mean_ns.argmin(0), np.arange(engine.size)
        moves = (engine >= 0) & (mean_ns[best, units] < CLOSER * mean_ns[engine, units])
        if not moves.any():
            break
        engine = np.where(moves, best, engine)
    return engine


def _away_ns(arrivals: Arrivals, mine: Bools) -> Floats:
    """How far each result is from the nearest other one of an engine, as far as it is no more than what is at once."""
    theirs = arrivals.t_ns[mine]
    if not theirs.size:
        return np.full(arrivals.t_ns.size, float(AT_ONCE_NS))
    after = np.searchsorted(theirs, arrivals.t_ns)
    after[mine] = np.arange(theirs.size)
    ahead = np.minimum(after + mine, theirs.size)  # not itself
    padded = np.concatenate([[-AT_ONCE_NS], theirs, [arrivals.t_ns[-1] + AT_ONCE_NS]])
    away = np.minimum(padded[ahead + 1] - arrivals.t_ns, arrivals.t_ns - padded[after])
    found: Floats = np.minimum(np.abs(away), AT_ONCE_NS).astype(np.float64)
    return found


def _at_once(one: Ints, other: Ints) -> float:
    """Of the results of one unit while the other had results to come, those that came with one of its."""
    mine = one[(one >= other[0] - AT_ONCE_NS) & (one <= other[-1] + AT_ONCE_NS)]
    if mine.size < LEAST:
        return 0.0
    after = np.searchsorted(other, mine)
    ahead = np.abs(other[np.minimum(after, other.size - 1)] - mine)
    behind = np.abs(other[np.maximum(after - 1, 0)] - mine)
    return float((np.minimum(ahead, behind) <= AT_ONCE_NS).mean())
