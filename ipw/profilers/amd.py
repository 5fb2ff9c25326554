"""AMD GPUs: energy counter and power through amdsmi where ROCm is installed, else the power that the driver shows."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from math import inf
from pathlib import Path
from typing import Any, TypeVar

from ipw.energy.belief.limits import most_power_w
from ipw.profilers.base import Channel, SensorError, absent, timed
from ipw.profilers.linux.sysfs_power import limit_w, micro
from ipw.profilers.nvidia.visible import Gpu, select
from ipw.profilers.sources import Source, Sources, missing, probed, unreadable
from ipw.sysfs import listed, printable, read_text

T = TypeVar("T")

ROOT = "/sys/class/hwmon"
APU_RAIL = "vddnb"
"""The label of a voltage that the driver shows of processors with graphics only, but for the MI300A (amdgpu_pm.c)."""
APU = "a processor with graphics: this is the power of its whole socket"
POWER_KEYS = ("current_socket_power", "socket_power", "average_socket_power")
"""Which of these a GPU tells depends on its generation and on ROCm; the others are missing or the string N/A."""


def open_sensor() -> Sources:
    """Open the GPUs that HIP would see."""
    root = Path(os.environ.get("IPW_HWMON", ROOT))
    try:
        import amdsmi

        amdsmi.amdsmi_init()
    except Exception as error:  # noqa: BLE001 - amdsmi raises what its shared library's absence happens to cause
        sources = [_from_driver(path) for path in listed(root, "hwmon*") if read_text(path / "name") == "amdgpu"]
        why = f"amdsmi is not usable ({type(error).__name__}) and the driver shows no AMD GPU"
        return Sources(sources) if sources else missing("amd", "gpu", "absent", why)
    try:
        sources = list(_sources(amdsmi, root))
    except SensorError as error:
        amdsmi.amdsmi_shut_down()
        return missing("amd", "gpu", error.status, error.reason)
    if sources:
        return Sources(sources, amdsmi.amdsmi_shut_down)
    amdsmi.amdsmi_shut_down()
    return missing("amd", "gpu", "absent", "amdsmi lists no GPU that HIP would see")


def _sources(smi: Any, root: Path) -> Iterator[Source]:
    """Probe each visible GPU once. Raises SensorError where amdsmi has no list."""
    handles = _asked(lambda: smi.amdsmi_get_processor_handles())  # noqa: PLW0108 - the name is looked up where that may fail
    apus = _apus(root)
    gpus = [_gpu(smi, index, handle) for index, handle in enumerate(handles)]
    named = False
    for variable in ("ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES"):
        selection = select(os.environ.get(variable), gpus, variable=variable)
        if selection.unknown and gpus:
            unknown = absent("amd", "gpu", "unsupported", selection.reason or "")
            yield unreadable(replace(unknown, asked=not selection.indices))
        gpus, named = [gpu for gpu in gpus if gpu.index in selection.indices], named or selection.named
    for gpu in gpus:
        handle = handles[gpu.index]
        joules, watts = partial(_joules, smi, handle), partial(_watts, smi, handle)
        counter = Channel(
            name=f"amd/gpu{gpu.index}",
            kind="counter",
            scope="gpu",
            method="counter",
            device=" ".join(filter(None, (gpu.name, gpu.bus_id, gpu.uuid))),
            resolution_j=15.3e-6,
            max_power_w=_limit_w(smi, handle),
            asked=named,
            note="; ".join(gpu.notes) or None,
        )
        if gpu.bus_id.lower() in apus:
            counter = _of_socket(counter)
        if _is_second_die(gpu, gpus, joules):
            note = f"the second die of amd/gpu{gpu.index - 1}, whose counter holds both"
            yield probed(replace(counter, kind="gauge", note=note), partial(timed, joules))
            continue
        source = probed(counter, partial(timed, joules))
        counted = source[0].status == "ok"
        yield source
        power = replace(counter, name=f"{counter.name}/power", kind="power", unit="W", method="integrated_power")
        within = counter.name if counted else None
        yield probed(replace(power, included_in=within, resolution_j=None), partial(timed, watts))


def _gpu(smi: Any, index: int, handle: Any) -> Gpu:
    """Learn who a GPU is; a fact that it does not tell costs itself."""
    asic: Mapping[str, Any] = {}
    bus_id, notes = "", []
    try:
        asic = dict(_asked(lambda: smi.amdsmi_get_gpu_asic_info(handle)))
    except SensorError as error:
        notes.append(f"its name and serial number are not told ({error.reason})")
    try:
        bus_id = printable(str(_asked(lambda: smi.amdsmi_get_gpu_device_bdf(handle))))
    except SensorError as error:
        notes.append(f"its PCI place is not told ({error.reason})")
    serial = printable(str(asic.get("asic_serial", ""))).lower().removeprefix("0x")
    uuid = f"GPU-{serial}" if serial else ""
    return Gpu(index, uuid, bus_id, printable(str(asic.get("market_name", ""))), notes=tuple(notes))


def _is_second_die(gpu: Gpu, gpus: Sequence[Gpu], joules: Callable[[], float]) -> bool:
    """Whether this is one of an MI250's dies, of which the first tells the energy of both and the second 0."""
    if "MI250" not in gpu.name or gpu.index % 2 == 0 or all(other.index != gpu.index - 1 for other in gpus):
        return False
    try:
        return joules() == 0
    except SensorError:
        return False


def _joules(smi: Any, handle: Any) -> float:
    """Steps of the accumulator times their size in microjoules; the accumulator was called `power` before ROCm 6.2."""

    def ask() -> float:
        answer = smi.amdsmi_get_energy_count(handle)
        steps = answer.get("energy_accumulator", answer.get("power"))
        return float(steps) * float(answer["counter_resolution"]) * 1e-6

    return _asked(ask)


def _watts(smi: Any, handle: Any) -> float:
    answer = _asked(lambda: dict(smi.amdsmi_get_power_info(handle)))
    for key in POWER_KEYS:
        value = answer.get(key)
        if isinstance(value, int | float) and 0 < value < 1e5:  # all bits set means N/A too
            return float(value)
    raise SensorError("unsupported", "amdsmi tells no power")


def _limit_w(smi: Any, handle: Any) -> float | None:
    """Twice the limit that is set; some versions tell it in millionths, which is then no limit."""
    try:
        limit = _asked(lambda: dict(smi.amdsmi_get_power_info(handle))).get("power_limit")
    except SensorError:
        return None
    return 2.0 * limit if isinstance(limit, int | float) else None


def _asked(call: Callable[[], T]) -> T:
    """Make a call. Raises SensorError, whatever it is that goes wrong."""
    try:
        return call()
    except Exception as error:
        raise _told(error) from error


def _told(error: Exception) -> SensorError:
    text = str(error) or type(error).__name__
    return SensorError(
        "unsupported" if "NOT_SUPPORTED" in text.upper().replace(" ", "_") else "lost", f"amdsmi: {text}"
    )


def _apus(root: Path) -> set[str]:
    """List the PCI places of processors with graphics."""
    return {_place(path).lower() for path in listed(root, "hwmon*") if _is_apu(path)}


def _is_apu(path: Path) -> bool:
    return read_text(path / "name") == "amdgpu" and read_text(path / "in1_label") == APU_RAIL


def _place(path: Path) -> str:
    return (path / "device").resolve().name if (path / "device").exists() else path.name


def _of_socket(channel: Channel) -> Channel:
    """Make it a channel of the package, of which RAPL's counter says more where it can be read."""
    most_w = min(channel.max_power_w or inf, most_power_w("package"))
    return replace(channel, scope="package", max_power_w=most_w, note="; ".join(filter(None, (APU, channel.note))))


def _from_driver(path: Path) -> Source:
    """Make the one reading that the amdgpu driver offers without ROCm."""
    device = _place(path)
    channel = Channel(
        name=f"amd/{device}",
        kind="power",
        scope="gpu",
        method="integrated_power",
        device=f"amdgpu {device}",
        unit="W",
        max_power_w=limit_w(path, "power1_cap_max", "power1_cap"),
        note="HIP_VISIBLE_DEVICES is not looked at without amdsmi",
    )
    if _is_apu(path):
        channel = _of_socket(channel)
    file = next(
        (path / name for name in ("power1_average", "power1_input") if (path / name).exists()), path / "power1_input"
    )

    return probed(channel, partial(timed, partial(micro, file)))
