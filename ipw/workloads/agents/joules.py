"""Who drew what between requests: calls of tools and pauses, as what goes on beside the requests of a run."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ipw.attribution.beside import Beside
from ipw.attribution.queries.tables import BesideDrew
from ipw.printable import clean
from ipw.workloads.agents.structure import Structure

Floats = npt.NDArray[np.float64]
OWN_LEVELS = 4
"""Tools with a level of power of their own: those that ran for longest. Each one more asks for more readings."""
OTHER_TOOL, PAUSE = "tool", "pause"


class Drew(NamedTuple):
    """Joules of several owners as columns; NaN where unknown."""

    energy_j: Floats
    energy_low_j: Floats
    energy_high_j: Floats
    net_energy_j: Floats


def beside(found: Structure) -> Beside | None:
    """Make owners of the gaps in which tools ran, and behind them of the pauses; `None` where there are none."""
    names = [_tools(found, number) for number in range(len(found.gaps))]
    ran_ns: Counter[str] = Counter()
    for name, gap in zip(names, found.gaps, strict=True):
        ran_ns[name] += gap.end_ns - gap.start_ns
    own = [name for name, _ in ran_ns.most_common(OWN_LEVELS)]
    phases = (*(f"tool {clean(name, 60)}" for name in own), OTHER_TOOL, PAUSE)
    intervals = [(gap.start_ns, gap.end_ns) for gap in found.gaps]
    intervals += [(pause.start_ns, pause.end_ns) for pause in found.pauses]
    if not intervals:
        return None
    times = np.array(intervals, np.int64)
    phase = [own.index(name) if name in own else len(own) for name in names]
    phase += [len(own) + 1] * len(found.pauses)
    owner = np.arange(len(intervals))
    return Beside(times[:, 0], times[:, 1], np.array(phase, np.int64), phases, owner, len(intervals))


def gaps_and_pauses(found: Structure, drew: BesideDrew | None) -> tuple[Drew, Drew]:
    """Take apart what was drawn in gaps and in pauses."""
    count, rest = len(found.gaps), len(found.pauses)
    if drew is None:
        return _unknown(count), _unknown(rest)
    share = drew.share
    net = np.full(count + rest, np.nan) if share.net_energy_j is None else share.net_energy_j
    columns = [np.where(drew.known, column, np.nan) for column in (share.energy_j, share.low_j, share.high_j, net)]
    return Drew(*(column[:count] for column in columns)), Drew(*(column[count:] for column in columns))


def each_call(found: Structure, of_gaps: Drew) -> Drew:
    """Share what was drawn in a gap equally among its calls; a call that no request followed has no known joules."""
    gap = np.array([-1 if call.gap is None else call.gap for call in found.calls], np.int64)
    calls = np.array([each.calls for each in found.gaps] or [1], np.float64)
    columns = (np.append(column, np.nan) for column in of_gaps)  # the last stands for no gap
    return Drew(*(column[gap] / np.append(calls, 1.0)[gap] for column in columns))


def summed(parts: list[Drew]) -> Drew:
    """Add up; what is unknown of one makes the sum unknown. Errors of the parts are taken as independent."""
    energy, low, high, net = (
        np.concatenate(columns) if columns else np.zeros(0) for columns in zip(*parts, strict=True)
    )
    value = float(energy.sum())
    below, above = (float(np.sqrt(((energy - bound) ** 2).sum())) for bound in (low, high))
    found = (value, max(value - below, min(value, 0.0)), value + above, float(net.sum()))
    return Drew(*(np.array([each]) for each in found))


def _tools(found: Structure, gap: int) -> str:
    """Name what ran in a gap: the tools in order, each once."""
    said = found.asked[found.gaps[gap].request].said
    return ", ".join(dict.fromkeys(call.name for call in said.calls)) if said else ""


def _unknown(count: int) -> Drew:
    return Drew(*(np.full(count, np.nan) for _ in range(4)))
