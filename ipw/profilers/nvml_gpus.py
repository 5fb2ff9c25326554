"""The NVIDIA GPUs of this machine: which there are, which the workload sees, and who else works on them."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

from ipw.profilers.visible_gpus import Gpu, Selection, select


class ForeignProcess(NamedTuple):
    """A process that computes on a visible GPU and is not ours."""

    uuid: str
    pid: int


def list_gpus(nv: Any) -> tuple[list[Gpu], Selection]:
    """List the physical GPUs in NVML's order, and which of them are visible."""
    gpus = []
    for index in range(nv.nvmlDeviceGetCount()):
        handle = nv.nvmlDeviceGetHandleByIndex(index)
        bus_id, name = nv.nvmlDeviceGetPciInfo(handle).busId, nv.nvmlDeviceGetName(handle)
        gpus.append(Gpu(index, nv.nvmlDeviceGetUUID(handle), bus_id, name, tuple(_migs(nv, handle))))
    return gpus, select(os.environ.get("CUDA_VISIBLE_DEVICES"), gpus, os.environ.get("CUDA_DEVICE_ORDER"))


def _migs(nv: Any, handle: Any) -> Iterator[str]:
    """List the UUIDs of a GPU's MIG instances."""
    try:
        places = nv.nvmlDeviceGetMaxMigDeviceCount(handle)
    except nv.NVMLError:
        return
    for place in range(places):
        try:
            yield nv.nvmlDeviceGetUUID(nv.nvmlDeviceGetMigDeviceHandleByIndex(handle, place))
        except nv.NVMLError:
            continue  # not every place is taken


def foreign_processes(own_pids: Collection[int]) -> list[ForeignProcess]:
    """List who else computes on the visible GPUs: a slow call, for the start and the end of a run.

    Empty where NVML is missing or does not tell. In a container NVML may count in the host's process ids.
    """
    try:
        import pynvml
    except ImportError:
        return []
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    found = []
    try:
        gpus, selection = list_gpus(pynvml)
        for gpu in selection.indices:
            processes = pynvml.nvmlDeviceGetComputeRunningProcesses(pynvml.nvmlDeviceGetHandleByIndex(gpu))
            found += [ForeignProcess(gpus[gpu].uuid, each.pid) for each in processes if each.pid not in own_pids]
    except pynvml.NVMLError:
        return found
    finally:
        pynvml.nvmlShutdown()
    return found
