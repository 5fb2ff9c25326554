"""What is to be known of sensors that are read over the network: how well a clock is known, how old values are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ipw.energy.belief.renewal import learnt_period_s
from ipw.metrics.metric import number, sensors
from ipw.metrics.readings import total_channels
from ipw.metrics.validity.check import Check, made
from ipw.runs.curves import believed, of_channel
from ipw.runs.one_clock import clock_error
from ipw.runs.readings import Readings

MOST_ERROR_S = 0.1
"""Of a clock: as long as a GPU's counter takes to be renewed."""
MOST_AGE = 0.05
"""Of a window: joules that are known less well are told."""
EDGES = 1.6
"""An edge whose moment is known to ± one period, evenly, at either end: 95 % of both together are so many periods."""


def far_checks(manifest: Mapping[str, Any], readings: Readings, windows: Sequence[tuple[int, int]]) -> Iterator[Check]:
    """Check each clock that readings of the total were told on, and each channel of it that others read before us."""
    by_name = {channel.get("name"): channel for channel in sensors(manifest)}
    total = total_channels(manifest)
    wanted = dict.fromkeys(c["clock"].get("name") for c in total if isinstance(c.get("clock"), Mapping))
    for name in wanted:
        yield from _clock(by_name.get(name) or {}, readings, windows)
    seconds = sum(end - start for start, end in windows) / 1e9
    aged = [_age(channel, readings, seconds) for channel in total if (number(channel.get("age_periods")) or 0.0) > 0]
    if aged and seconds > 0:
        share, told = max(aged)
        more = f" (and {len(aged) - 1} more)" if len(aged) > 1 else ""
        yield made("renewal", share <= MOST_AGE, f"{told}{more}: its joules of the window are ±{100 * share:.2g} %")


def _clock(clock: Mapping[str, Any], readings: Readings, windows: Sequence[tuple[int, int]]) -> Iterator[Check]:
    start, end = windows[0][0], windows[-1][1]
    at = np.linspace(start, end, 101).astype(np.int64)
    known = clock_error(readings, clock, at)
    name = f"{clock.get('name')}"
    if known is None:
        yield made("clock", ok=False, detail=f"{name}: it was never compared", level="error")
        return
    error_s = float(known.error_ns.max()) / 1e9
    drift_ppm = 1e6 * float(known.ahead_ns[-1] - known.ahead_ns[0]) / max(end - start, 1)
    exchanges = of_channel(readings, clock)
    exchanges = exchanges[exchanges["status"] == 0]
    trip_s = 2e-9 * float(exchanges["uncertainty_ns"].min())
    told = (
        f"{name}: known to ±{1e3 * error_s:.3g} ms by {exchanges.size} exchanges, the quickest in {1e3 * trip_s:.3g} ms"
    )
    yield made("clock", error_s <= MOST_ERROR_S, f"{told}; it drifted by {drift_ppm:+.3g} ppm")


def _age(channel: Mapping[str, Any], readings: Readings, seconds: float) -> tuple[float, str]:
    """Tell which share of the joules of so many seconds the age of a channel's values leaves open, and why."""
    period_s = learnt_period_s(*believed(readings, channel)) or number(channel.get("update_period_s")) or seconds
    share = EDGES * (number(channel.get("age_periods")) or 0.0) * period_s / max(seconds, 1e-9)
    return share, f"{channel.get('name')} is renewed every {period_s:.3g} s, and others read it before us"
