"""Whether a run's joules can be believed: what its own readings and manifest say against it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ipw.clock import Anchor, wall_step_ns
from ipw.energy.belief.renewal import learnt_period_s
from ipw.energy.curve import Curve, coverage
from ipw.metrics.metric import mappings, number, sensors
from ipw.metrics.readings import total_channels
from ipw.metrics.validity.against_power import against_power
from ipw.metrics.validity.check import Check, made
from ipw.metrics.validity.client import client_checks
from ipw.metrics.validity.failed_reads import failed_reads
from ipw.metrics.validity.far import far_checks
from ipw.metrics.validity.left_out import left_out, other_basis
from ipw.metrics.validity.noise import noise_check
from ipw.metrics.validity.server_counts import server_counts_checks
from ipw.metrics.validity.steps import steps_check
from ipw.metrics.validity.stillness import stillness
from ipw.metrics.window import LEAST_COVERAGE, measured_windows
from ipw.runs.curves import believed, of_channel
from ipw.runs.readings import Readings
from ipw.runs.recorded import Recorded, part_of
from ipw.runs.resume.outages import outage_told
from ipw.runs.unseen import unseen

Window = tuple[int, int]

MOST_SLOWED = 0.01
"""Of the window. A GPU that is held back for longer tells about its cooling, and cannot be compared."""
MOST_WARMING_C = 5.0
PHASES = "phases not told apart"
"""What attribution says where prefill and decode, or parts of a step, share its joules by their time."""
PHASES_TOLD = (
    "readings are too far apart to tell the power of prefill and decode, or of the parts of a step, apart: their "
    "joules are shared by time, and their intervals say so; the run's own and the mean of a query are not affected"
)
MOST_CLOCK_STEP_S = 1.0
SLOWED_BITS = 0x08 | 0x20 | 0x40 | 0x80
"""NVML's clock-event reasons: hardware slowdown, thermal in software and hardware, power brake."""


def check_run(recorded: Recorded) -> list[Check]:
    """All checks that this run allows; what it holds no data for is not listed."""
    manifest = recorded.entries
    return [
        *_sensors(manifest),
        *_server(manifest),
        *_sampler(manifest),
        *_readings(recorded),
        *_conditions(manifest, recorded.readings),
        *steps_check(manifest),
        *server_counts_checks(manifest),
        *client_checks(manifest),
    ]


def measured_window(manifest: Mapping[str, Any]) -> Window | None:
    """From the start of the measured window to its end, or to that of the last where the run was resumed."""
    windows = measured_windows(manifest)
    return (windows[0][0], windows[-1][1]) if windows else None


def _sensors(manifest: Mapping[str, Any]) -> Iterator[Check]:
    names = ", ".join(str(c.get("name")) for c in total_channels(manifest))
    reason = manifest.get("basis_reason") or "no sensor could be read"
    recorded_elsewhere = Recorded(manifest).parameters.get("trace") is not None
    yield made("sensors", bool(names), names or str(reason), "warning" if recorded_elsewhere else "error")
    yield from left_out(manifest)
    yield from other_basis(manifest)
    if names and not Recorded(manifest).attribution:
        missing = manifest.get("attribution_reason") or "energy was not attributed"
        yield made("attribution", ok=False, detail=str(missing), level="error")


def _server(manifest: Mapping[str, Any]) -> Iterator[Check]:
    """Say where the server is, and whether it lasted; and that a run was measured in several parts."""
    server = Recorded(manifest).server
    if reason := unseen(manifest):
        yield made("server" if not server.get("local", True) else "model", ok=False, detail=reason)
    elif server.get("ended"):
        yield made("server", ok=False, detail=str(server["ended"]))
    if lost := outage_told(manifest):
        yield made("outage", ok=False, detail=lost, level="error")
    parts = mappings(manifest.get("resumed"))
    if parts:
        told = f"measured in {len(parts) + 1} parts; what was in flight when the run was cut off was asked again"
        outages = [str(part_of(part, "outage").get("told")) for part in parts if part.get("outage")]
        yield made("resumed", ok=True, detail="; ".join([told, *outages]))


def _sampler(manifest: Mapping[str, Any]) -> Iterator[Check]:
    stats = manifest.get("sampler")
    if isinstance(stats, dict):
        died = stats.get("died")
        cpu, wall = number(stats.get("cpu_s")), number(stats.get("wall_s"))
        cost = f"took {100 * cpu / wall:.2g} % of one core" if cpu is not None and wall else "ran to the end"
        yield made("sampler", not died, str(died) if died else cost, "error")
        total = {c.get("name") for c in total_channels(manifest)}
        failures = [f for f in mappings(stats.get("failures")) if f.get("channel") in total]
        told = [f"{f.get('channel')}: {f.get('reason')}" for f in failures]
        yield made("sensor failures", not told, _first(told) or "none")


def _readings(recorded: Recorded) -> Iterator[Check]:
    manifest, readings, curves = recorded.entries, recorded.readings, recorded.total_curves
    windows = measured_windows(manifest)
    total = [channel for channel in total_channels(manifest) if channel.get("name") in curves]
    if not windows or not total:
        return
    seconds = sum(end - start for start, end in windows) / 1e9
    covered = {name: _covered(curve, windows) for name, curve in curves.items()}
    least = min(covered, key=lambda name: covered[name][0])
    share = covered[least][0]
    yield made("coverage", share >= LEAST_COVERAGE, f"{100 * share:.2f} % of the window ({least})", "error")
    longest = max(covered, key=lambda name: covered[name][1])
    gap_s, limit_s = covered[longest][1], max(2.0, 0.05 * seconds, 1.2 * _update_period_s(readings, total, longest))
    yield made("largest gap", gap_s <= limit_s, f"{gap_s:.3g} s without news ({longest})")
    for check, gone in (("losses", True), ("outages", False)):
        told = [f"{n}: {text}" for n, c in curves.items() for each in windows for text in _gaps(c, each, lost=gone)]
        yield made(check, not told, _first(told) or "none")
    yield from failed_reads(readings, total, windows)
    yield stillness(recorded, windows)
    yield from far_checks(manifest, readings, windows)
    yield noise_check(manifest, readings, windows)
    window = max(windows, key=lambda each: each[1] - each[0])
    for channel in total:
        yield from against_power(recorded, channel, window)


def _update_period_s(readings: Readings, channels: Sequence[Mapping[str, Any]], name: str) -> float:
    """How seldom a sensor is renewed, as it says or as its changes tell: Apple's rails may come in batches."""
    channel = next(c for c in channels if c.get("name") == name)
    learnt_s = learnt_period_s(*believed(readings, channel)) if channel.get("kind") == "counter" else None
    return max(number(channel.get("update_period_s")) or 0.0, learnt_s or 0.0)


def _covered(curve: Curve, windows: Sequence[Window]) -> tuple[float, float]:
    """Share of the windows that readings cover, and the longest time in them without any, in seconds."""
    found = [(end - start, *coverage(curve, start, end)) for start, end in windows]
    return sum(length * share for length, share, _ in found) / sum(length for length, *_ in found), max(
        gap_s for *_, gap_s in found
    )


def _gaps(curve: Curve, window: Window, *, lost: bool) -> Iterator[str]:
    """Tell gaps in which energy was lost, or those in which its joules are known and only their time is not."""
    joined: list[tuple[int, int, str]] = []
    for (start, end), reason, gone in zip(curve.gaps_ns.tolist(), curve.gap_reasons, curve.gap_lost, strict=True):
        if gone == lost and start < window[1] and end > window[0]:
            follows = bool(joined) and joined[-1][1:] == (start, reason)
            joined.append((joined.pop()[0] if follows else start, end, reason))
    for start, end, reason in joined:
        yield f"{reason} at {(start - window[0]) / 1e9:.1f} s for {(end - start) / 1e9:.2g} s"


def _conditions(manifest: Mapping[str, Any], readings: Readings) -> Iterator[Check]:
    window = measured_window(manifest)
    for channel in sensors(manifest):
        if window is not None and channel.get("kind") == "gauge":
            good = of_channel(readings, channel)
            yield from _gauge(channel, good[good["status"] == 0], window)
    neighbours = Recorded(manifest).neighbours
    found = mappings(neighbours.get("start")) + mappings(neighbours.get("end"))
    told = list(dict.fromkeys(f"pid {each.get('pid')} ({each.get('name') or 'unknown'})" for each in found))
    if isinstance(neighbours.get("start"), list):
        others = "used the same GPUs; unless that is the measured server, these joules hold its work too"
        yield made("other processes", not told, f"{_first(told)} {others}" if told else "none")
    flags = Recorded(manifest).attribution.get("flags")
    if isinstance(flags, list) and flags:
        minded = [str(flag) for flag in flags if flag != PHASES]
        if PHASES in flags:  # joules of whole queries, which tables show, do not depend on it
            yield made("phases", ok=True, detail=PHASES_TOLD)
        if minded:
            yield made("attribution", ok=False, detail="; ".join(minded))
    source = Recorded(manifest).host.get("power_source")
    if source is not None:
        yield made("power source", source != "battery", str(source))
    anchors = manifest.get("anchors")
    if isinstance(anchors, list) and len(anchors) > 1:
        step_s = wall_step_ns(Anchor(*anchors[0]), Anchor(*anchors[-1])) / 1e9
        yield made("wall clock", abs(step_s) <= MOST_CLOCK_STEP_S, f"stepped by {step_s:+.3f} s during the run")


def _gauge(channel: Mapping[str, Any], good: Readings, window: Window) -> Iterator[Check]:
    """Check what explains a run: heat, and what held the clocks down."""
    name, unit = str(channel.get("name")), channel.get("unit")
    inside = good["value"][(good["t_ns"] >= window[0]) & (good["t_ns"] <= window[1])]
    if name.endswith("/thermal_slowdown") and len(good) > 1:  # nanoseconds since the driver was loaded
        first = max(int(np.searchsorted(good["t_ns"], window[0], "right")) - 1, 0)
        last = min(int(np.searchsorted(good["t_ns"], window[1])), len(good) - 1)
        slowed_ns = float(good["value"][last] - good["value"][first])
        yield _throttling(slowed_ns / (window[1] - window[0]), f"{name}: {slowed_ns / 1e9:.3g} s")
    elif unit == "bits" and len(inside) >= 4:
        slowed = float(((inside.astype(np.int64) & SLOWED_BITS) != 0).mean())
        yield _throttling(slowed, f"{name}: {100 * slowed:.3g} % of the readings")
    elif unit == "C" and len(inside) >= 4:
        quarter = len(inside) // 4
        warming = float(np.median(inside[-quarter:]) - np.median(inside[:quarter]))
        yield made("temperature", abs(warming) <= MOST_WARMING_C, f"{name}: {warming:+.1f} °C")


def _throttling(share: float, detail: str) -> Check:
    return made("throttling", share <= 0, detail, "error" if share > MOST_SLOWED else "warning")


def _first(told: list[str]) -> str:
    """Join the first three."""
    return "; ".join(told[:3] + ([f"{len(told) - 3} more"] if len(told) > 3 else []))
