"""Characterises the sensors of one NVIDIA GPU: what `make gpu-check` measures, and tests measure of the stand-in."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from typing import NamedTuple

import numpy as np

from ipw.clock import now_ns
from ipw.profilers.base import Channel, Sensor, SensorError
from ipw.profilers.probe.characterise import Floats, NotMeasuredError, idle_power, mean_power
from ipw.profilers.probe.loads import Load
from ipw.profilers.probe.probe import LEAD_NS, Recording, probe, watch
from ipw.profilers.probe.profile import Profile
from ipw.profilers.sources import Read, Sources

CALLS, SLOW_CALLS = 1000, 50
SETTLE_S = 2.0
COLD, WARM = "before a CUDA context", "in a CUDA context, idle"
MakeLoad = Callable[[], Load | str]


class Rest(NamedTuple):
    """The GPU at rest."""

    state: str
    power_w: float | None
    gauges: dict[str, str]


class Agreement(NamedTuple):
    """Mean power of one stretch of time by the counter and by the power readings."""

    state: str
    counter_w: float
    power_w: float


class Findings(NamedTuple):
    """All that was measured of one GPU."""

    device: str
    driver: str
    measured: str
    seconds: float
    profiles: list[Profile]
    rests: list[Rest]
    agreements: list[Agreement]
    calls: dict[str, Floats | str]
    """Seconds that each call took, every time it was made, or why it fails."""
    buffer: str
    """What the driver keeps in its own ring of power samples."""
    recordings: list[Recording]


def characterise(sensor: Sensor, make_load: MakeLoad, seconds: float) -> Findings:
    """Measure the first GPU of an open NVML sensor. The load is made only after the GPU was watched without it.

    Raises SensorError where the sensor reads no GPU.
    """
    readable = {c: partial(sensor.read, i) for i, c in enumerate(sensor.channels) if c.status == "ok"}
    first = next((c for c in readable if c.kind != "gauge"), None)
    if first is None:
        raise SensorError("absent", sensor.channels[0].reason or "NVML reads no GPU")
    gpu = "/".join(first.name.split("/")[:2])
    reads: dict[Channel, Read] = {c: read for c, read in readable.items() if f"{c.name}/".startswith(f"{gpu}/")}
    load = cache(make_load)

    def load_for(channel: Channel) -> Load | str:
        return load() if channel.scope == "gpu" else "only the GPU's own power is put under load"

    rests = [_rest(COLD, reads, seconds)]
    profiles, recordings = probe([Sources(reads.items())], load_for, seconds, print)
    agreements = _together("at rest", reads, None, seconds, recordings)
    working = load()
    if not isinstance(working, str):
        agreements += _together("under full load", reads, working, seconds, recordings)
        time.sleep(min(SETTLE_S, seconds))
        rests.append(_rest(WARM, reads, seconds))
    uuid = first.device.split()[-1]
    now = time.strftime("%Y-%m-%d", time.gmtime())
    costs, kept = call_costs(uuid), sample_buffer(uuid)
    return Findings(first.device, first.driver, now, seconds, profiles, rests, agreements, costs, kept, recordings)


def call_costs(uuid: str) -> dict[str, Floats | str]:
    """Time the calls that sensors are made of, and those too slow to be."""
    import pynvml as nv

    handle = nv.nvmlDeviceGetHandleByUUID(uuid)
    calls: dict[str, tuple[Callable[[], object], int]] = {
        "nvmlDeviceGetTotalEnergyConsumption": (lambda: nv.nvmlDeviceGetTotalEnergyConsumption(handle), CALLS),
        "nvmlDeviceGetFieldValues (power, instant)": (lambda: nv.nvmlDeviceGetFieldValues(handle, [(186, 0)]), CALLS),
        "nvmlDeviceGetPowerUsage": (lambda: nv.nvmlDeviceGetPowerUsage(handle), CALLS),
        "nvmlDeviceGetTemperature": (lambda: nv.nvmlDeviceGetTemperature(handle, 0), CALLS),
        "nvmlDeviceGetClockInfo": (lambda: nv.nvmlDeviceGetClockInfo(handle, 1), CALLS),
        "nvmlDeviceGetComputeRunningProcesses": (
            lambda: nv.nvmlDeviceGetComputeRunningProcesses(handle),
            SLOW_CALLS,
        ),
    }
    return {name: _durations(call, times) for name, (call, times) in calls.items()}


def sample_buffer(uuid: str) -> str:
    """Describe the driver's own ring of power samples."""
    import pynvml as nv

    try:
        _, samples = nv.nvmlDeviceGetSamples(nv.nvmlDeviceGetHandleByUUID(uuid), nv.NVML_TOTAL_POWER_SAMPLES, 0)
    except nv.NVMLError as error:
        return f"none: {error}"
    return buffer_text(np.array([sample.timeStamp for sample in samples], np.int64))


def buffer_text(stamps_us: np.ndarray[tuple[int], np.dtype[np.int64]]) -> str:
    """Say how many samples there are, how far apart, and over how long."""
    if stamps_us.size < 2:
        return f"{stamps_us.size} samples"
    stamps = np.unique(stamps_us) / 1e3
    return f"{stamps_us.size} samples, {np.median(np.diff(stamps)):.3g} ms apart, over {np.ptp(stamps) / 1e3:.3g} s"


def _durations(call: Callable[[], object], times: int) -> Floats | str:
    import pynvml as nv

    took = np.zeros(times)
    for k in range(times):
        before = now_ns()
        try:
            call()
        except nv.NVMLError as error:
            return str(error)
        took[k] = (now_ns() - before) / 1e9
    return took


def _rest(state: str, reads: Mapping[Channel, Read], seconds: float) -> Rest:
    """Watch the GPU's power (integrated or counted), and read its gauges once."""
    watched = next(c for c in reads if c.kind != "gauge")
    (trace,) = watch([reads[watched]], seconds)
    gauges = {}
    for channel, read in reads.items():
        reading = read() if channel.kind == "gauge" and channel.unit in {"C", "MHz", "W"} else None
        if reading:
            gauges[channel.name.rpartition("/")[2]] = f"{reading.value:g} {channel.unit}"
    try:
        power_w, _, _ = idle_power(trace, counter=watched.kind == "counter")
    except NotMeasuredError:
        return Rest(state, None, gauges)
    return Rest(state, power_w, gauges)


def _together(
    state: str, reads: Mapping[Channel, Read], load: Load | None, seconds: float, recordings: list[Recording]
) -> list[Agreement]:
    """Watch counter and power at once, in one state, and compare their middle parts; none where one is missing."""
    pair = [c for c in reads if c.scope == "gpu" and c.kind in {"counter", "power"}]
    if len(pair) != 2:
        return []
    start = now_ns() + LEAD_NS
    end = start + int(seconds * 1e9)
    with ThreadPoolExecutor(1) as pool:
        playing = pool.submit(load, [(start, end)]) if load else None
        traces = watch([reads[channel] for channel in pair], (end - now_ns()) / 1e9)
        pulses = playing.result() if playing else ()
    recordings += [Recording(state, c.name, trace, pulses) for c, trace in zip(pair, traces, strict=True)]
    settled = start + (end - start) // 4
    try:
        watts = {
            c.kind: mean_power(t, settled, end, counter=c.kind == "counter") for c, t in zip(pair, traces, strict=True)
        }
    except NotMeasuredError:
        return []
    return [Agreement(state, watts["counter"], watts["power"])]
