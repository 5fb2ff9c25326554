"""Facts about the machine and the software that a reader needs to judge a number."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = ("ipw", "numpy", "pyarrow", "psutil", "nvidia-ml-py", "xllamacpp", "torch", "transformers")


def host_facts() -> dict[str, Any]:
    """CPU, memory, system, governor, power source and virtualisation; what cannot be told is `None`."""
    import psutil

    battery = psutil.sensors_battery() if hasattr(psutil, "sensors_battery") else None
    return {
        "name": platform.node(),
        "system": f"{platform.system()} {platform.release()}",
        "machine": platform.machine(),
        "cpu": _cpu_name(),
        "cores": psutil.cpu_count(logical=False),
        "threads": psutil.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
        "governor": _first_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "power_source": None if battery is None else "mains" if battery.power_plugged else "battery",
        "virtualisation": virtualisation(),
        "load_average": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    }


def software_versions() -> dict[str, str]:
    """Python and the packages that touch a number, as installed."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def virtualisation() -> str | None:
    """`container`, `virtual machine`, or `None` where neither shows."""
    if Path("/.dockerenv").exists() or Path("/run/.containerenv").exists():
        return "container"
    if "hypervisor" in (_cpu_field("flags") or ""):
        return "virtual machine"
    return None


def _cpu_name() -> str | None:
    return _cpu_field("model name") or platform.processor() or None


def _cpu_field(field: str) -> str | None:
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8", errors="replace") as lines:
            return next((line.partition(":")[2].strip() for line in lines if line.startswith(field)), None)
    except OSError:
        return None


def _first_line(path: str) -> str | None:
    try:
        return Path(path).read_text(encoding="utf-8").strip() or None
    except OSError:
        return None
