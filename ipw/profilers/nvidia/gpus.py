"""The NVIDIA GPUs of this machine: which there are, which the workload sees, and who else works on them."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator
from typing import Any, NamedTuple

from ipw.profilers.base import SensorError
from ipw.profilers.nvidia.calls import asked, shut_down, text
from ipw.profilers.nvidia.processes import compute_pids
from ipw.profilers.nvidia.visible import Gpu, Selection, select


class ForeignProcess(NamedTuple):
    """A process that computes on a visible GPU and is not ours."""

    uuid: str
    pid: int


def list_gpus(nv: Any) -> tuple[list[Gpu], Selection]:
    """List the physical GPUs in NVML's order, and which of them are visible. Raises SensorError where NVML has no list.

    A GPU that does not answer is listed with the reason, and a fact that one does not tell is noted: the others go on.
    """
    count = asked(lambda: nv.nvmlDeviceGetCount())  # noqa: PLW0108 - the name is looked up where that may fail
    gpus = [_gpu(nv, index) for index in range(count)]
    return gpus, select(os.environ.get("CUDA_VISIBLE_DEVICES"), gpus, os.environ.get("CUDA_DEVICE_ORDER"))


def _gpu(nv: Any, index: int) -> Gpu:
    try:
        handle = asked(lambda: nv.nvmlDeviceGetHandleByIndex(index))
    except SensorError as error:
        return Gpu(index, "", "", "", lost=error)
    facts: dict[str, Callable[[], str]] = {
        "UUID": lambda: nv.nvmlDeviceGetUUID(handle),
        "PCI place": lambda: nv.nvmlDeviceGetPciInfo(handle).busId,
        "name": lambda: nv.nvmlDeviceGetName(handle),
    }
    told: dict[str, str] = {}
    notes: list[str] = []
    for fact, call in facts.items():
        try:
            told[fact] = text(call)
        except SensorError as error:
            told[fact] = ""
            notes.append(f"its {fact} is not told ({error.reason})")
    uuid, bus_id, name = told.values()
    return Gpu(index, uuid, bus_id, name, tuple(_migs(nv, handle)), tuple(notes))


def _migs(nv: Any, handle: Any) -> Iterator[str]:
    """List the UUIDs of a GPU's MIG instances."""
    try:
        places = asked(lambda: nv.nvmlDeviceGetMaxMigDeviceCount(handle))
    except SensorError:
        return
    for place in range(places):
        try:
            yield text(lambda at=place: nv.nvmlDeviceGetUUID(nv.nvmlDeviceGetMigDeviceHandleByIndex(handle, at)))  # type: ignore[misc]
        except SensorError:
            continue  # not every place is taken


def foreign_processes(own_pids: Collection[int]) -> list[ForeignProcess]:
    """List who else computes on the visible GPUs: a slow call, for the start and the end of a run.

    Empty where NVML is missing or does not tell. In a container NVML may count in the host's process ids.
    """
    try:
        import pynvml

        asked(lambda: pynvml.nvmlInit())  # noqa: PLW0108 - the name is looked up where that may fail
    except (ImportError, SensorError):
        return []
    found = []
    try:
        gpus, selection = list_gpus(pynvml)
        for gpu in (gpus[index] for index in selection.indices):
            found += [ForeignProcess(gpu.uuid, pid) for pid in _pids(pynvml, gpu) if pid not in own_pids]
    except SensorError:
        return found
    finally:
        shut_down(pynvml)
    return found


def _pids(nv: Any, gpu: Gpu) -> list[int]:
    """List the processes on one GPU; one that does not tell hides no other's."""
    try:
        return compute_pids(nv, asked(lambda: nv.nvmlDeviceGetHandleByIndex(gpu.index)))
    except SensorError:
        return []
