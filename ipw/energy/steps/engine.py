"""What kind of engine computed what was asked for, told by when its results came."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from ipw.energy.steps.arrivals import Arrivals, Requests
from ipw.energy.steps.bursts import Fit, best_gap, bursts
from ipw.energy.steps.prompts import located
from ipw.energy.steps.steps import Steps, steps_of
from ipw.energy.steps.work import Work, work_of

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
class Engine:
    """What kind of engine it is, how sure that is, and why."""

    kind: Kind
    sure: float
    """0 to 1."""
    why: str
    evidence: dict[str, float] = field(default_factory=dict)
    steps: Steps | None = None
    """Where they can be told."""
    work: Work | None = None
    """Who did what in them."""

    def facts(self) -> dict[str, Any]:
        """What a run keeps of it."""
        told = {"kind": self.kind, "sure": self.sure, "why": self.why, "evidence": self.evidence}
        return told | {"steps": self.count, "step_ms": self.step_ms and list(self.step_ms)}

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
    return Engine(kind, fit.score, why, evidence, found, work_of(requests, found, located(requests, found)))


def _evidence(gap_ns: float, fit: Fit, arrivals: Arrivals) -> dict[str, float]:
    return {
        "pause_ms": gap_ns / 1e6,
        "attended": fit.attended,
        "once": fit.once,
        "spread": fit.spread,
        "beside_others": fit.shared / arrivals.t_ns.size,
    }


def _in_batches(steps: Steps) -> bool:
    """Whether units begin only when nothing else goes on."""
    told = steps.last_step >= 0
    first, last = np.sort(steps.first_step[told]), np.sort(steps.last_step[told])
    going_on = np.searchsorted(first, first) - np.searchsorted(last, first)
    return float((going_on == 0).mean()) >= TOGETHER
