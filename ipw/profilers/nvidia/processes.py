"""Which processes compute on an NVIDIA GPU, asked of a driver of any age."""

from __future__ import annotations

import ctypes
from typing import Any, ClassVar

from ipw.profilers.base import SensorError
from ipw.profilers.nvidia.calls import FUNCTION_NOT_FOUND, asked, function

TOO_SMALL = 7
TRIES = 3
"""A process may start between two calls."""


class _Process(ctypes.Structure):
    """Of nvml.h, since driver 460."""

    _fields_: ClassVar = [
        ("pid", ctypes.c_uint),
        ("memory", ctypes.c_ulonglong),
        ("gpu_instance", ctypes.c_uint),
        ("compute_instance", ctypes.c_uint),
    ]


class _FirstProcess(ctypes.Structure):
    """Of nvml.h before that."""

    _fields_: ClassVar = [("pid", ctypes.c_uint), ("memory", ctypes.c_ulonglong)]


WAYS: dict[str, type[ctypes.Structure]] = {"_v3": _Process, "_v2": _Process, "": _FirstProcess}
"""By the end of the function's name. pynvml asks the newest alone, and raises where it is missing."""


def compute_pids(nv: Any, handle: Any) -> list[int]:
    """List the ids of the processes that compute on a GPU. Raises SensorError where the driver does not tell."""
    return asked(lambda: _compute_pids(nv, handle))


def _compute_pids(nv: Any, handle: Any) -> list[int]:
    for version, kind in WAYS.items():
        ask = function(nv, f"nvmlDeviceGetComputeRunningProcesses{version}")
        count = ctypes.c_uint(0)
        code = ask(handle, ctypes.byref(count), None)
        for _ in range(TRIES):
            if code != TOO_SMALL:
                break
            room = 2 * count.value + 5
            count, processes = ctypes.c_uint(room), (kind * room)()
            code = ask(handle, ctypes.byref(count), processes)
            if not code:
                return [int(each.pid) for each in processes[: min(count.value, room)]]
        if not code:
            return []
        if code != FUNCTION_NOT_FOUND:
            raise nv.NVMLError(code)
    raise SensorError("unsupported", "NVML: this driver lists no processes")
