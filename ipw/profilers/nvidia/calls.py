"""Calls of NVIDIA's binding: each may fail in any way that the binding has, and then costs only what it was to tell."""

from __future__ import annotations

import struct
from collections.abc import Callable
from contextlib import suppress
from ctypes import ArgumentError
from functools import partial
from typing import Any, TypeVar

from ipw.profilers.base import SensorError
from ipw.runs.readings import Status
from ipw.sysfs import printable

T = TypeVar("T")

STATUS: dict[int, Status] = {3: "unsupported", 4: "permission", 13: "unsupported", 25: "unsupported", 27: "unsupported"}
"""By NVML's error code; any other means that the device does not answer."""
NOT_FOUND, FUNCTION_NOT_FOUND = 6, 13
OUTCOME = struct.Struct("@24xII")
"""Of `nvmlFieldValue_t` in nvml.h: the type of the value, which comes next, and whether there is one."""
VALUES = tuple(struct.Struct(f"@{OUTCOME.size}x{of}") for of in "dILQqiH")
"""The value, by `nvmlValueType_t`. The binding's own structures are read through Python, attribute by attribute."""


def told(error: Exception) -> SensorError:
    """Say what a call failed with: NVML's own error, or whatever else an old or a newer binding raises."""
    if isinstance(error, SensorError):
        return error
    code = getattr(error, "value", None)
    if isinstance(code, int):
        try:
            return SensorError(STATUS.get(code, "lost"), f"NVML: {error}")
        except Exception:  # noqa: BLE001 - the error's own text comes from the library
            return SensorError(STATUS.get(code, "lost"), f"NVML: error {code}")
    too_old = isinstance(error, AttributeError | ArgumentError) or type(error).__name__ == "NVMLLibraryMismatchError"
    kind = f"{type(error).__name__}: {error}"
    if too_old:
        return SensorError("unsupported", f"NVML: driver and nvidia-ml-py do not fit together ({kind})")
    return SensorError("lost", f"NVML: {kind}")


def asked(call: Callable[[], T]) -> T:
    """Make a call. Raises SensorError, whatever it is that goes wrong."""
    try:
        return call()
    except Exception as error:
        raise told(error) from error


def shut_down(nv: Any) -> None:
    """Let go of the library, as far as it can be."""
    with suppress(Exception):
        nv.nvmlShutdown()


def text(call: Callable[[], str]) -> str:
    """Ask for a text; bytes that are no UTF-8 cost themselves. Raises SensorError."""
    try:
        return printable(call())
    except UnicodeDecodeError as error:
        return printable(error.object)
    except Exception as error:
        raise told(error) from error


def function(nv: Any, name: str) -> Callable[..., int]:
    """Look up what pynvml would call; one that this driver lacks answers so."""
    try:
        found: Callable[..., int] = nv._nvmlGetFunctionPointer(name)  # noqa: SLF001 - no other way to keep it
    except nv.NVMLError as error:
        code: int = error.value
        return lambda *_: code
    return found


def field(nv: Any, handle: Any, number: int, scope: int = 0) -> Callable[[], float]:
    """Make the reader of a field value; the call succeeds even where the field fails: its own return code is read."""
    try:
        ask, values = function(nv, "nvmlDeviceGetFieldValues"), (nv.c_nvmlFieldValue_t * 1)()
        value = values[0]
        value.fieldId, value.scopeId = number, scope
    except Exception as error:  # noqa: BLE001 - a binding that is too old for it
        failed = told(error)

        def fail() -> float:
            raise failed

        return fail
    return partial(_value, nv, ask, handle, values)


def _value(nv: Any, ask: Callable[..., int], handle: Any, values: Any) -> float:
    code = ask(handle, 1, values)
    of, failed = OUTCOME.unpack_from(values)
    if code or failed:
        raise nv.NVMLError(code or failed)
    if of >= len(VALUES):
        raise SensorError("unsupported", f"NVML: a value of the unknown type {of}")
    number: float = VALUES[of].unpack_from(values)[0]
    return number
