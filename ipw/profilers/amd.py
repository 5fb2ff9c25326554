"""AMD GPUs: energy counter and power through amdsmi where ROCm is installed, else the power that the driver shows."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from ipw.profilers.base import Channel, SensorError, timed
from ipw.profilers.sources import Source, Sources, missing, probed, unreadable
from ipw.profilers.visible_gpus import Gpu, select

ROOT = "/sys/class/hwmon"
POWER_KEYS = ("current_socket_power", "socket_power", "average_socket_power")
"""Which of these a GPU tells depends on its generation and on ROCm; the others are missing or the string N/A."""
SETTLE_S = 0.05
"""A counter that does not move for this long is frozen, as some versions of ROCm leave it."""


def open_sensor() -> Sources:
    """Open the GPUs that HIP would see."""
    root = Path(os.environ.get("IPW_HWMON", ROOT))
    try:
        import amdsmi

        amdsmi.amdsmi_init()
    except Exception as error:  # noqa: BLE001 - amdsmi raises what its shared library's absence happens to cause
        sources = [_from_driver(path) for path in sorted(root.glob("hwmon*")) if _name(path) == "amdgpu"]
        why = f"amdsmi is not usable ({type(error).__name__}) and the driver shows no AMD GPU"
        return Sources(sources) if sources else missing("amd", "gpu", "absent", why)
    sources = list(_sources(amdsmi))
    if sources:
        return Sources(sources, amdsmi.amdsmi_shut_down)
    amdsmi.amdsmi_shut_down()
    return missing("amd", "gpu", "absent", "amdsmi lists no GPU that HIP would see")


def _sources(smi: Any) -> Iterator[Source]:
    """Probe each visible GPU once."""
    handles = smi.amdsmi_get_processor_handles()
    gpus = [_gpu(smi, index, handle) for index, handle in enumerate(handles)]
    for variable in ("ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES"):
        chosen = select(os.environ.get(variable), gpus, variable=variable).indices
        gpus = [gpu for gpu in gpus if gpu.index in chosen]
    for gpu in gpus:
        joules, watts = partial(_joules, smi, handles[gpu.index]), partial(_watts, smi, handles[gpu.index])
        counter = Channel(
            name=f"amd/gpu{gpu.index}",
            kind="counter",
            scope="gpu",
            method="counter",
            device=f"{gpu.name} {gpu.bus_id} {gpu.uuid}",
            resolution_j=15.3e-6,
        )
        source = _moving(counter, joules)
        counted = source[0].status == "ok"
        yield source
        power = replace(counter, name=f"{counter.name}/power", kind="power", unit="W", method="integrated_power")
        yield probed(replace(power, included_in=counter.name if counted else None), partial(timed, watts))


def _gpu(smi: Any, index: int, handle: Any) -> Gpu:
    asic = smi.amdsmi_get_gpu_asic_info(handle)
    serial = str(asic.get("asic_serial", "")).lower().removeprefix("0x")
    return Gpu(index, f"GPU-{serial}", smi.amdsmi_get_gpu_device_bdf(handle), str(asic.get("market_name", "")))


def _moving(channel: Channel, joules: Callable[[], float]) -> Source:
    """Trust a counter only once it has moved: an idle GPU draws watts, so a second reading must be higher."""
    channel, read = probed(channel, partial(timed, joules))
    if channel.status == "ok":
        first = joules()
        time.sleep(SETTLE_S)
        if not joules() > first:
            return unreadable(replace(channel, status="unsupported", reason="its energy counter stands still"))
    return channel, read


def _joules(smi: Any, handle: Any) -> float:
    """Steps of the accumulator times their size in microjoules; the accumulator was called `power` before ROCm 6.2."""
    try:
        answer = smi.amdsmi_get_energy_count(handle)
        steps = answer.get("energy_accumulator", answer.get("power"))
        return float(steps) * float(answer["counter_resolution"]) * 1e-6
    except Exception as error:
        raise _told(error) from error


def _watts(smi: Any, handle: Any) -> float:
    try:
        answer = smi.amdsmi_get_power_info(handle)
    except Exception as error:
        raise _told(error) from error
    for key in POWER_KEYS:
        value = answer.get(key)
        if isinstance(value, int | float) and 0 < value < 1e5:  # all bits set means N/A too
            return float(value)
    raise SensorError("unsupported", "amdsmi tells no power")


def _told(error: Exception) -> SensorError:
    text = str(error) or type(error).__name__
    return SensorError(
        "unsupported" if "NOT_SUPPORTED" in text.upper().replace(" ", "_") else "lost", f"amdsmi: {text}"
    )


def _from_driver(path: Path) -> Source:
    """Make the one reading that the amdgpu driver offers without ROCm."""
    device = (path / "device").resolve().name
    channel = Channel(
        name=f"amd/{device}",
        kind="power",
        scope="gpu",
        method="integrated_power",
        device=f"amdgpu {device}",
        unit="W",
        note="HIP_VISIBLE_DEVICES is not looked at without amdsmi",
    )
    file = next(
        (path / name for name in ("power1_average", "power1_input") if (path / name).exists()), path / "power1_input"
    )

    def watts() -> float:
        try:
            return int(file.read_text()) * 1e-6
        except (OSError, ValueError) as error:
            raise SensorError("lost", f"{file.name}: {error}") from error

    return probed(channel, partial(timed, watts))


def _name(path: Path) -> str:
    try:
        return (path / "name").read_text().strip()
    except OSError:
        return ""
