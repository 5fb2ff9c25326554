"""Whether a channel stood still while it should have moved: a counter for too long, a power while the load changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ipw.energy.arrays import Floats, Ints
from ipw.energy.belief.renewal import learnt_period_s
from ipw.energy.curve import Curve, energy_at
from ipw.metrics.metric import number
from ipw.metrics.readings import mean_power, total_channels
from ipw.metrics.validity.check import Check, made
from ipw.registry import workload
from ipw.runs.curves import believed, of_channel, still
from ipw.runs.readings import Readings
from ipw.runs.recorded import Recorded

Window = tuple[int, int]
LEAST_S, UPDATES = 5.0, 20.0
"""A power that tells one value for so long, and for so many of its updates, is looked at."""
FINE = 1e-3
"""A power whose values differ by less than this part of them is told finely enough for its noise to show."""
PIECES = 8
"""A stretch is cut into so many parts, a second long at least, to see whether the load changed in it."""
CHANGED, CHANGED_W = 0.25, 2.0
"""The load changed where another device drew this part of its power, and so many watts, more than before."""
LOADS, CHANGED_CPUS = {"load/host", "load/own"}, 0.25
"""The channels that tell CPU seconds, of all and of the run, and how many more busy CPUs are another load."""
NOTHING_NS = 1_000_000_000
"""All that is measured together draws something in each such time."""
MOST_TOLD = 3


class Frozen(NamedTuple):
    """A stretch in which a power told one value to its last digit."""

    value_w: float
    start_ns: int
    end_ns: int


def stillness(recorded: Recorded, windows: Sequence[Window]) -> Check:
    """Make the check of all channels in the total."""
    told: list[str] = []
    total = total_channels(recorded.entries)
    for channel in total:
        if channel.get("kind") == "counter":
            told += _counter(recorded.readings, channel, windows)
        else:
            told += _power(recorded, channel, windows)
    if not told and all(c.get("kind") == "power" for c in total):
        told += _nothing(list(recorded.total_curves.values()), windows)
    shown = told[:MOST_TOLD] + ([f"{len(told) - MOST_TOLD} more"] if len(told) > MOST_TOLD else [])
    return made("stillness", not told, "; ".join(shown) or "none", "error")


def _nothing(curves: Sequence[Curve], windows: Sequence[Window]) -> Iterator[str]:
    """Tell that parts of a whole, each of which may rest, drew nothing all together."""
    for start, end in windows:
        edges = np.arange(start, end, NOTHING_NS)
        power_w = sum((mean_power(curve, edges) for curve in curves), np.zeros(max(edges.size - 1, 0)))
        nothing = int((power_w <= 0).sum())  # where readings are missing, it is NaN
        if nothing:
            yield f"for {nothing * NOTHING_NS / 1e9:.3g} s nothing that was measured drew anything"


def _counter(readings: Readings, channel: Mapping[str, Any], windows: Sequence[Window]) -> Iterator[str]:
    """Tell that a counter stood still within the windows."""
    stretches = [(each.start_ns, each.end_ns) for each in still(readings, channel)]
    still_s = sum(_within_s(windows, *each) for each in stretches)
    if still_s > 0:
        share = 1e11 * still_s / sum(end - start for start, end in windows)
        yield f"the counter {channel.get('name')} did not move for {still_s:.3g} s ({share:.0f} % of the window)"


def frozen_power(readings: Readings, channel: Mapping[str, Any]) -> list[Frozen]:
    """Stretches in which a power told one value for longer than its updates allow."""
    t, power = believed(readings, channel)
    period_s = max(number(channel.get("update_period_s")) or 0.0, learnt_period_s(t, power) or 0.0)
    return frozen(t, power, max(LEAST_S, UPDATES * period_s))


def _power(recorded: Recorded, channel: Mapping[str, Any], windows: Sequence[Window]) -> Iterator[str]:
    """Tell that a power held one value to the last digit though the load changed."""
    for each in frozen_power(recorded.readings, channel):
        if _within_s(windows, each.start_ns, each.end_ns) and (why := _load_changed(recorded, channel, each)):
            told = f"{each.value_w:.10g} W for {(each.end_ns - each.start_ns) / 1e9:.3g} s"
            yield f"{channel.get('name')} told {told} to the last digit, though {why}"


def frozen(t_ns: Ints, power_w: Floats, longest_s: float) -> list[Frozen]:
    """Stretches of one value for longer than that, of a power that is told finely.

    Whole watts, or few digits, say nothing: then a steady load has one value.
    """
    if t_ns.size < 2:
        return []
    first = np.flatnonzero(np.diff(power_w, prepend=np.nan) != 0)
    last = np.append(first[1:], t_ns.size) - 1
    values = np.unique(power_w)
    step = float(np.diff(values).min()) if values.size > 1 else None
    long = np.flatnonzero((t_ns[last] - t_ns[first]) / 1e9 > longest_s).tolist()
    found = [Frozen(float(power_w[first[k]]), int(t_ns[first[k]]), int(t_ns[last[k]])) for k in long]
    return [each for each in found if _is_fine(each.value_w, step)]


def _is_fine(value_w: float, step_w: float | None) -> bool:
    """Whether values like this one are told in steps far below their noise, by their steps or else by their digits."""
    if not value_w > 0:
        return False
    if step_w is not None:
        return step_w < FINE * value_w
    unit = FINE * 10.0 ** np.floor(np.log10(value_w) + 1)
    return bool(abs(value_w / unit - round(value_w / unit)) > 1e-6)


def _load_changed(recorded: Recorded, channel: Mapping[str, Any], stretch: Frozen) -> str | None:
    """Say what shows that the load changed within a stretch; `None` where nothing does."""
    attribution = recorded.attribution
    idle, window = _intervals(attribution.get("idle_ns")), _intervals([attribution.get("window_ns")])
    known = workload(recorded.kind)
    worked = known is not None and known.works and not recorded.unseen
    if worked and all(_within_s(each, stretch.start_ns, stretch.end_ns) >= 1.0 for each in (idle, window)):
        return "it was idle and then at work"
    for other in recorded.sensors:
        if other.get("name") in LOADS and _busy_changed(of_channel(recorded.readings, other), stretch):
            return "the load of the CPUs changed"
        if other.get("name") == channel.get("name") or other.get("kind") not in {"counter", "power"}:
            continue
        if not isinstance(other.get("index"), int):
            continue
        low, high = _range_w(recorded.curves[str(other.get("name"))], stretch)
        if high - low > max(CHANGED * high, CHANGED_W):
            return f"{other.get('name')} went from {low:.3g} to {high:.3g} W"
    return None


def _busy_changed(looks: Readings, stretch: Frozen) -> bool:
    """Whether the CPUs were busier in one part of a stretch than in another; each look tells their seconds so far."""
    good = looks[(looks["status"] == 0) & (looks["t_ns"] >= stretch.start_ns) & (looks["t_ns"] <= stretch.end_ns)]
    if len(good) < 3:
        return False
    edges = np.unique(np.linspace(0, len(good) - 1, PIECES + 1).astype(int))
    busy = np.diff(good["value"][edges]) / np.diff(good["t_ns"][edges]) * 1e9
    return bool(busy.max() - busy.min() > CHANGED_CPUS)


def _range_w(curve: Curve, stretch: Frozen) -> tuple[float, float]:
    """Least and greatest mean power of parts of a stretch."""
    if curve.t_ns.size < 2:
        return 0.0, 0.0
    start, end = max(stretch.start_ns, int(curve.t_ns[0])), min(stretch.end_ns, int(curve.t_ns[-1]))
    parts = min(PIECES, int((end - start) / 1e9))
    if parts < 2:
        return 0.0, 0.0
    edges = np.linspace(start, end, parts + 1).astype(np.int64)
    power = np.diff(energy_at(curve, edges)) / np.diff(edges) * 1e9
    return float(power.min()), float(power.max())


def _within_s(intervals: Sequence[Window], start_ns: int, end_ns: int) -> float:
    """Seconds of the intervals between two moments."""
    return sum(max(0, min(end, end_ns) - max(start, start_ns)) for start, end in intervals) / 1e9


def _intervals(x: object) -> list[Window]:
    """Intervals that a manifest names."""
    pairs = [pair for pair in x if isinstance(pair, list) and len(pair) == 2] if isinstance(x, list) else []
    return [(int(a), int(b)) for a, b in pairs if number(a) is not None and number(b) is not None]
