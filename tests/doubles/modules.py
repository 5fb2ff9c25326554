"""Stand-ins for two libraries that install only beside their hardware: `amdsmi` and `zeus_apple_silicon`.

`write` puts them into a folder for the module path. Both draw constant power from when they are imported.
"""

from __future__ import annotations

from pathlib import Path

from doubles import ioreport

AMDSMI = """
import time

START, WATTS, GPUS, FROZEN, STEP_UJ = time.monotonic(), 300.0, 2, False, 15.3
POWER = {"current_socket_power": 300, "average_socket_power": "N/A"}


class AmdSmiLibraryException(Exception):
    pass


def amdsmi_init():
    pass


def amdsmi_shut_down():
    pass


def amdsmi_get_processor_handles():
    return list(range(GPUS))


def amdsmi_get_gpu_asic_info(handle):
    return {"market_name": "AMD Instinct Test", "asic_serial": f"0xABCD00000000000{handle}"}


def amdsmi_get_gpu_device_bdf(handle):
    return f"0000:{0x10 + handle:02x}:00.0"


def amdsmi_get_energy_count(handle):
    joules = 5.0 if FROZEN else 1000 + WATTS * (time.monotonic() - START)
    return {"energy_accumulator": int(joules * 1e6 / STEP_UJ), "counter_resolution": STEP_UJ, "timestamp": 0}


def amdsmi_get_power_info(handle):
    return POWER
"""


def write(folder: Path, *names: str) -> Path:
    """Write the modules of these names; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        texts = {"amdsmi": AMDSMI, "zeus_apple_silicon": Path(ioreport.__file__).read_text(encoding="utf-8")}
        (folder / f"{name}.py").write_text(texts[name], encoding="utf-8")
    return folder
