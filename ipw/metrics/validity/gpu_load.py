"""What other processes had of the GPUs, while idle and in the measured window, and how many joules are theirs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from ipw.metrics.metric import number, sensors
from ipw.metrics.readings import total_channels
from ipw.metrics.validity.check import Check, made
from ipw.metrics.validity.other_load import IN_VAIN, MOST_HELD
from ipw.metrics.window import measured_windows
from ipw.runs.curves import of_channel
from ipw.runs.readings import Readings
from ipw.runs.recorded import Recorded

Window = tuple[int, int]
GPU_LOAD_CHECK = "other load on GPUs"
FEW = 0.01
"""Of the time: NVML tells whole per cents."""
LEAST_SEEN = 0.5
"""Of the time, or nothing is said. GPUs are looked at every five to ten seconds; each look tells of the time before."""


class GpuLoad(NamedTuple):
    """Parts of the time of the GPUs in the total, each weighted alike; `None` where that was not to be told."""

    idle: float | None
    """That others used, in the stretches in which the run sat still."""
    window: float | None
    """That others used, in the measured window."""
    own: float | None
    """That the run used, in the measured window."""
    share: float
    """The share of the window's joules that others likely hold: their part of the time, idle time being nobody's."""
    most_share: float
    """The share that they hold at most: their part of the time in which kernels ran."""


def gpu_load(manifest: Mapping[str, Any], readings: Readings) -> GpuLoad | None:
    """Tell what others used of the GPUs in the total; `None` where NVML did not tell."""
    gauges = {str(channel.get("name")): of_channel(readings, channel) for channel in sensors(manifest)}
    gpus = [str(channel.get("name")).removesuffix("/power") for channel in total_channels(manifest)]
    numbers = [name.removeprefix("nvml/gpu") for name in gpus if name.startswith("nvml/gpu")]
    told = [number for number in numbers if f"load/gpu{number}/others" in gauges]
    if not told:
        return None
    idle_ns = _intervals(Recorded(manifest).attribution.get("idle_ns"))
    windows = measured_windows(manifest)

    def part(whose: str, stretches: Sequence[Window]) -> float | None:
        found = [_mean(gauges[f"load/gpu{number}/{whose}"], stretches) for number in told]
        known = [each for each in found if each is not None]
        return sum(known) / len(known) if known else None

    others, own = part("others", windows), part("own", windows)
    if Recorded(manifest).server.get("processes_unseen"):
        others = own = None  # what the server used would count as others'
    used = (others or 0.0) + (own or 0.0)
    theirs = (others or 0.0) * len(told) / len(gpus)
    return GpuLoad(part("others", idle_ns), others, own, theirs / max(used, 1.0), theirs / used if used else 0.0)


def gpu_load_check(load: GpuLoad | None) -> list[Check]:
    """Judge it: an error where the joules are others' more than the run's, a warning where they hold others' work."""
    if load is None or (load.idle is None and load.window is None):
        return []
    used = [(load.window, "in the window"), (load.idle, "while idle")]
    told = " and ".join(f"{100 * part:.0f} % {when}" for part, when in used if part is not None)
    detail = f"others used the GPUs for {told}"
    theirs = load.most_share > MOST_HELD and (load.window or 0.0) >= FEW
    if theirs:
        most = f", at most {100 * load.most_share:.0f} %" if load.most_share > load.share else ""
        detail += f": about {100 * load.share:.0f} % of these joules are theirs{most}"
    ok = not theirs and (load.idle or 0.0) < MOST_HELD
    level: Literal["error", "warning"] = "error" if theirs and load.share > IN_VAIN else "warning"
    return [made(GPU_LOAD_CHECK, ok, detail, level)]


def _mean(looks: Readings, stretches: Sequence[Window]) -> float | None:
    """Mean part over the stretches, of looks that each tell of the time since the look before."""
    if len(looks) < 2 or not stretches:
        return None
    good = looks["status"] == 0
    t, known = looks["t_ns"], good[1:] & good[:-1]
    percent = np.where(known, looks["value"][1:], 0.0)
    seen = used = 0.0
    for start, end in stretches:
        inside = np.clip(np.minimum(t[1:], end) - np.maximum(t[:-1], start), 0, None) / 1e9 * known
        seen += float(inside.sum())
        used += float(inside @ percent) / 100
    asked = sum(end - start for start, end in stretches) / 1e9
    return used / seen if asked > 0 and seen > LEAST_SEEN * asked else None


def _intervals(x: object) -> list[Window]:
    pairs = [pair for pair in x if isinstance(pair, list) and len(pair) == 2] if isinstance(x, list) else []
    return [(int(a), int(b)) for a, b in pairs if number(a) is not None and number(b) is not None]
