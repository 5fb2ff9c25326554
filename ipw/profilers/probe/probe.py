"""Watches sensors at rest and under a known load, and says how each of their channels behaves on this host."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from ipw.clock import now_ns
from ipw.profilers.base import Channel, Sensor, SensorError
from ipw.profilers.probe.characterise import (
    NotMeasuredError,
    Trace,
    averaging_window,
    idle_power,
    mean_power,
    phase_spread,
    resolution,
    rise_time,
    told,
    update_period,
    updates,
)
from ipw.profilers.probe.loads import PHASES, Load, Pulses, irregular_pulses, phased_pulses
from ipw.profilers.probe.profile import Profile, driver_of
from ipw.profilers.sources import Read
from ipw.runs.readings import is_estimate

BURST_S = 0.05
PAUSE_S = 1e-3
"""Between reads; a burst has none."""
LEAD_NS, TAIL_NS = 50_000_000, 100_000_000
"""So long before its first pulse a load is asked for, and so long after its last the sensor is watched."""
PART_TIME = 0.25
"""A sensor for which one load varies by more than this with its phase looks away for part of the time."""
UNDER_LOAD = ("window_s", "rise_s", "phase_spread", "part_time")


class Recording(NamedTuple):
    """What one channel said in one stage of the probe."""

    stage: str
    channel: str
    trace: Trace
    pulses: Pulses


class Probed(NamedTuple):
    """What came out."""

    profiles: list[Profile]
    recordings: list[Recording]


def probe(
    sensors: Sequence[Sensor],
    load_for: Callable[[Channel], Load | str],
    seconds: float,
    tell: Callable[[str], None] = lambda _: None,
) -> Probed:
    """Probe every readable channel of this machine in joules or watts, except estimates.

    At rest all channels are watched together for `seconds`; then each for which `load_for` has a load, and not the
    reason why there is none, alone, for about three times as long. `tell` hears what is going on.
    """
    reads = {
        channel: read
        for sensor in sensors
        for channel, read in _readers(sensor)
        if channel.kind != "gauge" and not is_estimate(channel.method) and channel.host is None
    }
    bursts = [watch([read], BURST_S, 0.0)[0] for read in reads.values()]
    tell(f"{len(reads)} channels at rest, {seconds:g} s")
    rests = watch(list(reads.values()), seconds)
    profiles, recordings = [], []
    for (channel, read), burst, rest in zip(reads.items(), bursts, rests, strict=True):
        profile, played = _at_rest(channel, burst, rest), [Recording("rest", channel.name, rest, ())]
        load = rest.failed or load_for(channel)
        if isinstance(load, str):
            profile = replace(profile, reasons=profile.reasons | dict.fromkeys(UNDER_LOAD, load))
        else:
            tell(f"{channel.name} under load, {3 * seconds:g} s")
            profile = _under_load(channel, profile, read, load, seconds, played)
        profiles.append(profile)
        recordings += played
    return Probed(profiles, recordings)


def watch(reads: Sequence[Read], seconds: float, pause_s: float = PAUSE_S) -> list[Trace]:
    """Read several channels in turn, over and over; one that fails is left out from then on, with what it gave."""
    rows: list[list[tuple[int, float, int, int]]] = [[] for _ in reads]
    failed: dict[int, str] = {}
    rounds, start_ns = 0, now_ns()
    while now_ns() < start_ns + seconds * 1e9 and len(failed) < len(reads):
        rounds += 1
        for index, read in enumerate(reads):
            if index in failed:
                continue
            before = now_ns()
            try:
                reading = read()
            except SensorError as error:
                failed[index] = error.reason
                continue
            if reading is not None:
                rows[index].append((*reading, now_ns() - before))
        time.sleep(pause_s)
    every_ns = (now_ns() - start_ns) / max(rounds, 1)
    return [_trace(kept, every_ns, failed.get(index)) for index, kept in enumerate(rows)]


def _at_rest(channel: Channel, burst: Trace, rest: Trace) -> Profile:
    counter = channel.kind == "counter"
    profile = Profile(
        channel=channel.name,
        device=channel.device,
        driver=driver_of(channel),
        kind=channel.kind,
        unit=channel.unit,
        measured=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        read_cost_s=float(np.median(rest.cost_ns)) / 1e9 if rest.cost_ns.size else None,
    )
    profile = _measured(profile, ["update_period_s"], lambda: (update_period(rest),))
    if profile.update_period_s is None:  # perhaps it is renewed so fast that only a burst can tell
        profile = _measured(profile, ["update_period_s"], lambda: (update_period(burst),))
    profile = _measured(profile, ["resolution"], lambda: (resolution(np.concatenate([burst.value, rest.value])),))
    idle = ["idle_power_w", "idle_drift_w", "idle_noise_w"]
    return _measured(profile, idle, lambda: idle_power(rest, counter=counter))


def _under_load(
    channel: Channel, profile: Profile, read: Read, load: Load, seconds: float, played: list[Recording]
) -> Profile:
    """Learn what rest cannot tell: a sensor at rest repeats itself, and nothing shows what it looks at."""
    counter = channel.kind == "counter"

    def play(stage: str, pulses: Pulses) -> Recording:
        with ThreadPoolExecutor(1) as pool:
            playing = pool.submit(load, pulses)
            (trace,) = watch([read], (pulses[-1][1] - now_ns() + TAIL_NS) / 1e9)
            played.append(Recording(stage, channel.name, trace, playing.result()))
        return played[-1]

    varied = play("irregular", irregular_pulses(now_ns() + LEAD_NS, seconds))
    profile = _measured(profile, ["update_period_s"], lambda: (update_period(varied.trace),))
    profile = _measured(profile, ["resolution"], lambda: (resolution(varied.trace.value),))
    if (period_s := profile.update_period_s) is None:
        return replace(profile, reasons=profile.reasons | dict.fromkeys(UNDER_LOAD, "its period is not known"))
    profile = _measured(
        profile,
        ["window_s"],
        lambda: (averaging_window(*updates(varied.trace, counter=counter), varied.pulses, period_s),),
    )
    rest_ns = int(max(seconds / 4, 4 * period_s) * 1e9)
    step_ns = now_ns() + LEAD_NS + rest_ns
    step = play("step", [(step_ns, step_ns + rest_ns)])
    profile = _measured(profile, ["rise_s"], lambda: (rise_time(*told(step.trace, counter=counter), step.pulses[0]),))
    repeats = max(int(seconds / PHASES / period_s), 10)
    lead = int((profile.window_s or 5 * period_s) / period_s) + 1
    pulses, groups = phased_pulses(now_ns() + LEAD_NS, period_s * 1e9, repeats, lead)
    phased = play("phases", pulses)

    def spread() -> tuple[float, bool]:
        idle_w = mean_power(step.trace, 0, step_ns, counter=counter)
        found = phase_spread([mean_power(phased.trace, *group, counter=counter) for group in groups], idle_w)
        return found, found > PART_TIME

    return _measured(profile, ["phase_spread", "part_time"], spread)


def _measured(profile: Profile, names: Sequence[str], measure: Callable[[], Sequence[float]]) -> Profile:
    """Fill these fields, or say why they stay as they are."""
    try:
        values = measure()
    except NotMeasuredError as error:
        missing = {name: str(error) for name in names if getattr(profile, name) is None}
        return replace(profile, reasons=profile.reasons | missing)
    reasons = {name: reason for name, reason in profile.reasons.items() if name not in names}
    changes: dict[str, Any] = dict(zip(names, values, strict=True))
    return replace(profile, **changes, reasons=reasons)


def _readers(sensor: Sensor) -> Iterator[tuple[Channel, Read]]:
    for index, channel in enumerate(sensor.channels):
        if channel.status == "ok":
            yield channel, partial(sensor.read, index)


def _trace(rows: Sequence[tuple[int, float, int, int]], every_ns: float, failed: str | None) -> Trace:
    t, value, half, cost = (np.array(column) for column in zip(*rows, strict=True)) if rows else np.zeros((4, 0))
    whole = np.int64
    return Trace(t.astype(whole), value.astype(float), half.astype(whole), cost.astype(whole), every_ns, failed)
