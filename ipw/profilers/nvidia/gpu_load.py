"""How much of the NVIDIA GPUs' time this run's processes used, and others: two gauges a GPU, as of the CPUs.

NVML tells of each process for what part of the time since the last question its kernels ran. That several ran at once
it does not tell, so parts may add up to more than the whole.
"""

from __future__ import annotations

import ctypes
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any, ClassVar

from ipw.clock import now_ns
from ipw.profilers.base import Channel, Reading, Sensor, SensorError
from ipw.profilers.host_load import PROC, SHARED_NS, tree
from ipw.profilers.nvidia.calls import asked, function, shut_down, told
from ipw.profilers.sources import Source, Sources

POLL_S = 5.0
MEASURED = re.compile(r"nvml/gpu(\d+)(/power)?")
ROOM, MOST = 100, 4096
"""Processes of which a driver tells at once, and so many at most."""
TOO_SMALL, NOT_FOUND = 7, 6
"""NVML's codes: more processes than there is room for; nobody used the GPU since."""
PERCENT = 100
UNKNOWN = "NVML names a process that has ended or, as in a container, is not seen from here: whose it is cannot be told"


class Sample(ctypes.Structure):
    """`nvmlProcessUtilizationSample_t` of nvml.h."""

    _fields_: ClassVar = [
        ("pid", ctypes.c_uint),
        ("time_us", ctypes.c_ulonglong),
        ("sm", ctypes.c_uint),
        ("memory", ctypes.c_uint),
        ("encoder", ctypes.c_uint),
        ("decoder", ctypes.c_uint),
    ]


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
    looks = Looks(pynvml, numbers, tuple(dict.fromkeys(roots)))
    sources = list(_sources(looks))
    if sources:
        return Sources(sources, pynvml.nvmlShutdown)
    shut_down(pynvml)
    return None


def _measured(sensors: Sequence[Sensor]) -> Iterator[Channel]:
    for sensor in sensors:
        yield from (each for each in sensor.channels if each.status == "ok" and each.kind != "gauge")


def _sources(looks: Looks) -> Iterator[Source]:
    """Make the gauges of each GPU that tells; the first look sets since when the next one tells."""
    looks.take()
    for number in looks.able():
        for place, (whose, note) in enumerate((("others", "other processes"), ("own", "this run"))):
            channel = Channel(
                name=f"load/gpu{number}/{whose}",
                kind="gauge",
                scope="gpu",
                method="counter",
                unit="%",
                poll_s=POLL_S,
                note=f"share of the time since the reading before in which kernels of {note} ran",
            )
            yield channel, partial(looks.read, number, place)


class Looks:
    """Looks at all GPUs at once, at most every so often."""

    def __init__(self, nv: Any, numbers: Sequence[int], roots: tuple[int, ...]) -> None:
        self._nv, self._numbers, self._roots = nv, numbers, roots
        self._proc = os.environ.get("IPW_PROC", PROC)
        self._ask = function(nv, "nvmlDeviceGetProcessUtilization")
        self._since_us = dict.fromkeys(numbers, 0)
        self._room = ROOM
        self._own: set[int] = set()
        """All that ever were ours: one that ended may be told of for a while."""
        self._found: dict[int, tuple[float, float] | SensorError] = {}
        self._at_ns: tuple[int, int] | None = None

    def able(self) -> list[int]:
        """GPUs that told something when they were asked last."""
        return [number for number, found in self._found.items() if not isinstance(found, SensorError)]

    def read(self, number: int, place: int) -> Reading:
        """Give what others (0) or we (1) used of a GPU since the look before, in per cent of the time."""
        if self._at_ns is None or now_ns() - self._at_ns[0] > SHARED_NS:
            self.take()
        assert self._at_ns is not None
        found = self._found[number]
        if isinstance(found, SensorError):
            raise found
        return Reading(self._at_ns[0], found[place], self._at_ns[1])

    def take(self) -> None:
        """Look."""
        before = now_ns()
        answers = {number: self._samples(number) for number in self._numbers}
        if any(answers.values()):
            self._own.update(tree(self._proc, self._roots))
        self._found = {
            number: samples if isinstance(samples, SensorError) else self._told_apart(samples)
            for number, samples in answers.items()
        }
        half = (now_ns() - before) // 2
        self._at_ns = before + half, half

    def _samples(self, number: int) -> dict[int, int] | SensorError:
        """Ask one GPU: per cent of the time by process id."""
        try:
            handle = self._nv.nvmlDeviceGetHandleByIndex(number)
            code, samples = self._asked(handle, self._since_us[number])
            if code == NOT_FOUND:
                return {}
            if code:
                return told(self._nv.NVMLError(code))
        except Exception as error:  # noqa: BLE001 - one GPU costs itself
            return told(error)
        new = [each for each in samples if each.time_us > self._since_us[number]]
        self._since_us[number] = max((each.time_us for each in new), default=self._since_us[number])
        # drivers fill up their answers with processes of number 0 and parts beyond the whole
        newest = sorted((each for each in new if each.pid and each.sm <= PERCENT), key=lambda each: each.time_us)
        return {int(each.pid): int(each.sm) for each in newest}

    def _asked(self, handle: Any, since_us: int) -> tuple[int, list[Sample]]:
        while True:
            samples, count = (Sample * self._room)(), ctypes.c_uint(self._room)
            code = self._ask(handle, samples, ctypes.byref(count), ctypes.c_ulonglong(since_us))
            if code != TOO_SMALL or self._room >= MOST:
                return code, list(samples[: min(count.value, self._room)])
            self._room = min(max(2 * self._room, count.value), MOST)

    def _told_apart(self, samples: dict[int, int]) -> tuple[float, float] | SensorError:
        """Add up what others used, and what we did; a process that nobody sees may be either."""
        used = {pid: sm for pid, sm in samples.items() if sm}
        own = sum(sm for pid, sm in used.items() if pid in self._own)
        others = sum(sm for pid, sm in used.items() if pid not in self._own and self._is_seen(pid))
        if own + others < sum(used.values()):
            return SensorError("unsupported", UNKNOWN)
        return min(float(others), PERCENT), min(float(own), PERCENT)

    def _is_seen(self, pid: int) -> bool:
        return os.path.exists(f"{self._proc}/{pid}")  # noqa: PTH110 - a path costs more than the call
