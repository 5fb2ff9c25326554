"""The most that a device can draw, and the values that stand for "no value": plain numbers, without numpy."""

from __future__ import annotations

import math
from typing import NamedTuple


class Most(NamedTuple):
    """The most power that anything of a class is rated for, and where that is from."""

    power_w: float
    source: str


OF_SCOPE: dict[str, Most] = {
    "gpu": Most(2300.0, "Rubin, 1.8 to 2.3 kW; the most before it is 1.4 kW (B300, MI355X: the makers' data sheets)"),
    "module": Most(6000.0, "twice the 2.9 kW to which NVML limits the modules of a GB300 tray (k8s-test-infra#676)"),
    "memory": Most(2300.0, "less than the GPU that it is a part of"),
    "package": Most(1000.0, "twice the 500 W of Xeon 6980P and EPYC 9965; sockets of 600 W and more are announced"),
    "core": Most(1000.0, "less than the package that it is a part of"),
    "uncore": Most(1000.0, "less than the package that it is a part of"),
    "dram": Most(500.0, "twelve to sixteen memory modules a socket at up to 25 W, and some more"),
    "ane": Most(100.0, "ten times the 8 to 10 W that the neural engines of Apple's chips were seen to draw"),
    "soc": Most(600.0, "a Mac Studio with M3 Ultra takes 480 W at the plug; Jetson Thor and Strix Halo 130 to 140 W"),
    "system": Most(30_000.0, "twice the 14.5 kW of a DGX B300 (its user guide)"),
    "wall": Most(150_000.0, "a rack of 72 GPUs takes 120 to 140 kW (GB200 and GB300 NVL72)"),
}
"""By the scope of a channel: what holds where the device tells no limit of its own, or nonsense."""

LEAST_LIMIT_W, MOST_LIMIT = 1.0, 4.0
"""Nothing that has a sensor is limited to less, nor to so many times what anything of its class is rated for today:
such a limit is none."""
MARGIN = 1.5
"""A reading may be so many times above a limit. GPUs draw up to twice their limit for milliseconds, which a sensor
averages away in part; the limits that sensors tell are doubled before that."""

NOTHING_W = 0.05
"""What is measured as a whole and draws less, draws nothing that can be believed: the graphics unit of some processors
tells 0.012 W for its whole socket (MangoHud#1874)."""

UNITS = (1.0, 1e-3, 1e-6, 1e-9)
"""In which sensors count joules and watts."""
SENTINELS = tuple(
    sorted(
        number * unit
        for number in (2**16 - 1, 2**31, 2**32, 2**63, 2**64)  # one less is the same within SAME, but for 16 bits
        for unit in UNITS
        if number * unit > 1.0
    )
)
"""What integers with all bits set, or all but the sign's, look like in joules and watts: "not available"."""
SAME = 1e-9
"""Relative difference below which a value is one of them."""


def most_power_w(scope: object, told_w: object = None) -> float:
    """Give the limit that a device tells, if it can be one, or else that of its class.

    What is no number, NaN, infinite, 0 or less, or beyond all that a class will ever be rated for, is no limit. A scope
    that nobody knows is taken for the largest.
    """
    most_w = OF_SCOPE.get(str(scope), OF_SCOPE["wall"]).power_w
    if isinstance(told_w, bool) or not isinstance(told_w, int | float) or not math.isfinite(told_w):
        return most_w
    return float(told_w) if LEAST_LIMIT_W <= told_w <= MOST_LIMIT * most_w else most_w
