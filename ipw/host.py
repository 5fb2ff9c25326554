"""Facts about the machine and the software that a reader needs to judge a number."""

from __future__ import annotations

import platform
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ipw import power_supplies, system
from ipw.secrets_out import command_without_secrets
from ipw.sysfs import read_text

GOVERNOR = "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"
PACKAGES = ("ipw", "numpy", "pyarrow", "psutil", "nvidia-ml-py", "xllamacpp", "torch", "transformers")


def host_facts() -> dict[str, Any]:
    """CPU, memory, system, governor, power source and virtualisation; what cannot be told is `None`."""
    facts: dict[str, Callable[[], Any]] = {
        "name": platform.node,
        "system": lambda: f"{platform.system()} {platform.release()}",
        "machine": platform.machine,
        "cpu": _cpu_name,
        "cores": lambda: system.cpu_count(logical=False),
        "threads": system.cpu_count,
        "memory_bytes": system.memory_bytes,
        "governor": lambda: read_text(Path(GOVERNOR)) or None,
        "power_source": power_source,
        "virtualisation": virtualisation,
        "load_average": system.load_average,
    }
    return {name: system.told(ask) for name, ask in facts.items()}


def power_source() -> str | None:
    """Say `mains` or `battery`; `None` where that is not known, as on a machine without a battery."""
    if sys.platform == "linux" or power_supplies.folder().is_dir():
        return power_supplies.power_source(power_supplies.folder())
    return {True: "mains", False: "battery", None: None}[system.on_mains()]


def command_line(words: Sequence[str] | None = None) -> str | None:
    """What was typed to start `ipw`, without what may be a secret; `None` where another program measures."""
    words = sys.argv if words is None else words
    name = Path(words[0]).name if words else ""
    if name not in {"ipw", "ipw.exe"}:
        return None
    return shlex.join(["ipw", *command_without_secrets(words[1:])])


def software_versions() -> dict[str, str]:
    """Python and the packages that touch a number, as installed."""
    from importlib import metadata  # the sampler, which asks only what machine this is, does without

    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        version = system.told(lambda name=name: metadata.version(name))  # type: ignore[misc]
        if version:
            versions[name] = version
    return versions


def virtualisation() -> str | None:
    """`container`, `virtual machine`, or `None` where neither shows."""
    if Path("/.dockerenv").exists() or Path("/run/.containerenv").exists():
        return "container"
    return "virtual machine" if system.in_virtual_machine() else None


def _cpu_name() -> str | None:
    return system.cpu_field("model name") or platform.processor() or None
