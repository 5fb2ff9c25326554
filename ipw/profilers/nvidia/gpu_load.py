"""How much of the NVIDIA GPUs' time this run's processes used, and others: two gauges a GPU, as of the CPUs.

NVML tells of each process for what part of the time since the last question its kernels ran. That several ran at once
it does not tell, so parts may add up to more than the whole.
"""

from __future__ import annotations

import ctypes
import os
import re
import struct
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from operator import itemgetter
from time import process_time
from typing import Any

from ipw.clock import now_ns
from ipw.profilers.base import Channel, Reading, Sensor, SensorError
from ipw.profilers.host_load import PROC, SHARED_NS, tree
from ipw.profilers.nvidia.calls import asked, function, shut_down, told
from ipw.profilers.sources import Source, Sources

POLL_S, LONGEST_POLL_S, APART_S, AT_ONCE_S = 5.0, 60.0, 0.25, 1e-3
COST = 2e-4
"""A look takes 1.8 to 2.3 ms of a CPU on an H200. So much of a core all looks together may cost, or they are taken more
seldom; several GPUs are looked at so far apart, unless all looks take no longer than `AT_ONCE_S`."""
MEASURED = re.compile(r"nvml/gpu(\d+)(/power)?")
ROOM, MOST = 100, 4096
"""Processes of which a driver tells at once, and so many at most."""
TOO_SMALL, NOT_FOUND = 7, 6
"""NVML's codes: more processes than there is room for; nobody used the GPU since."""
PERCENT = 100
UNKNOWN = "NVML names a process that has ended or, as in a container, is not seen from here: whose it is cannot be told"


SAMPLE = struct.Struct("=I4xQIIII")
"""`nvmlProcessUtilizationSample_t` of nvml.h: process, microseconds since 1970, per cent of the time, and others."""
Sample = tuple[int, int, int]
"""Its first three."""


def open_gpu_load(sensors: Sequence[Sensor], roots: Iterable[int]) -> Sources | None:
    """Open the gauges of those GPUs that these sensors measure; `None` where there is none, or NVML tells of none.

    `roots` and what they started is this run.
    """
    numbers = sorted({int(found[1]) for channel in _measured(sensors) if (found := MEASURED.fullmatch(channel.name))})
    if not numbers:
        return None
    try:
        import pynvml

        asked(lambda: pynvml.nvmlInit())  # noqa: PLW0108 - the name is looked up where that may fail
    except (ImportError, SensorError):
        return None
    own = _Own(os.environ.get("IPW_PROC", PROC), tuple(dict.fromkeys(roots)))
    sources = [
        each for place, number in enumerate(numbers) for each in _sources(pynvml, number, own, place, len(numbers))
    ]
    if sources:
        return Sources(sources, pynvml.nvmlShutdown)
    shut_down(pynvml)
    return None


def _measured(sensors: Sequence[Sensor]) -> Iterator[Channel]:
    for sensor in sensors:
        yield from (each for each in sensor.channels if each.status == "ok" and each.kind != "gauge")


def _sources(nv: Any, number: int, own: _Own, place: int, count: int) -> Iterator[Source]:
    """Make the gauges of a GPU, one of `count`, if it tells; the first look sets since when the next one tells.

    Where looks take long, each GPU is looked at by itself, in its own rhythm; else all in one: waking costs more.
    """
    before_s, look = process_time(), Look(nv, number, own)
    if isinstance(look.take(), SensorError):
        return
    all_s = count * (process_time() - before_s)
    poll_s = min(max(POLL_S, all_s / COST), LONGEST_POLL_S) + (APART_S * place if all_s > AT_ONCE_S else 0.0)
    for whose, note in enumerate(("other processes", "this run")):
        channel = Channel(
            name=f"load/gpu{number}/{'own' if whose else 'others'}",
            kind="gauge",
            scope="gpu",
            method="counter",
            unit="%",
            poll_s=poll_s,
            note=f"share of the time since the reading before in which kernels of {note} ran",
        )
        yield channel, partial(look.read, whose)


class _Own:
    """Which processes are this run's."""

    def __init__(self, proc: str, roots: tuple[int, ...]) -> None:
        self._proc, self._roots = proc, roots
        self._ever: set[int] = set()
        """One that ended may be told of for a while."""

    def all(self) -> set[int]:
        """List all that ever were."""
        self._ever.update(tree(self._proc, self._roots))
        return self._ever

    def sees(self, pid: int) -> bool:
        """Whether a process is seen from here."""
        return os.path.exists(f"{self._proc}/{pid}")  # noqa: PTH110 - a path costs more than the call


class Look:
    """Looks at one GPU: both gauges tell of one look."""

    def __init__(self, nv: Any, number: int, own: _Own) -> None:
        self._nv, self._number, self._own = nv, number, own
        self._ask = function(nv, "nvmlDeviceGetProcessUtilization")
        self._since_us = 0
        self._room = ROOM
        self._buffer = ctypes.create_string_buffer(ROOM * SAMPLE.size)
        self._last: tuple[int, int, tuple[float, float] | SensorError] | None = None

    def read(self, whose: int) -> Reading:
        """Give what others (0) or we (1) used since the look before, in per cent of the time."""
        if self._last is None or now_ns() - self._last[0] > SHARED_NS:
            before = now_ns()
            found = self.take()
            half = (now_ns() - before) // 2
            self._last = before + half, half, found
        t_ns, half, found = self._last
        if isinstance(found, SensorError):
            raise found
        return Reading(t_ns, found[whose], half)

    def take(self) -> tuple[float, float] | SensorError:
        """Ask what others used, and what we did; or say why that cannot be told."""
        try:
            handle = self._nv.nvmlDeviceGetHandleByIndex(self._number)
            code, samples = self._asked(handle)
            if code not in {0, NOT_FOUND}:
                return told(self._nv.NVMLError(code))
        except Exception as error:  # noqa: BLE001 - one GPU costs itself
            return told(error)
        new = [each for each in samples if each[1] > self._since_us]
        self._since_us = max((time_us for _, time_us, _ in new), default=self._since_us)
        # drivers fill up their answers with processes of number 0 and parts beyond the whole
        newest = sorted((each for each in new if each[0] and each[2] <= PERCENT), key=itemgetter(1))
        return self._told_apart({pid: sm for pid, _, sm in newest if sm})

    def _asked(self, handle: Any) -> tuple[int, list[Sample]]:
        """Ask for the processes that used a GPU since a moment: NVML's code, and what it wrote."""
        while True:
            count = ctypes.c_uint(self._room)
            code = self._ask(handle, self._buffer, ctypes.byref(count), ctypes.c_ulonglong(self._since_us))
            if code != TOO_SMALL or self._room >= MOST:
                told = 0 if code else count.value
                return code, [each[:3] for each in SAMPLE.iter_unpack(self._buffer.raw[: told * SAMPLE.size])]
            self._room = min(max(2 * self._room, count.value), MOST)
            self._buffer = ctypes.create_string_buffer(self._room * SAMPLE.size)

    def _told_apart(self, used: dict[int, int]) -> tuple[float, float] | SensorError:
        """Add up by whose it is; a process that nobody sees may be anybody's."""
        ours = self._own.all() if used else set()
        own = sum(sm for pid, sm in used.items() if pid in ours)
        others = sum(sm for pid, sm in used.items() if pid not in ours and self._own.sees(pid))
        if own + others < sum(used.values()):
            return SensorError("unsupported", UNKNOWN)
        return min(float(others), PERCENT), min(float(own), PERCENT)
