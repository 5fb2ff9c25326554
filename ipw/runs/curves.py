"""Energy curves of a stored run's channels, from its raw readings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ipw.energy.arrays import Floats, Ints
from ipw.energy.belief.believed import counter_doubt, power_doubt
from ipw.energy.belief.limits import most_power_w
from ipw.energy.belief.renewal import UNTOLD_PERIOD_S, learnt_period_s
from ipw.energy.belief.stillness import Stretch, stood_still
from ipw.energy.belief.told_limits import is_no_limit, power_of_steps
from ipw.energy.curve import Curve, counter_curve, power_curve
from ipw.energy.knots import IMPOSSIBLE, sorted_out
from ipw.energy.shape import shaped
from ipw.runs.one_clock import clock_error
from ipw.runs.readings import Readings
from ipw.shapes import finite

NEVER_NOTHING = {"gpu", "module", "package", "soc", "system", "wall"}
"""Scopes of what always draws something."""
COUNTED = {"counter", "power"}
"""Kinds of channels that tell energy."""
OF_PARTS = {"soc", "system"}
"""Scopes of what may be measured as several parts."""


def of_channel(readings: Readings, channel: Mapping[str, Any]) -> Readings:
    """Readings of one channel; none where it was never read."""
    index = channel.get("index")
    return readings[readings["channel"] == index] if isinstance(index, int) else readings[:0]


def with_shapes(channels: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Put in place of each name of a shaping channel or a clock the channel itself; say what adds up beside a part.

    For `channel_curve`.
    """
    by_name = {channel.get("name"): channel for channel in channels}
    summed = Counter(_whole(channel) for channel in channels if channel.get("in_total"))
    return [
        dict(channel)
        | {
            "shape": by_name.get(channel.get("shape")),
            "clock": by_name.get(channel.get("clock")),
            "beside": summed[_whole(channel)] - 1,
        }
        for channel in channels
    ]


def _whole(channel: Mapping[str, Any]) -> tuple[str, str]:
    """Name what a channel may be one of several parts of."""
    return str(channel.get("name")).partition("/")[0], str(channel.get("scope"))


def channel_curve(readings: Readings, channel: Mapping[str, Any]) -> Curve:
    """Cumulative energy of one channel that counts joules or tells watts, shaped where one of `with_shapes` says so."""
    curve = _own_curve(readings, channel)
    shape, clock = channel.get("shape"), channel.get("clock")
    if isinstance(shape, Mapping):
        curve = shaped(curve, _own_curve(readings, shape))
    if age_ns := _age_ns(readings, channel):
        curve = replace(curve, t_err_ns=curve.t_err_ns + age_ns)
    known = clock_error(readings, clock, curve.t_ns) if isinstance(clock, Mapping) else None
    return curve if known is None else replace(curve, t_err_ns=curve.t_err_ns + known.error_ns)


def _age_ns(readings: Readings, channel: Mapping[str, Any]) -> float:
    """How old the values of a channel may be when they come, by how often they are seen to change."""
    periods = finite(channel.get("age_periods")) or 0.0
    if periods <= 0:
        return 0.0
    learnt_s = learnt_period_s(*believed(readings, channel))
    return periods * 1e9 * (learnt_s or finite(channel.get("update_period_s")) or UNTOLD_PERIOD_S)


def _own_curve(readings: Readings, channel: Mapping[str, Any]) -> Curve:
    mine = of_channel(readings, channel)
    columns = (mine["t_ns"], mine["value"], mine["status"], mine["uncertainty_ns"])
    gain_rel = finite(channel.get("gain_rel")) or 0.0
    most_w = limit_w(readings, channel)
    if channel.get("kind") == "counter":
        return counter_curve(
            *columns,
            ticks=bool(channel.get("ticks")),
            sparse=channel.get("shape") is not None,
            range_j=finite(channel.get("range_j")),
            max_power_w=most_w,
            resolution_j=finite(channel.get("resolution_j")),
            update_period_s=finite(channel.get("update_period_s")),
            gain_rel=gain_rel,
        )
    return power_curve(
        *columns,
        update_period_s=finite(channel.get("update_period_s")),
        max_power_w=most_w,
        may_rest=_may_rest(channel),
        gain_rel=gain_rel,
    )


def limit_w(readings: Readings, channel: Mapping[str, Any]) -> float:
    """Most that a device can draw: its own limit, or that of its class where it tells none or its readings refute it.

    A reading may be above it by `MARGIN`.
    """
    class_w = most_power_w(channel.get("scope"))
    told_w = most_power_w(channel.get("scope"), channel.get("max_power_w"))
    if told_w >= class_w:
        return told_w
    mine = of_channel(readings, channel)
    mine = mine[(mine["status"] == 0) & np.isfinite(mine["value"])]
    mine = mine[np.argsort(mine["t_ns"], kind="stable")]
    t_ns, power_w = mine["t_ns"], mine["value"]
    if channel.get("kind") == "counter":
        apart = np.diff(t_ns, prepend=t_ns[:1] - 1) > 0
        t_ns, power_w = power_of_steps(t_ns[apart], power_w[apart], finite(channel.get("resolution_j")) or 0.0)
    return class_w if is_no_limit(told_w, class_w, t_ns, power_w) else told_w


def refused(readings: Readings, channel: Mapping[str, Any]) -> Ints:
    """Moments of readings of a channel that came and cannot be true: beyond its limit, or a stand-in for no value."""
    *_, t_ns, codes = _sorted_out(readings, channel)
    impossible: Ints = t_ns[codes == IMPOSSIBLE]
    return impossible


def believed(readings: Readings, channel: Mapping[str, Any]) -> tuple[Ints, Floats]:
    """Moments and values of the readings of a channel that can be true, in order of time."""
    t_ns, values, *_ = _sorted_out(readings, channel)
    return t_ns, values


def still(readings: Readings, channel: Mapping[str, Any]) -> list[Stretch]:
    """Stretches in which a counter stood still for longer than it may, and whose joules nobody knows."""
    period_s, resolution_j = (finite(channel.get(name)) for name in ("update_period_s", "resolution_j"))
    found = stood_still(*believed(readings, channel), period_s=period_s, resolution_j=resolution_j or 0.0)
    return [each for each in found if not each.caught_up]


def _sorted_out(readings: Readings, channel: Mapping[str, Any]) -> tuple[Ints, Floats, Floats, Ints, Ints]:
    mine = of_channel(readings, channel)
    most_w = limit_w(readings, channel)
    doubt = power_doubt(most_w, may_rest=_may_rest(channel))
    if channel.get("kind") == "counter":
        range_j, resolution_j, period_s = (
            finite(channel.get(name)) for name in ("range_j", "resolution_j", "update_period_s")
        )
        doubt = counter_doubt(range_j, most_w, resolution_j, period_s)
    return sorted_out(mine["t_ns"], mine["value"], mine["status"], mine["uncertainty_ns"], doubt)


def _may_rest(channel: Mapping[str, Any]) -> bool:
    """Whether a device may draw nothing.

    What is a part of another may, and one of several that add up to a whole: the rail of a Jetson's vision engine, the
    second of two batteries. What is measured as a whole may not.
    """
    scope = channel.get("scope")
    part = channel.get("included_in") is not None or scope not in NEVER_NOTHING
    return part or (scope in OF_PARTS and channel.get("beside", 0) > 0)


def curves_of(readings: Readings, channels: Sequence[Mapping[str, Any]]) -> dict[str, Curve]:
    """Curves by channel name, of those channels in joules or watts that were read, on one clock."""
    read = [channel for channel in with_shapes(channels) if "index" in channel and channel.get("kind") in COUNTED]
    return {channel["name"]: channel_curve(readings, channel) for channel in read}
