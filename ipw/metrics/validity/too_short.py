"""A window that is too short for its sensors: which of them it is, and how long it would have to be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ipw.energy.belief.renewal import changes
from ipw.metrics.metric import BELOW_RESOLUTION, Metric, number
from ipw.metrics.readings import total_channels
from ipw.metrics.validity.check import Check, made
from ipw.metrics.window import measured_windows
from ipw.runs.curves import believed
from ipw.runs.readings import Readings

ENOUGH = 10
"""Updates, or steps, within a window, that tell its joules to about a tenth."""


def too_short_check(manifest: Mapping[str, Any], readings: Readings, energy: Metric | None) -> list[Check]:
    """Tell why the energy of the whole window is below resolution; nothing where it is not."""
    windows = measured_windows(manifest)
    if energy is None or energy.get("reason") != BELOW_RESOLUTION or not windows:
        return []
    seconds = sum(end - start for start, end in windows) / 1e9
    apart_s, name = max((_news_s(readings, channel), str(channel.get("name"))) for channel in total_channels(manifest))
    detail = f"{name} has news every {apart_s:.2g} s: {seconds:.2g} s are too short for it, and "
    return [made("resolution", ok=False, detail=f"{detail}{ENOUGH * apart_s:.2g} s or more would do")]


def _news_s(readings: Readings, channel: Mapping[str, Any]) -> float:
    """How far apart a channel's news are: as it says, or as its values tell."""
    t_ns, value = believed(readings, channel)
    new = changes(value)
    seen_ns = np.diff(t_ns[new]) if new.size > 1 and channel.get("kind") == "counter" else np.diff(t_ns)
    return max(float(np.median(seen_ns)) / 1e9 if seen_ns.size else 0.0, number(channel.get("update_period_s")) or 0.0)
