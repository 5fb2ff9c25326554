"""Whether a run's joules can be believed: what its own readings and manifest say against it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import numpy as np

from ipw.channel_curves import Readings, channel_curve, of_channel
from ipw.clock import Anchor, wall_step_ns
from ipw.energy.curve import Curve, coverage, energy_between
from ipw.reports.metric import mapping, number, sensors
from ipw.reports.readings import total_channels

Window = tuple[int, int]
Check = dict[str, Any]
"""`check`, `ok`, `detail`, and `level`: a failed `error` makes the run invalid, a failed `warning` is told."""

LEAST_COVERAGE = 0.99
MOST_FAILED_READS = 0.01
MOST_DISAGREEMENT = 0.05
"""Between a counter and the power beside it: the gain that vendors state."""
MOST_WARMING_C = 5.0
MOST_CLOCK_STEP_S = 1.0
SLOWED_BITS = 0x08 | 0x20 | 0x40 | 0x80
"""NVML's clock-event reasons: hardware slowdown, thermal in software and hardware, power brake."""


def check_run(manifest: Mapping[str, Any], readings: Readings) -> list[Check]:
    """All checks that this run allows; what it holds no data for is not listed."""
    return [
        *_sensors(manifest),
        *_sampler(manifest),
        *_readings(manifest, readings),
        *_conditions(manifest, readings),
    ]


def _check(name: str, ok: bool, detail: str, level: Literal["error", "warning"] = "warning") -> Check:
    return {"check": name, "ok": ok, "detail": detail, "level": level}


def measured_window(manifest: Mapping[str, Any]) -> Window | None:
    """Start and end of the measured window, where energy was attributed."""
    window = mapping(manifest.get("attribution")).get("window_ns")
    if isinstance(window, list) and len(window) == 2 and all(isinstance(t, int) for t in window):
        return (window[0], window[1]) if window[1] > window[0] else None
    return None


def _sensors(manifest: Mapping[str, Any]) -> Iterator[Check]:
    names = ", ".join(str(c.get("name")) for c in total_channels(manifest))
    reason = manifest.get("basis_reason") or "no sensor could be read"
    yield _check("sensors", bool(names), names or str(reason), "error")
    if names and not mapping(manifest.get("attribution")):
        missing = manifest.get("attribution_reason") or "energy was not attributed"
        yield _check("attribution", ok=False, detail=str(missing), level="error")


def _sampler(manifest: Mapping[str, Any]) -> Iterator[Check]:
    stats = manifest.get("sampler")
    if isinstance(stats, dict):
        died = stats.get("died")
        cpu, wall = number(stats.get("cpu_s")), number(stats.get("wall_s"))
        cost = f"took {100 * cpu / wall:.2g} % of one core" if cpu is not None and wall else "ran to the end"
        yield _check("sampler", not died, str(died) if died else cost, "error")


def _readings(manifest: Mapping[str, Any], readings: Readings) -> Iterator[Check]:
    window = measured_window(manifest)
    total = total_channels(manifest)
    if window is None or not total:
        return
    curves = {str(c.get("name")): channel_curve(readings, c) for c in total}
    covered = {name: coverage(curve, *window) for name, curve in curves.items()}
    least = min(covered, key=lambda name: covered[name][0])
    share = covered[least][0]
    yield _check("coverage", share >= LEAST_COVERAGE, f"{100 * share:.2f} % of the window ({least})", "error")
    longest = max(covered, key=lambda name: covered[name][1])
    gap_s, limit_s = covered[longest][1], max(2.0, 0.05 * (window[1] - window[0]) / 1e9)
    yield _check("largest gap", gap_s <= limit_s, f"{gap_s:.3g} s without news ({longest})")
    lost = [f"{name}: {text}" for name, curve in curves.items() for text in _losses(curve, window)]
    more = [f"{len(lost) - 3} more"] if len(lost) > 3 else []
    yield _check("losses", not lost, "; ".join(lost[:3] + more) or "none")
    inside = readings[(readings["t_ns"] >= window[0]) & (readings["t_ns"] <= window[1])]
    inside = inside[np.isin(inside["channel"], [c["index"] for c in total])]
    failed = int((inside["status"] != 0).sum())
    yield _check("failed reads", failed <= MOST_FAILED_READS * len(inside), f"{failed} of {len(inside)}")
    for channel in total:
        yield from _against_power(manifest, readings, channel, curves[str(channel.get("name"))], window)


def _losses(curve: Curve, window: Window) -> Iterator[str]:
    for (start, end), reason in zip(curve.gaps_ns, curve.gap_reasons, strict=True):
        if start < window[1] and end > window[0]:
            yield f"{reason} at {(start - window[0]) / 1e9:.1f} s for {(end - start) / 1e9:.2g} s"


def _against_power(
    manifest: Mapping[str, Any], readings: Readings, counter: Mapping[str, Any], curve: Curve, window: Window
) -> Iterator[Check]:
    """Compare a counter with the integral of the power that the same device tells beside it."""
    for channel in sensors(manifest):
        beside = channel.get("included_in") == counter.get("name") and channel.get("scope") == counter.get("scope")
        if not beside or channel.get("kind") != "power" or counter.get("kind") != "counter":
            continue
        power = channel_curve(readings, channel)
        if power.t_ns.size < 2 or coverage(power, *window)[0] < LEAST_COVERAGE:
            continue
        counted, low, high = (float(x[0]) for x in energy_between(curve, window[0], window[1]))
        integrated = float(energy_between(power, window[0], window[1])[0][0])
        differs = integrated - counted
        allowed = max(MOST_DISAGREEMENT * counted, high - low)
        share = f"{100 * differs / counted:+.1f} %" if counted else f"{differs:+.3g} J"
        yield _check("counter against power", abs(differs) <= allowed, f"{channel.get('name')}: {share}")


def _conditions(manifest: Mapping[str, Any], readings: Readings) -> Iterator[Check]:
    start, end = measured_window(manifest) or (0, 0)
    for channel in sensors(manifest):
        mine = of_channel(readings, channel)
        mine = mine[(mine["status"] == 0) & (mine["t_ns"] >= start) & (mine["t_ns"] <= end)]
        if channel.get("kind") != "gauge" or len(mine) < 4:
            continue
        if channel.get("unit") == "bits":
            slowed = float(((mine["value"].astype(np.int64) & SLOWED_BITS) != 0).mean())
            yield _check("throttling", slowed == 0, f"{channel.get('name')}: {100 * slowed:.3g} % of the readings")
        elif channel.get("unit") == "C":
            quarter = len(mine) // 4
            warming = float(np.median(mine["value"][-quarter:]) - np.median(mine["value"][:quarter]))
            yield _check("temperature", abs(warming) <= MOST_WARMING_C, f"{channel.get('name')}: {warming:+.1f} °C")
    flags = mapping(manifest.get("attribution")).get("flags")
    if isinstance(flags, list) and flags:
        yield _check("attribution", ok=False, detail="; ".join(map(str, flags)))
    source = mapping(manifest.get("host")).get("power_source")
    if source is not None:
        yield _check("power source", source != "battery", str(source))
    anchors = manifest.get("anchors")
    if isinstance(anchors, list) and len(anchors) > 1:
        step_s = wall_step_ns(Anchor(*anchors[0]), Anchor(*anchors[-1])) / 1e9
        yield _check("wall clock", abs(step_s) <= MOST_CLOCK_STEP_S, f"stepped by {step_s:+.3f} s during the run")
