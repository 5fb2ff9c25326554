"""What kind of engine computed what was asked for, told by when its results came."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from ipw.energy.arrays import Bools, Floats, Ints
from ipw.energy.arrivals import Arrivals, Requests
from ipw.energy.bursts import Bursts, Fit, best_gap, bursts

Kind = Literal["steps", "static batches", "one at a time", "several engines", "unknown"]

ATTENDED, ONCE, SPREAD = 0.75, 0.93, 0.35
"""Bursts are steps where so much of what is in flight has a result in each, one, and close together."""
SHARED = 200
"""Arrivals beside others, below which nothing is told."""
STREAMED = 0.95
"""Of the finished units, those of which more than one arrival is known, at least."""
TOGETHER = 0.9
"""Of the units, those that begin in a burst with all that is in flight: batches that wait for their last."""


@dataclass(frozen=True, slots=True)
class Steps:
    """Steps in order of their ends, and whose results came at the end of each."""

    start_ns: Ints
    end_ns: Ints
    entry_step: npt.NDArray[np.int32]
    """`[entries]`: a step …"""
    entry_unit: npt.NDArray[np.int32]
    """… and a unit of which results came at its end, each pair once, in order of steps."""
    entry_tokens: Floats
    """How many."""
    first_step: Ints
    """`[units]`: at whose end the first result came; -1 for none."""
    last_step: Ints


@dataclass(frozen=True, slots=True)
class Engine:
    """What kind of engine it is, how sure that is, and why."""

    kind: Kind
    sure: float
    """0 to 1."""
    why: str
    evidence: dict[str, float] = field(default_factory=dict)
    steps: Steps | None = None
    """Where they can be told."""
    requests: Requests | None = None

    @property
    def count(self) -> int | None:
        """Steps seen."""
        return self.steps.start_ns.size if self.steps else None

    @property
    def step_ms(self) -> tuple[float, float, float] | None:
        """How long steps last: the 5th, 50th and 95th percentile."""
        if not self.steps or not self.steps.start_ns.size:
            return None
        low, middle, high = np.quantile((self.steps.end_ns - self.steps.start_ns) / 1e6, [0.05, 0.5, 0.95]).tolist()
        return low, middle, high


def engine_of(requests: Requests, arrivals: Arrivals) -> Engine:
    """Tell the kind of engine by its arrivals, which come in order of time."""
    if arrivals.t_ns.size < 2:
        return Engine("unknown", 0.0, "no arrivals are known")
    chunks = np.bincount(arrivals.unit, minlength=requests.start_ns.size)
    done = requests.produced > 1
    streamed = float((chunks[done] > 1).mean()) if done.any() else 0.0
    if streamed < STREAMED:
        return Engine("unknown", 0.0, f"only {streamed:.0%} of the answers came in several chunks")
    gap_ns, fit = best_gap(arrivals)
    evidence = _evidence(gap_ns, fit, arrivals)
    if fit.shared < SHARED:
        alone = 1 - fit.shared / arrivals.t_ns.size
        return Engine("one at a time", alone, f"{alone:.0%} of the chunks came while one was in flight", evidence)
    why = (
        f"{fit.attended:.0%} of those in flight had a result in each burst, {fit.once:.0%} of the chunks were the only"
        f" one of theirs in it, and bursts lasted {fit.spread:.0%} of the time between them"
    )
    if fit.attended < ATTENDED or fit.once < ONCE or fit.spread > SPREAD:
        return Engine("unknown", 1 - fit.score, f"chunks do not come in steps: {why}", evidence)
    found = steps_of(requests, arrivals, bursts(arrivals, gap_ns))
    kind: Kind = "static batches" if _in_batches(found) else "steps"
    return Engine(kind, fit.score, why, evidence, found, requests)


def _evidence(gap_ns: float, fit: Fit, arrivals: Arrivals) -> dict[str, float]:
    return {
        "pause_ms": gap_ns / 1e6,
        "attended": fit.attended,
        "once": fit.once,
        "spread": fit.spread,
        "beside_others": fit.shared / arrivals.t_ns.size,
    }


def steps_of(requests: Requests, arrivals: Arrivals, found: Bursts) -> Steps:
    """Make a step of each burst: it ends when its first result comes, and begins when the one before ended.

    Where nothing was in flight then, it begins when the next unit was asked for.
    """
    units = requests.start_ns.size
    known = np.bincount(arrivals.unit, arrivals.tokens, units)
    scale = np.divide(requests.produced, known, out=np.ones(units), where=(known > 0) & (requests.produced > 0))
    order = np.lexsort((arrivals.unit, found.of))
    step, unit = found.of[order], arrivals.unit[order].astype(np.int32)
    new = np.concatenate([[True], (np.diff(step) != 0) | (np.diff(unit) != 0)])
    tokens = np.add.reduceat(arrivals.tokens[order].astype(np.float64), np.flatnonzero(new))
    step, unit = step[new], unit[new]
    first, last = np.full(units, found.first_ns.size), np.full(units, -1)
    np.minimum.at(first, unit, step)
    np.maximum.at(last, unit, step)
    first[last < 0] = -1
    return Steps(
        start_ns=_starts(requests, found.first_ns, last),
        end_ns=found.first_ns,
        entry_step=step,
        entry_unit=unit,
        entry_tokens=tokens * scale[unit],
        first_step=first,
        last_step=last,
    )


def _starts(requests: Requests, end_ns: Ints, last: Ints) -> Ints:
    """When each step began."""
    told = last >= 0
    asked = np.sort(requests.start_ns[told])
    over = np.sort(last[told])
    before = np.concatenate([[asked[0]], end_ns[:-1]])
    begun = np.searchsorted(asked, before, "right")
    ended = np.searchsorted(over, np.arange(end_ns.size) - 1, "right")
    idle = (begun <= ended) & (begun < asked.size)
    start = np.where(idle, asked[np.minimum(begun, asked.size - 1)], before)
    earliest: Ints = np.minimum(np.maximum(start, before), end_ns - 1)
    return earliest


def _in_batches(steps: Steps) -> bool:
    """Whether units begin only when nothing else goes on."""
    told = steps.last_step >= 0
    first, last = np.sort(steps.first_step[told]), np.sort(steps.last_step[told])
    going_on = np.searchsorted(first, first) - np.searchsorted(last, first)
    return float((going_on == 0).mean()) >= TOGETHER


def present(steps: Steps) -> Bools:
    """Whether each entry is of a unit that had a result before."""
    later: Bools = steps.entry_step > steps.first_step[steps.entry_unit]
    return later
