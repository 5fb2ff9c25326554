"""What kind of engine computed what was asked for, told by when its results came."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from ipw.energy.arrays import Ints
from ipw.energy.steps.apart import MOST_ENGINES, engine_of_units
from ipw.energy.steps.arrivals import MISSING, Arrivals, Requests
from ipw.energy.steps.bursts import Fit, best_gap, bursts, held_back, joined
from ipw.energy.steps.prompts import located
from ipw.energy.steps.relayed import relayed
from ipw.energy.steps.steps import Steps, steps_of
from ipw.energy.steps.steps import joined as steps_in_turn
from ipw.energy.steps.work import Work, together, work_of

Kind = Literal["steps", "static batches", "one at a time", "several engines", "unknown"]

ATTENDED, ONCE = 0.75, 0.93
"""Bursts are steps where so much of what is in flight has a result in each, one, and close together."""
SHARED = 200
"""Arrivals beside others, below which nothing is told."""
STREAMED = 0.95
"""Of the finished units, those of which more than one arrival is known, at least."""
TOGETHER = 0.9
"""Of the units, those that begin in a burst with all that is in flight: batches that wait for their last."""

GATHERED = 0.3
"""Of the chunks, so many that came with another of their unit are of several steps that somebody gathered."""
GATHERED_TOKENS = 1.5
"""Tokens a chunk, from which on units that come at other moments are not taken for those of another engine."""
LONG = 1 << 22
"""Arrivals of a run whose steps are made piece by piece, so that memory does not grow with it."""


class Whole(NamedTuple):
    """What pieces of a long run are made of."""

    requests: Requests
    arrivals: Arrivals
    gap_ns: float
    steps: int
    """How many in all."""


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
    whole: Whole | None = None
    """Of a long run, whose `steps` are only some, and which has no `work` but that of its pieces."""
    hidden: bool = False
    """Whether it computes in steps that somebody on the way hides."""

    @property
    def told(self) -> bool:
        """Whether steps can be told."""
        return self.steps is not None

    def within(self, units: Ints, since_ns: int, until_ns: int) -> Engine:
        """Steps of a long run between two moments, and what these `units` did in them, by their order."""
        assert self.whole is not None
        requests, arrivals, gap_ns, _ = self.whole
        first, last = (_edge(arrivals.t_ns, t_ns, gap_ns) for t_ns in (since_ns, until_ns))
        place = np.full(requests.start_ns.size, -1, np.int32)
        place[units] = np.arange(units.size, dtype=np.int32)
        unit = place[arrivals.unit[first:last]]
        mine = unit >= 0
        part = Arrivals(arrivals.t_ns[first:last][mine], arrivals.tokens[first:last][mine], unit[mine])
        if not part.t_ns.size:
            return Engine("unknown", 0.0, "for a long while no chunk came")
        asked = Requests(*(column[units] for column in requests))
        begun = asked.first_ns < part.t_ns[0]
        cut = begun | (asked.end_ns > part.t_ns[-1] + gap_ns)
        asked = asked._replace(produced=np.where(cut, MISSING, asked.produced))  # not all of its chunks are here
        steps = steps_of(asked, part, bursts(part, gap_ns))
        start = steps.start_ns.copy()
        start[0] = max(start[0], arrivals.t_ns[first - 1] if first else 0)  # of those cut, the first began long before
        steps = replace(steps, start_ns=start, first_step=np.where(begun, -1, steps.first_step))
        return replace(self, steps=steps, work=work_of(asked, steps, located(asked, steps)), whole=None)

    def facts(self) -> dict[str, Any]:
        """What a run keeps of it."""
        told = {"kind": self.kind, "sure": self.sure, "why": self.why, "evidence": self.evidence}
        return told | {"steps": self.count, "step_ms": self.step_ms and list(self.step_ms)}

    @property
    def count(self) -> int | None:
        """Steps seen."""
        if self.whole:
            return self.whole.steps
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
    chunks = _counted(arrivals.unit, requests.start_ns.size)
    done = requests.produced > 1
    streamed = float((chunks[done] > 1).mean()) if done.any() else 0.0
    if streamed < STREAMED:
        return Engine("unknown", 0.0, f"only {100 * streamed:.0f} % of the answers came in several chunks")
    gap_ns, fit = best_gap(arrivals)
    evidence = _evidence(gap_ns, fit, arrivals)
    if fit.shared < SHARED:
        alone = 1 - fit.shared / arrivals.t_ns.size
        return Engine("one at a time", alone, f"{alone:.0%} of the chunks came while one was in flight", evidence)
    why = (
        f"{fit.attended:.0%} of those in flight had a result in each burst, {fit.once:.0%} of the chunks were the only"
        f" one of theirs in it, and bursts lasted {fit.spread:.0%} of the time between them"
    )
    gathered, passed_on = held_back(arrivals), relayed(requests, arrivals, gap_ns)
    if fit.attended < ATTENDED or fit.once < ONCE or not fit.close:
        hidden = gathered > GATHERED or _many_tokens(requests, arrivals) or (fit.close and passed_on is not None)
        unknown = Engine("unknown", 1 - fit.score, f"chunks do not come in steps: {why}", evidence, hidden=hidden)
        parted = arrivals.t_ns.size <= LONG and gathered <= GATHERED
        return (_several(requests, arrivals) if parted else None) or unknown
    if gathered > GATHERED:
        why = f"{gathered:.0%} of the chunks came along with the one before"
        return Engine("unknown", gathered, why, evidence, hidden=True)
    if passed_on:
        return Engine("unknown", passed_on.sure, passed_on.why, evidence, hidden=True)
    if arrivals.t_ns.size > LONG:
        return _long(Engine("steps", fit.score, why, evidence), Whole(requests, arrivals, gap_ns, 0))
    found = steps_of(requests, arrivals, bursts(arrivals, gap_ns))
    kind: Kind = "static batches" if _in_batches(found) else "steps"
    return Engine(kind, fit.score, why, evidence, found, work_of(requests, found, located(requests, found)))


def _many_tokens(requests: Requests, arrivals: Arrivals) -> bool:
    """Whether chunks are of several tokens."""
    known = requests.produced > 0
    return bool(requests.produced[known].sum() > GATHERED_TOKENS * known[arrivals.unit].sum())


def _several(requests: Requests, arrivals: Arrivals) -> Engine | None:
    """Tell several engines, if there are some whose chunks each come in steps of several units."""
    if _many_tokens(requests, arrivals):
        return None  # one engine whose server gathers: what it sends together is of units that began together
    number = engine_of_units(arrivals, requests.start_ns.size)
    engines = int(number.max()) + 1
    parts, fits = [], []
    for one in range(engines if engines <= MOST_ENGINES else 0):
        mine = number[arrivals.unit] == one
        part = Arrivals(arrivals.t_ns[mine], arrivals.tokens[mine], arrivals.unit[mine])
        gap_ns, fit = best_gap(part)
        fits.append(fit)
        parts.append(steps_of(requests, part, bursts(part, gap_ns)))
        if fit.shared < part.t_ns.size / 2 or fit.attended < ATTENDED or fit.once < ONCE or not fit.close:
            return None
        if relayed(requests, part, gap_ns):
            return None
    if len(parts) < 2:
        return None
    fit = joined(fits)
    why = (
        f"chunks come in the steps of {engines} engines that share no units: {fit.attended:.0%} of those in flight had"
        f" a result in each burst of their engine, {fit.once:.0%} of the chunks were the only one of theirs"
    )
    works = [work_of(requests, part, located(requests, part)) for part in parts]
    evidence = _evidence(0.0, fit, arrivals) | {"engines": float(engines)}
    return Engine("several engines", fit.score, why, evidence, steps_in_turn(parts), together(works))


def _long(engine: Engine, whole: Whole) -> Engine:
    """Look at the middle of a long run for its kind, and count the steps of all."""
    t_ns = whole.arrivals.t_ns
    count = 1 + sum(
        int((np.diff(t_ns[at : at + LONG + 1]) > whole.gap_ns).sum()) for at in range(0, t_ns.size - 1, LONG)
    )
    engine = replace(engine, whole=whole._replace(steps=count))
    rows = slice(t_ns.size // 2 - LONG // 8, t_ns.size // 2 + LONG // 8)
    some = engine.within(np.unique(whole.arrivals.unit[rows]), int(t_ns[rows.start]), int(t_ns[rows.stop]))
    assert some.steps is not None
    return replace(engine, kind="static batches" if _in_batches(some.steps) else "steps", steps=some.steps)


def _edge(t_ns: Ints, at_ns: int, gap_ns: float) -> int:
    """The first arrival from a moment on that is the first of its burst."""
    place = int(np.searchsorted(t_ns, at_ns))
    while 0 < place < t_ns.size and t_ns[place] - t_ns[place - 1] <= gap_ns:
        place += 1
    return place


def _counted(unit: npt.NDArray[np.integer], units: int) -> Ints:
    """Arrivals of each unit."""
    found = np.zeros(units, np.int64)
    for at in range(0, unit.size, LONG):
        found += np.bincount(unit[at : at + LONG], minlength=units)
    return found


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
