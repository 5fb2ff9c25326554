"""A counter against the power that the same device tells beside it: both are to tell the same joules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from ipw.energy.curve import Curve, coverage, energy_between
from ipw.metrics.metric import number
from ipw.metrics.validity.check import Check, made
from ipw.metrics.window import LEAST_COVERAGE
from ipw.runs.curves import of_channel, refused
from ipw.runs.readings import Readings
from ipw.runs.recorded import Recorded

Window = tuple[int, int]
MOST_DISAGREEMENT = 0.05
"""The gain that vendors state."""
GROSS, LAG = 0.25, 5.0
"""Beyond so much more of the counter one of the two is wrong by a factor, in a window of more than so many seconds:
power that a driver averages over the last second says less of a shorter one."""
LEAST_IDLE_NS = 1_000_000_000
"""Of stretches at rest, to say whether the two agree there."""
BEATS = "at rest they agree, so the counter is believed: a load that beats with the rhythm of the power does that"


class Compared(NamedTuple):
    """Joules of one stretch by both."""

    counted_j: float
    width_j: float
    """Of the counter's interval."""
    integrated_j: float
    sampling_j: float
    """Standard deviation that comes from reading power now and then."""

    @property
    def differs_j(self) -> float:
        """How much more the power tells."""
        return self.integrated_j - self.counted_j


def against_power(recorded: Recorded, counter: Mapping[str, Any], window: Window) -> Iterator[Check]:
    """Compare a counter with the integral of the power beside it; an error where one of them is off by a factor.

    A sensor that looks at a part of each period sees a load of about that period at its high or at its low only, for
    as long as the two stay in step. A counter that is off by a factor is so at rest too.
    """
    readings, curve = recorded.readings, recorded.curves[str(counter.get("name"))]
    for channel in recorded.sensors:
        beside = channel.get("included_in") == counter.get("name") and channel.get("scope") == counter.get("scope")
        if not beside or channel.get("kind") != "power" or counter.get("kind") != "counter":
            continue
        power = recorded.curves.get(str(channel.get("name")))
        if power is None or power.t_ns.size < 2 or coverage(power, *window)[0] < LEAST_COVERAGE:
            continue
        mine = of_channel(readings, channel)
        good = mine[~np.isin(mine["t_ns"], refused(readings, channel)) & (mine["status"] == 0)]
        found = _compared(curve, power, good, window)
        allowed = max(MOST_DISAGREEMENT * found.counted_j, found.width_j + 2 * found.sampling_j)
        share = f"{100 * found.differs_j / found.counted_j:+.1f} %" if found.counted_j else _still(found)
        gross = not found.counted_j or (
            abs(found.differs_j) > allowed + GROSS * found.counted_j and window[1] - window[0] > LAG * 1e9
        )
        whole = bool(found.counted_j) and coverage(curve, *window)[0] >= LEAST_COVERAGE  # else still, or lost
        beats = gross and whole and _agree_at_rest(curve, power, good, _idle(recorded))
        detail = f"{channel.get('name')}: {share}{f'; {BEATS}' if beats else ''}"
        level: Literal["error", "warning"] = "error" if gross and not beats else "warning"
        yield made("counter against power", abs(found.differs_j) <= allowed, detail, level)


def _still(found: Compared) -> str:
    return f"{found.differs_j:+.3g} J, and the counter stands still"


def _agree_at_rest(curve: Curve, power: Curve, good: Readings, idle: Sequence[Window]) -> bool:
    """Whether the two surely tell about the same while the device was at rest."""
    seen = [each for each in idle if min(coverage(one, *each)[0] for one in (curve, power)) >= LEAST_COVERAGE]
    if sum(end - start for start, end in seen) < LEAST_IDLE_NS:
        return False
    found = [_compared(curve, power, good, each) for each in seen]
    counted_j, differs_j = (sum(getattr(each, name) for each in found) for name in ("counted_j", "differs_j"))
    return bool(abs(differs_j) + sum(each.width_j for each in found) / 2 <= GROSS * counted_j)


def _compared(curve: Curve, power: Curve, good: Readings, window: Window) -> Compared:
    counted, low, high = (float(x[0]) for x in energy_between(curve, *window))
    integrated = float(energy_between(power, *window)[0][0])
    return Compared(counted, high - low, integrated, _sampling_error_j(good, window))


def _sampling_error_j(good: Readings, window: Window) -> float:
    """Standard deviation of the integral of power that was read now and then, by how much it jumped between reads."""
    first = max(int(np.searchsorted(good["t_ns"], window[0], "right")) - 1, 0)
    around = good[first : int(np.searchsorted(good["t_ns"], window[1])) + 1]
    jumps = np.diff(around["value"]) * np.diff(around["t_ns"]) / 1e9
    return float(np.sqrt((jumps**2).sum() / 2))


def _idle(recorded: Recorded) -> list[Window]:
    found = recorded.attribution.get("idle_ns")
    pairs = [pair for pair in found if isinstance(pair, list) and len(pair) == 2] if isinstance(found, list) else []
    return [(int(a), int(b)) for a, b in pairs if number(a) is not None and number(b) is not None and b > a]
