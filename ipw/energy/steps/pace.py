"""How long steps last: those that only go on with what has begun, and how much longer for each token beside."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ipw.energy.arrays import MEDIAN_SD, Bools, Floats, Ints
from ipw.energy.steps.budget import roundest

LONGER = 1.15
"""A step that lasts so many times longer than usual did more than it usually does."""
FEW, FEW_SURE = 20, 8
"""Steps, below which they do not tell how long one lasts; those whose work is known for sure may be fewer."""
SHORT = 0.1
"""Of all that go on, so many are shorter than what is taken for the shortest."""
SURE = 0.05
"""Of how long a token takes, the most that its standard error may be. With 0.1, prompts of 790 to 900 tokens in steps
uneven by 2 % told a line that began 0.7 of a short step too high."""
SMALLER = 0.9
"""Of the most work in a step, some steps must have less, to tell how long one without lasts."""
AGREED = 0.05
"""How close together full steps seem to be."""
NEAR = 0.02
"""So near to what full steps took by their lengths, the most that one takes is the roundest number."""
SHORTEST_S = 1e-9
"""A step of no length may lie on the line exactly; clocks tell nothing shorter than this."""
LINE_ROUNDS = 12
"""Of reweighting."""


class Pace(NamedTuple):
    """How long steps last."""

    seconds: Floats
    """`[steps]`."""
    usual: Floats
    """`[steps]`: a step that only goes on with what has begun."""
    longer: Bools
    """`[steps]`: whether each lasted longer than that."""
    shaky: float
    """By what fraction those depart from it."""


def plain_steps(seconds: Floats, decoding: Floats, finishing: Floats, waiting: Bools) -> Bools:
    """Steps that only go on with what has begun; where something always waits, the shortest ones are taken for them."""
    sure: Bools = (finishing == 0) & ~waiting
    going_on: Bools = (finishing == 0) & (decoding > 0)
    if sure.sum() >= FEW or not going_on.any():
        return sure
    brief: Bools = going_on & (seconds < LONGER * short(seconds[going_on]))
    return brief


def short(lengths: Floats | Ints) -> float:
    """How long a short step lasts, in the unit of `lengths`."""
    return float(np.quantile(lengths, SHORT))


def usual_length(seconds: Floats, decoding: Floats, plain: Bools) -> Floats:
    """How long a step lasts that only goes on with what has begun."""
    if plain.sum() < FEW:
        return np.zeros(seconds.size)
    middle = float(np.median(seconds[plain]))
    near = plain & (seconds < 2 * middle)
    x = decoding[near]
    if np.ptp(x) < 2:
        return np.full(seconds.size, middle)
    base, slope = line(x, seconds[near])
    usual: Floats = np.maximum(base + max(slope, 0.0) * decoding, middle / 2)
    return usual


def speed(seconds: Floats, tokens: Floats, surely: Bools, longer: Bools) -> tuple[float, float]:
    """Seconds of a step without work, and of a token: a line through those steps whose work is known for sure.

    Where those are few, or tell no such line (work is much the same in all of them, and steps are uneven), all that
    lasted longer tell how long a token takes on average.
    """
    if surely.sum() >= FEW_SURE and np.ptp(tokens[surely]) >= 1:
        x, y = tokens[surely], seconds[surely]
        base, slope = line(x, y)
        uneven = MEDIAN_SD * float(np.median(np.abs(y - base - slope * x)))
        if slope > 0 and base >= 0 and uneven <= SURE * slope * float(np.std(x)) * np.sqrt(x.size):
            return base, slope
    total = float(tokens[longer].sum())
    return 0.0, float(seconds[longer].sum()) / total if total else 0.0


def height_sd(seconds: Floats, tokens: Floats, surely: Bools) -> float:
    """Standard error of the seconds of a step without work, by those steps whose work is known for sure."""
    if surely.sum() < FEW:
        return np.inf
    x, y = tokens[surely], seconds[surely]
    if (x < SMALLER * x.max()).sum() < FEW:
        return np.inf
    base, slope = line(x, y)
    uneven = MEDIAN_SD * float(np.median(np.abs(y - base - slope * x)))
    return uneven * float(np.sqrt(1 / x.size + x.mean() ** 2 / ((x - x.mean()) ** 2).sum()))


def line(x: Floats, y: Floats) -> tuple[float, float]:
    """Height and slope of the straight line of least absolute deviations: some steps are held up."""
    slope, height = np.polyfit(x, y, 1)
    for _ in range(LINE_ROUNDS):
        away = np.abs(y - height - slope * x)
        slope, height = np.polyfit(x, y, 1, w=1 / np.sqrt(np.maximum(away, np.maximum(1e-3 * y, SHORTEST_S))))
    return float(height), float(slope)


def most_by_lengths(totals: Floats, full: Bools) -> float:
    """The most that one step takes, where those after which work was left agree on it; infinite where not."""
    if full.sum() < FEW // 4:
        return np.inf
    middle = float(np.median(totals[full]))
    away = float(np.median(np.abs(totals[full] - middle)))
    return roundest(middle * (1 - NEAR), middle * (1 + NEAR)) if away < AGREED * middle else np.inf
