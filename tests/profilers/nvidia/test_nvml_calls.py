"""What NVML's answers mean: codes, types of values, lists that grow while they are asked for."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pynvml
import pytest

from ipw.profilers.base import SensorError
from ipw.profilers.nvidia.calls import field, text, told
from ipw.profilers.nvidia.processes import compute_pids

MISMATCH = getattr(pynvml, "NVMLLibraryMismatchError", None) or type("NVMLLibraryMismatchError", (Exception,), {})
"""Older bindings do not have it."""
STATUSES = {3: "unsupported", 4: "permission", 13: "unsupported", 25: "unsupported", 27: "unsupported"}


def test_each_of_nvmls_codes_is_unsupported_forbidden_or_lost() -> None:
    for code in [*range(1, 31), 999]:
        found = told(pynvml.NVMLError(code))
        assert (found.status, found.reason) == (STATUSES.get(code, "lost"), f"NVML: {pynvml.NVMLError(code)}")


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (AttributeError("nvmlX"), "unsupported", "NVML: driver and nvidia-ml-py do not fit together"),
        (ctypes.ArgumentError("nvmlX"), "unsupported", "NVML: driver and nvidia-ml-py do not fit together"),
        (MISMATCH("v2"), "unsupported", "NVML: driver and nvidia-ml-py do not fit together"),
        (RuntimeError("odd"), "lost", "NVML: RuntimeError: odd"),
        (SensorError("permission", "as it is"), "permission", "as it is"),
    ],
    ids=lambda each: type(each).__name__,
)
def test_what_a_binding_raises_beside_its_own_errors_is_told(error: Exception, status: str, reason: str) -> None:
    assert told(error).status == status
    assert told(error).reason.startswith(reason)


def test_a_text_is_shown_as_far_as_it_can_be() -> None:
    def raises(error: Exception) -> Callable[[], str]:
        def call() -> str:
            raise error

        return call

    assert text(lambda: " H100\n") == "H100"
    assert text(raises(UnicodeDecodeError("utf-8", b"H\xff0", 1, 2, "odd"))) == "H\N{REPLACEMENT CHARACTER}0"
    with pytest.raises(SensorError, match="Not Supported"):
        text(raises(pynvml.NVMLError(3)))


class Binding:
    """NVIDIA's own structures over functions of the test's; a function that it does not have is not found."""

    NVMLError = pynvml.NVMLError
    c_nvmlFieldValue_t = pynvml.c_nvmlFieldValue_t  # noqa: N815 - as the library has it

    def __init__(self, **functions: Callable[..., int]) -> None:
        self._functions = functions

    def _nvmlGetFunctionPointer(self, name: str) -> Callable[..., int]:  # noqa: N802 - as the library has it
        if name not in self._functions:
            raise pynvml.NVMLError(13)
        return self._functions[name]


TYPES: dict[str, Any] = {
    "dVal": ctypes.c_double, "uiVal": ctypes.c_uint, "ulVal": ctypes.c_ulong, "ullVal": ctypes.c_ulonglong,
    "sllVal": ctypes.c_longlong, "siVal": ctypes.c_int, "usVal": ctypes.c_ushort,
}  # fmt: skip
"""As nvml.h declares the members of nvmlValue_t."""


@pytest.mark.parametrize(
    ("kind", "member", "value"),
    [
        (0, "dVal", 1.5), (1, "uiVal", 2**32 - 5), (2, "ulVal", 2**40), (3, "ullVal", 2**50), (4, "sllVal", -(2**40)),
        (5, "siVal", -7), (6, "usVal", 2**16 - 3),
    ],
)  # fmt: skip
def test_a_field_is_read_as_the_type_that_it_says(kind: int, member: str, value: float) -> None:
    def fill(handle: str, count: int, values: Any) -> int:
        assert (handle, count, values[0].fieldId, values[0].scopeId) == ("handle", 1, 186, 2)
        values[0].valueType = kind
        ctypes.memset(ctypes.addressof(values[0].value), 0, ctypes.sizeof(values[0].value))
        TYPES[member].from_buffer(values[0].value).value = value  # old bindings have not all members
        return 0

    assert field(Binding(nvmlDeviceGetFieldValues=fill), "handle", 186, 2)() == value


@pytest.mark.parametrize(
    ("code", "own_code", "kind", "reason"),
    [
        (0, 0, 7, "the unknown type 7"),
        (15, 0, 0, "GPU is lost"),
        (0, 3, 0, "Not Supported"),
        (3, 15, 0, "Not Supported"),
    ],
)
def test_a_field_that_fails_by_its_own_code_or_by_the_calls_is_told(
    code: int, own_code: int, kind: int, reason: str
) -> None:
    def fill(_handle: str, _count: int, values: Any) -> int:
        assert values[0].scopeId == 0  # the GPU's own
        values[0].nvmlReturn, values[0].valueType = own_code, kind
        return code

    with pytest.raises((SensorError, pynvml.NVMLError), match=reason):
        field(Binding(nvmlDeviceGetFieldValues=fill), "handle", 186)()


def test_a_driver_or_a_binding_without_fields_has_no_field() -> None:
    for nv in (Binding(), SimpleNamespace()):
        with pytest.raises((SensorError, pynvml.NVMLError), match=r"Function Not Found|do not fit together"):
            field(nv, "handle", 186)()


def lister(counts: Iterator[int], asked: list[int], code: int = 0) -> Callable[..., int]:
    """A driver on which so many processes run, at each call another number."""

    def ask(_handle: str, count: Any, processes: Any) -> int:
        room, running = count._obj.value, next(counts)
        assert (processes is None) == (room == 0)  # as nvml.h wants it
        asked.append(room)
        count._obj.value = running
        if running > room:
            return 7
        for place in range(running):
            processes[place].pid = 1000 + place
        return code

    return ask


@pytest.mark.parametrize(
    ("counts", "rooms", "pids"),
    [
        ([0], [0], 0), ([2, 2], [0, 9], 2), ([2, 9], [0, 9], 9), ([2, 10, 10], [0, 9, 25], 10),
        ([2, 10, 30, 30], [0, 9, 25, 65], 30), ([2, 10, 30, 70, 70], [0, 9, 25, 65], None), ([5, 0], [0, 15], 0),
    ],
)  # fmt: skip
@pytest.mark.parametrize("version", ["_v3", "_v2", ""])
def test_processes_that_start_while_they_are_listed_are_given_room_three_times(
    version: str, counts: list[int], rooms: list[int], pids: int | None
) -> None:
    asked: list[int] = []
    nv = Binding(**{f"nvmlDeviceGetComputeRunningProcesses{version}": lister(iter(counts), asked)})
    if pids is None:
        with pytest.raises(SensorError, match="Insufficient Size"):
            compute_pids(nv, "handle")
    else:
        assert compute_pids(nv, "handle") == [1000 + place for place in range(pids)]
    assert asked == rooms


def test_a_driver_that_lists_no_processes_or_fails_says_which() -> None:
    with pytest.raises(SensorError, match="this driver lists no processes"):
        compute_pids(Binding(), "handle")
    nv = Binding(
        nvmlDeviceGetComputeRunningProcesses_v3=lambda *_: 4, nvmlDeviceGetComputeRunningProcesses=lambda *_: 0
    )
    with pytest.raises(SensorError, match="Insufficient Permissions"):
        compute_pids(nv, "handle")
