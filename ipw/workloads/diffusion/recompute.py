"""For which positions a step computes hidden states, keys and values: the rules of dKV-Cache, restated as sets.

What is not computed keeps the keys and values that it had when it last was. All is counted in steps of one block.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ipw.workloads.diffusion.settings import Settings

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


class Moment(NamedTuple):
    """What the rules look at, before a step."""

    step: int
    """Of this block, from 0."""
    first: bool
    """Whether nothing has been computed yet."""
    prompt: int
    """Tokens of the prompt."""
    masked: Bools
    """[positions]"""
    masked_before: Bools
    """[positions], as it was before the step before this one."""
    planned: Ints
    """Positions to be committed now, in their order, where that is known."""
    committed: Ints
    """Positions that the step before this one committed."""


def positions(s: Settings, now: Moment, *, shift: bool) -> Ints | None:
    """Positions to compute, ascending; `None` for all. With `shift` position p predicts the token of p + 1."""
    if s.cache == "none" or now.first:
        return None
    own = now.prompt - shift
    if s.cache == "prefill":
        return np.arange(own, now.masked.size)
    if s.cache == "greedy":
        return None if now.step % s.refresh == 0 else around(now, s.window, shift=shift)
    if now.step % s.refresh == 0 or (not shift and now.step <= 1):
        return None if s.cache == "decode" else np.arange(own, now.masked.size)
    return np.flatnonzero(unsettled(now) if shift else now.masked_before)


def unsettled(now: Moment) -> Bools:
    """Positions whose prediction was still wanted before the step before this one, where p predicts p + 1.

    The last position predicts nothing; it counts as settled from the block's third step on.
    """
    return np.append(now.masked_before[1:], now.step <= 1)


def around(now: Moment, window: int, *, shift: bool) -> Ints:
    """What is committed now, what was committed before, and `window` masked positions around each of the former."""
    chosen = {*now.planned.tolist(), *now.committed.tolist()}
    if shift:
        chosen |= {p - 1 for p in now.planned.tolist()}
    for place in now.planned.tolist():
        found = 0
        for far in range(1, now.masked.size):
            for near in (place - far, place + far):
                if found < window and 0 <= near < now.masked.size and now.masked[near] and near not in chosen:
                    chosen.add(near)
                    found += 1
            if found == window:
                break
    return np.array(sorted(chosen), np.int64)
