"""What intervals are over: texts, or groups of them, or stretches of a trace that is one long text.

Half of them are the part that profiles are made on, the other half the part that they are judged on, and in turn.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ipw.workloads.routing.streams.stream import Stream

Ints = npt.NDArray[np.integer[Any]]
FEW = 8
"""Fewer texts than these say nothing of how texts differ."""
STRETCHES = 20
MOST = 100
"""More texts than these are joined into groups, so that memory stays flat."""


class Units(NamedTuple):
    """Which unit each token counts in."""

    starts: Ints
    """First tokens of stretches that count in one unit each."""
    unit: Ints
    """[stretches] its number; -1 where the tokens are not counted."""
    fold: Ints
    """[units] 0 or 1."""
    domain: Ints
    """[units] index into the domains of the trace."""
    kind: str
    """In words."""

    @property
    def total(self) -> int:
        """How many there are."""
        return len(self.fold)

    def of(self, start: int, stop: int) -> Ints:
        """Units of tokens, [stop - start]; -1 for those that are not counted."""
        found: Ints = self.unit[np.searchsorted(self.starts, np.arange(start, stop), side="right") - 1]
        return found

    def folds(self, start: int, stop: int) -> Ints:
        """Halves of tokens, [stop - start]; -1 for those that are not counted."""
        found = self.of(start, stop)
        return np.where(found < 0, -1, self.fold[found])


def units_of(stream: Stream) -> Units:
    """Texts by domain, every other one in the other half; or stretches, the first half against the second.

    Where a trace says what the model wrote, only that is counted: the prompts bring the caches into their state.
    """
    starts = np.array([run.start for run in stream.runs], np.int64)
    texts = np.array([run.text for run in stream.runs], np.int64)
    counted = np.array([bool(run.generated) or not stream.generated for run in stream.runs])
    domains = np.array(stream.domains, np.int64)
    known = np.unique(texts[counted])
    if len(known) < FEW:
        return _stretches(starts, counted, stream)
    unit_of_text = np.full(len(domains), -1, np.int64)
    fold: list[int] = []
    domain: list[int] = []
    for name in np.unique(domains[known]):
        own = known[domains[known] == name]
        groups = min(len(own), max(round(MOST * len(own) / len(known)), 2))
        unit_of_text[own] = len(fold) + np.arange(len(own)) * groups // len(own)
        fold += [place % 2 for place in range(groups)]
        domain += [int(name)] * groups
    kind = f"{len(known)} texts" if len(fold) == len(known) else f"{len(fold)} groups of {len(known)} texts"
    unit = np.where(counted, unit_of_text[texts], -1)
    return Units(starts, unit, np.array(fold), np.array(domain), kind)


def _stretches(starts: Ints, counted: npt.NDArray[np.bool_], stream: Stream) -> Units:
    ends = np.append(starts[1:], stream.tokens)
    total = int((ends - starts)[counted].sum())
    count = max(min(STRETCHES, total), 1)
    edges, unit, before, domain = [], [], 0, [0] * count
    for number, (start, end, counts) in enumerate(zip(starts.tolist(), ends.tolist(), counted.tolist(), strict=True)):
        if not counts:
            edges.append(start)
            unit.append(-1)
            continue
        at = start
        while at < end:
            own = (before * count) // total
            step = min(end - at, -(-(own + 1) * total // count) - before)
            edges.append(at)
            unit.append(own)
            domain[own] = stream.domains[stream.runs[number].text]
            at, before = at + step, before + step
    fold = np.arange(count) * 2 // count
    return Units(np.array(edges), np.array(unit), fold, np.array(domain), f"{count} stretches of the trace")
