"""NVIDIA GPUs through NVML: the energy counter where there is one, power beside it, and what the GPU was doing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from ctypes import byref, c_ulonglong
from dataclasses import replace
from functools import partial
from typing import Any

from ipw.clock import now_ns
from ipw.profilers.base import Channel, Reading, Scope, SensorError, absent, made
from ipw.profilers.nvidia.calls import asked, field, function, shut_down, text, told
from ipw.profilers.nvidia.gpus import list_gpus
from ipw.profilers.nvidia.samples import Ring, slow
from ipw.profilers.nvidia.visible import Gpu
from ipw.profilers.opening import ZERO
from ipw.profilers.sources import Read, Source, Sources, missing, probed, unreadable

POWER_AVERAGE, POWER_INSTANT = 185, 186
"""Field ids. What `nvmlDeviceGetPowerUsage` means changed from driver to driver; these say what they are."""
POWER_CAPPED, THERMAL_SLOWDOWN = 74, 269
POWER_SCOPES: dict[Scope, int] = {"gpu": 0, "module": 1, "memory": 2}
UPDATE_S = 0.12
"""A little more than one update of the power that drivers show."""
NO_GPU = "NVML lists no GPU"
NO_DRIVER = {9, 12}
"""Codes of a machine on which no driver is loaded, as on one without NVIDIA GPUs."""
HINT = "`nvidia-smi` tells whether the driver works; a container needs the whole GPU, not one instance of it"


def open_sensor() -> Sources:
    """Open the channels of the GPUs that CUDA would see; of the others, their power as a gauge."""
    try:
        import pynvml
    except ImportError:
        return missing("nvml", "gpu", "absent", "nvidia-ml-py is not installed", "pip install nvidia-ml-py")
    if not hasattr(pynvml, "_nvmlGetFunctionPointer"):
        reason = "the third-party package pynvml hides NVIDIA's own nvidia-ml-py"
        hint = "pip uninstall -y pynvml && pip install --force-reinstall nvidia-ml-py"
        return missing("nvml", "gpu", "unsupported", reason, hint)
    try:
        pynvml.nvmlInit()
    except Exception as error:  # noqa: BLE001 - a binding raises more than its own errors
        return _not_started(error)
    try:
        return Sources(_sources(pynvml), pynvml.nvmlShutdown)
    except SensorError as error:
        shut_down(pynvml)
        return missing("nvml", "gpu", error.status, error.reason, HINT)


def _not_started(error: Exception) -> Sources:
    code = getattr(error, "value", None)
    if code == 12:
        return missing("nvml", "gpu", "absent", "no NVIDIA driver here (libnvidia-ml.so.1 is not found)")
    hint = "the driver was updated under the running kernel: reboot" if code == 18 else HINT
    reason = told(error).reason.removeprefix("NVML: ")
    return missing("nvml", "gpu", "absent" if code in NO_DRIVER else "lost", f"NVML does not start: {reason}", hint)


def _sources(nv: Any) -> Iterator[Source]:
    """Probe each GPU once, so that what it lacks is told once."""
    gpus, selection = list_gpus(nv)
    if not selection.indices or selection.unknown:
        unknown = selection.unknown and bool(gpus)
        channel = absent("nvml", "gpu", "unsupported" if unknown else "absent", selection.reason or NO_GPU)
        yield unreadable(replace(channel, asked=unknown and not selection.indices))
    try:
        version, untold = text(lambda: nv.nvmlSystemGetDriverVersion()), None  # noqa: PLW0108 - as in list_gpus
    except SensorError as error:
        version, untold = "", f"the driver's version is not told ({error.reason})"
    for gpu in gpus:
        notes = filter(None, (selection.notes.get(gpu.index), selection.reason, *gpu.notes, untold))
        power = Channel(
            name=f"nvml/gpu{gpu.index}", kind="power", scope="gpu", method="integrated_power",
            device=f"{gpu.name} {gpu.uuid}".strip(), driver=f"NVIDIA {version}".strip(), unit="W",
            asked=selection.named and gpu.index in selection.indices,
        )  # fmt: skip
        if gpu.index not in selection.indices:
            power = replace(power, kind="gauge", poll_s=1.0, note="bystander: not visible to CUDA")
        else:
            power = replace(power, note="; ".join(notes) or None)
        yield from _guarded(power, partial(_gpu, nv, gpu, power))


def _guarded(channel: Channel, sources: Callable[[], Iterator[Source]]) -> Iterator[Source]:
    """Make the sources of one GPU; whatever goes wrong costs no other."""
    made = 0
    try:
        for source in sources():
            yield source
            made += 1
    except Exception as error:  # noqa: BLE001 - as above
        if not made:
            failed = told(error)
            yield unreadable(replace(channel, status=failed.status, reason=failed.reason, hint=HINT))


def _gpu(nv: Any, gpu: Gpu, power: Channel) -> Iterator[Source]:
    """Make the sources of one GPU."""
    if gpu.lost:
        raise gpu.lost
    handle = nv.nvmlDeviceGetHandleByIndex(gpu.index)
    power = replace(power, max_power_w=_limit_w(nv, handle))
    if power.kind == "gauge":
        yield _power(nv, handle, power)
        return
    yield from _energy(nv, handle, power)
    yield from _gauges(nv, handle, power)


def _limit_w(nv: Any, handle: Any) -> float | None:
    """Twice the highest power limit that can be set: more than any GPU draws over the time between two readings.

    A limit of 0, which some drivers tell where there is none, is no limit.
    """
    try:
        most_w = asked(lambda: float(nv.nvmlDeviceGetPowerManagementLimitConstraints(handle)[1])) / 1e3
    except SensorError:
        return None
    return 2 * most_w or None


def _energy(nv: Any, handle: Any, power: Channel) -> Iterator[Source]:
    """Make the counter, the power beside it, and the power of the module around it and the memory within it."""
    counter = replace(power, kind="counter", method="counter", unit="J", resolution_j=1e-3, ticks=True)
    source = probed(counter, _counter(nv, handle))
    counted = source[0].status == "ok"
    yield from _with_samples(nv, handle, source, power) if counted and slow(source[1]) else [source]
    within = power.name if counted else None
    yield _power(
        nv, handle, replace(power, name=f"{power.name}/power", included_in=within, poll_s=0.25 if counted else 0.02)
    )
    parts: list[tuple[Scope, str | None]] = [("module", None), ("memory", within or f"{power.name}/power")]
    for scope, outer in parts:
        part = replace(power, name=f"{power.name}/{scope}", scope=scope, included_in=outer, max_power_w=None)
        source = _power(nv, handle, part)
        if source[0].status == "ok":
            yield source


def _with_samples(nv: Any, handle: Any, counter: Source, power: Channel) -> Iterator[Source]:
    """Spare a counter that is slow to answer, where the driver's own samples tell what is between its readings."""
    try:
        ring = Ring(nv, handle)
    except SensorError:
        yield counter
        return
    channel, read = counter
    samples = replace(
        power, name=f"{power.name}/samples", included_in=power.name, update_period_s=ring.period_s, poll_s=0.4
    )
    note = "slow to answer: seldom read, and shaped by the driver's own power samples"
    yield replace(channel, shape=samples.name, note="; ".join(filter(None, (channel.note, note)))), read
    yield samples, ring.read


def _power(nv: Any, handle: Any, channel: Channel) -> Source:
    """Find the best way to read power in the channel's scope: this instant's, else the driver's average.

    A GPU that answers 0 W is asked again once, after an update: none draws nothing.
    """
    scope = POWER_SCOPES[channel.scope]

    ways: list[tuple[Callable[[], float], str | None]] = [
        (field(nv, handle, POWER_INSTANT, scope), None),
        (field(nv, handle, POWER_AVERAGE, scope), "averaged over 1 s by the driver"),
    ]
    if channel.scope == "gpu":
        ways.append((lambda: nv.nvmlDeviceGetPowerUsage(handle), "averaged over 1 s by some drivers"))
    source = _first(channel, ways)
    if channel.scope == "gpu" and source[0].reason == ZERO:
        time.sleep(UPDATE_S)
        source = _first(channel, ways)
    return source


def _first(channel: Channel, ways: list[tuple[Callable[[], float], str | None]]) -> Source:
    """Take the first way that tells a power; where none does, the last, or the one that answers 0."""
    zero = None
    for milliwatts, note in ways:
        notes = "; ".join(filter(None, (channel.note, note))) or None
        source = probed(replace(channel, note=notes), _read(milliwatts, 1e3, positive=True), HINT)
        if source[0].status == "ok":
            return source
        zero = zero or (source if source[0].reason == ZERO else None)
    return zero or source


def _counter(nv: Any, handle: Any) -> Read:
    """Make the reader of the energy counter. Nothing is read more often: it calls the library itself, and only that."""
    millijoules = c_ulonglong()
    ask = function(nv, "nvmlDeviceGetTotalEnergyConsumption")
    return partial(_count, ask, handle, byref(millijoules), millijoules, nv)  # a closure's cells lie apart in memory


def _count(ask: Callable[..., int], handle: Any, at: Any, millijoules: c_ulonglong, nv: Any) -> Reading:
    before = now_ns()
    code = ask(handle, at)
    half = (now_ns() - before) // 2
    if code:
        raise told(nv.NVMLError(code))
    return made(Reading, (before + half, millijoules.value / 1e3, half))


def _read(ask: Callable[[], float], per_unit: float = 1.0, *, positive: bool = False) -> Read:
    """Make the reader of a channel; `positive` calls 0 unsupported, as some GPUs answer that for what they lack."""
    return partial(_reading, ask, per_unit, positive)


def _reading(ask: Callable[[], float], per_unit: float, positive: bool) -> Reading:
    before = now_ns()
    try:
        value = ask() / per_unit
    except Exception as error:
        raise told(error) from error
    half = (now_ns() - before) // 2
    if positive and not value > 0:
        raise SensorError("unsupported", ZERO)
    return made(Reading, (before + half, value, half))


def _gauges(nv: Any, handle: Any, power: Channel) -> Iterator[Source]:
    """Make what explains a run afterwards: heat, clocks, and what held them down."""

    def events() -> int:
        try:
            return int(nv.nvmlDeviceGetCurrentClocksEventReasons(handle))
        except (nv.NVMLError_FunctionNotFound, AttributeError):  # older drivers and bindings call them so:
            return int(nv.nvmlDeviceGetCurrentClocksThrottleReasons(handle))

    gauges: list[tuple[str, str, float, Callable[[], float]]] = [
        ("temperature", "C", 2, lambda: nv.nvmlDeviceGetTemperature(handle, nv.NVML_TEMPERATURE_GPU)),
        ("sm_clock", "MHz", 2, lambda: nv.nvmlDeviceGetClockInfo(handle, nv.NVML_CLOCK_SM)),
        ("memory_clock", "MHz", 5, lambda: nv.nvmlDeviceGetClockInfo(handle, nv.NVML_CLOCK_MEM)),
        ("power_limit", "W", 5, lambda: nv.nvmlDeviceGetEnforcedPowerLimit(handle) / 1e3),
        ("clock_events", "bits", 2, events),
        ("power_capped", "ns", 5, field(nv, handle, POWER_CAPPED)),
        ("thermal_slowdown", "ns", 5, field(nv, handle, THERMAL_SLOWDOWN)),
    ]
    for part, unit, poll_s, ask in gauges:
        channel = Channel(
            name=f"{power.name}/{part}", kind="gauge", scope="gpu", method="counter", device=power.device, unit=unit,
            poll_s=poll_s,
        )  # fmt: skip
        yield probed(channel, _read(ask))
