"""A power whose noise ended: under a steady load it tells one of its values over and over, as where a sensor froze."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ipw.energy.arrays import Floats, Ints
from ipw.metrics.readings import total_channels
from ipw.metrics.validity.check import Check, made
from ipw.metrics.validity.stillness import Frozen, frozen_power
from ipw.runs.curves import believed
from ipw.runs.readings import Readings

NOISY = 30
"""So many values before the stretch, or after it, tell what the noise was, …"""
STEADY, TREND = 0.05, 1.5
"""… if their spread is at most this part of their median, and the medians of their halves differ by at most so many
times the spread: a power that falls to rest says nothing."""
AMONG, NEVER_SO_LONG = 2, 5.0
"""At least so many of the values are above the one that stays, and so many below: what comes to rest ends at an edge.
It lasts for so many times as long as any of the others."""
SIGMA = 1.4826
"""Standard deviations of a normal distribution in one median of the absolute deviations."""


def noise_check(manifest: Mapping[str, Any], readings: Readings, windows: Sequence[tuple[int, int]]) -> Check:
    """Warn of it: since the load was steady, the joules are about right, and nobody knows until when."""
    told = [text for channel in total_channels(manifest) for text in _ended(readings, channel, windows)]
    return made("noise", not told, "; ".join(told) or "none ended")


def _ended(readings: Readings, channel: Mapping[str, Any], windows: Sequence[tuple[int, int]]) -> Iterator[str]:
    if channel.get("kind") != "power":
        return
    t, power = believed(readings, channel)
    for each in frozen_power(readings, channel):
        inside = any(start < each.end_ns and end > each.start_ns for start, end in windows)
        if inside and (when := noise_ended(t, power, each)):
            lasted_s = (each.end_ns - each.start_ns) / 1e9
            yield (
                f"{channel.get('name')} told {each.value_w:.10g} W for {lasted_s:.3g} s to the last digit, though the "
                f"{NOISY} values {when} it were alike and all differed: the sensor may have frozen"
            )


def noise_ended(t_ns: Ints, power_w: Floats, stretch: Frozen) -> str | None:
    """Say whether the values `before` or `after` a stretch never stood still and were like its own; else `None`."""
    first = np.flatnonzero(np.diff(power_w, prepend=np.nan) != 0)
    at, value = t_ns[first], power_w[first]
    lasted_ns = np.diff(at, append=t_ns[-1])
    before, after = np.searchsorted(at, [stretch.start_ns, stretch.end_ns], "right")
    sides = {
        "before": (value[: before - 1][-NOISY:], lasted_ns[: before - 1]),
        "after": (value[after:][:NOISY], lasted_ns[after:]),
    }
    for when, (values, lasted) in sides.items():
        long = stretch.end_ns - stretch.start_ns > NEVER_SO_LONG * lasted.max(initial=0)
        if values.size == NOISY and long and _is_noise(values, stretch.value_w):
            return when
    return None


def _is_noise(values: Floats, value_w: float) -> bool:
    """Whether values are a steady level with noise around it, of which this one is."""
    spread = _spread(values)
    halves = np.median(values[: NOISY // 2]), np.median(values[NOISY // 2 :])
    within = max(_spread(values[: NOISY // 2]), _spread(values[NOISY // 2 :]))
    level = float(np.median(values))
    return bool(
        0 < spread <= STEADY * level
        and abs(halves[0] - halves[1]) <= TREND * within
        and min((values > value_w).sum(), (values < value_w).sum()) >= AMONG
    )


def _spread(values: Floats) -> float:
    return SIGMA * float(np.median(np.abs(values - np.median(values))))
