"""NVIDIA GPUs through NVML: the energy counter where there is one, power beside it, and what the GPU was doing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from ctypes import byref, c_ulonglong
from dataclasses import replace
from typing import Any

from ipw.clock import now_ns
from ipw.profilers.base import Channel, Reading, Scope, SensorError, absent, timed
from ipw.profilers.nvml_gpus import list_gpus
from ipw.profilers.nvml_samples import Ring, slow
from ipw.profilers.sources import Read, Source, Sources, missing, probed, unreadable
from ipw.runs.readings import Status

POWER_AVERAGE, POWER_INSTANT = 185, 186
"""Field ids. What `nvmlDeviceGetPowerUsage` means changed from driver to driver; these say what they are."""
POWER_CAPPED, THERMAL_SLOWDOWN = 74, 269
POWER_SCOPES: dict[Scope, int] = {"gpu": 0, "module": 1, "memory": 2}
STATUS: dict[int, Status] = {3: "unsupported", 4: "permission", 13: "unsupported", 25: "unsupported", 27: "unsupported"}
"""By NVML's error code; any other means that the device does not answer."""
VALUE_MEMBERS = ("dVal", "uiVal", "ulVal", "ullVal", "sllVal", "siVal", "usVal")
"""Members of NVML's value union, by `nvmlValueType_t`."""
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
    except pynvml.NVMLError as error:
        return _not_started(error)
    try:
        return Sources(_sources(pynvml), pynvml.nvmlShutdown)
    except pynvml.NVMLError as error:
        pynvml.nvmlShutdown()
        return missing("nvml", "gpu", _told(error).status, _told(error).reason, HINT)


def _not_started(error: Any) -> Sources:
    if error.value == 12:
        return missing("nvml", "gpu", "absent", "no NVIDIA driver here (libnvidia-ml.so.1 is not found)")
    hint = "the driver was updated under the running kernel: reboot" if error.value == 18 else HINT
    return missing("nvml", "gpu", "absent", f"NVML does not start: {error}", hint)


def _told(error: Any) -> SensorError:
    return SensorError(STATUS.get(error.value, "lost"), f"NVML: {error}")


def _sources(nv: Any) -> Iterator[Source]:
    """Probe each GPU once, so that what it lacks is told once."""
    gpus, selection = list_gpus(nv)
    if not selection.indices:
        yield unreadable(absent("nvml", "gpu", "absent", selection.reason or "NVML lists no GPU"))
    driver = f"NVIDIA {nv.nvmlSystemGetDriverVersion()}"
    for gpu in gpus:
        handle = nv.nvmlDeviceGetHandleByIndex(gpu.index)
        name, device = f"nvml/gpu{gpu.index}", f"{gpu.name} {gpu.uuid}"
        power = Channel(
            name=name, kind="power", scope="gpu", method="integrated_power", device=device, driver=driver, unit="W",
            max_power_w=_limit_w(nv, handle),
        )  # fmt: skip
        if gpu.index not in selection.indices:
            yield _power(nv, handle, replace(power, kind="gauge", poll_s=1.0, note="bystander: not visible to CUDA"))
            continue
        notes = [note for note in (selection.notes.get(gpu.index), selection.reason) if note]
        yield from _energy(nv, handle, replace(power, note="; ".join(notes) or None))
        yield from _gauges(nv, handle, name, device)


def _limit_w(nv: Any, handle: Any) -> float | None:
    """Twice the highest power limit that can be set: more than any GPU draws over the time between two readings."""
    try:
        return float(nv.nvmlDeviceGetPowerManagementLimitConstraints(handle)[1]) / 1e3 * 2
    except nv.NVMLError:
        return None


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
    """Find the best way to read power in the channel's scope: this instant's, else the driver's average."""
    scope = POWER_SCOPES[channel.scope]

    def usage() -> float:
        return float(nv.nvmlDeviceGetPowerUsage(handle)) / 1e3

    def field(number: int) -> Callable[[], float]:
        milliwatts = _field(nv, handle, number, scope)
        return lambda: milliwatts() / 1e3

    ways = [(field(POWER_INSTANT), None), (field(POWER_AVERAGE), "averaged over 1 s by the driver")]
    if channel.scope == "gpu":
        ways.append((usage, "averaged over 1 s by some drivers"))
    for way, note in ways:
        notes = "; ".join(filter(None, (channel.note, note))) or None
        source = probed(replace(channel, note=notes), _read(nv, way, positive=channel.scope != "gpu"), HINT)
        if source[0].status == "ok":
            break
    return source


def _counter(nv: Any, handle: Any) -> Read:
    """Make the reader of the energy counter. Nothing is read more often: it calls the library itself, and only that."""
    function, millijoules = _function(nv, "nvmlDeviceGetTotalEnergyConsumption"), c_ulonglong()
    at = byref(millijoules)

    def read() -> Reading:
        before = now_ns()
        code = function(handle, at)
        half = (now_ns() - before) // 2
        if code:
            raise _told(nv.NVMLError(code))
        return Reading(before + half, millijoules.value / 1e3, half)

    return read


def _field(nv: Any, handle: Any, number: int, scope: int) -> Callable[[], float]:
    """Make the reader of a field value; the call succeeds even where the field fails: its own return code is read."""
    function, values = _function(nv, "nvmlDeviceGetFieldValues"), (nv.c_nvmlFieldValue_t * 1)()
    value = values[0]
    value.fieldId, value.scopeId = number, scope

    def read() -> float:
        if code := function(handle, 1, values) or value.nvmlReturn:
            raise nv.NVMLError(code)
        return float(getattr(value.value, VALUE_MEMBERS[value.valueType]))

    return read


def _function(nv: Any, name: str) -> Callable[..., int]:
    """Look up what pynvml would call; one that this driver lacks answers so."""
    try:
        function: Callable[..., int] = nv._nvmlGetFunctionPointer(name)  # noqa: SLF001 - no other way to keep it
    except nv.NVMLError as error:
        code: int = error.value
        return lambda *_: code
    return function


def _read(nv: Any, ask: Callable[[], float], *, positive: bool = False) -> Read:
    """Make the reader of a channel; `positive` calls 0 unsupported, as some GPUs answer that for a scope they lack."""

    def read() -> Reading:
        try:
            reading = timed(ask)
        except nv.NVMLError as error:
            raise _told(error) from error
        if positive and not reading.value > 0:
            raise SensorError("unsupported", "NVML answers 0")
        return reading

    return read


def _gauges(nv: Any, handle: Any, name: str, device: str) -> Iterator[Source]:
    """Make what explains a run afterwards: heat, clocks, and what held them down."""
    gauges: list[tuple[str, str, float, Callable[[], float]]] = [
        ("temperature", "C", 2, lambda: nv.nvmlDeviceGetTemperature(handle, nv.NVML_TEMPERATURE_GPU)),
        ("sm_clock", "MHz", 2, lambda: nv.nvmlDeviceGetClockInfo(handle, nv.NVML_CLOCK_SM)),
        ("memory_clock", "MHz", 5, lambda: nv.nvmlDeviceGetClockInfo(handle, nv.NVML_CLOCK_MEM)),
        ("power_limit", "W", 5, lambda: nv.nvmlDeviceGetEnforcedPowerLimit(handle) / 1e3),
        ("clock_events", "bits", 2, lambda: nv.nvmlDeviceGetCurrentClocksEventReasons(handle)),
        ("power_capped", "ns", 5, _field(nv, handle, POWER_CAPPED, 0)),
        ("thermal_slowdown", "ns", 5, _field(nv, handle, THERMAL_SLOWDOWN, 0)),
    ]
    for part, unit, poll_s, ask in gauges:
        channel = Channel(
            name=f"{name}/{part}", kind="gauge", scope="gpu", method="counter", device=device, unit=unit, poll_s=poll_s
        )
        yield probed(channel, _read(nv, ask))
