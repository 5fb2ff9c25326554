"""Wait until the machine is as warm and as idle as before the first measurement."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from typing import Self

from ipw.profilers.base import Sensor, SensorError
from ipw.profilers.discovery import find
from ipw.system import busy_share

BAND_C = 3.0
"""Closer than the 5 °C between the arms that make a pair invalid."""
BUSY = 0.2
"""Of all CPUs. A machine that was busier before the first measurement is let be so."""
LOOK_S = 0.2


class Settle(AbstractContextManager["Settle"]):
    """Brings temperature and load into the same band before each measurement, within a time that is bounded."""

    def __init__(self, sensors: str, limit_s: float) -> None:
        """`sensors` as for a run: their temperatures are watched. Without time to wait nothing is watched."""
        self._selection, self._limit_s = sensors, limit_s
        self._stack = ExitStack()
        self._probes: list[tuple[str, Callable[[], float | None]]] = []
        self._reference: list[float | None] | None = None
        self._busy = BUSY
        self.missed: list[str] = []
        """What was not reached in time, for people."""

    def __enter__(self) -> Self:
        if self._limit_s > 0:
            for sensor in find(self._selection):
                self._stack.callback(sensor.close)
                self._probes += _temperatures(sensor)
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    @property
    def warms(self) -> bool:
        """Whether there is a temperature to watch, so that a first measurement to warm up is worth its time."""
        return bool(self._probes)

    def __call__(self) -> None:
        """Wait; what the first call finds is the band of all later ones."""
        if self._limit_s <= 0:
            return
        if self._reference is None:
            self._reference = [read() for _, read in self._probes]
            self._busy = max(BUSY, 1.5 * _busy_share())
            return
        until = time.monotonic() + self._limit_s
        while outside := self._outside(self._reference):
            if time.monotonic() >= until or all(what.endswith("colder") for what in outside):
                self.missed += outside  # waiting warms nothing
                return
            time.sleep(LOOK_S)

    def _outside(self, reference: Sequence[float | None]) -> list[str]:
        found = []
        for (name, read), wanted in zip(self._probes, reference, strict=True):
            now = read()
            if now is not None and wanted is not None and abs(now - wanted) > BAND_C:
                found.append(f"{name}: {abs(now - wanted):.0f} °C {'warmer' if now > wanted else 'colder'}")
        busy = _busy_share()
        return found + ([f"CPUs {100 * busy:.0f} % busy"] if busy > self._busy else [])


def _temperatures(sensor: Sensor) -> list[tuple[str, Callable[[], float | None]]]:
    def reader(index: int) -> Callable[[], float | None]:
        def read() -> float | None:
            try:
                reading = sensor.read(index)
            except SensorError:
                return None
            return None if reading is None else reading.value

        return read

    return [
        (channel.name, reader(index))
        for index, channel in enumerate(sensor.channels)
        if channel.unit == "C" and channel.status == "ok"
    ]


def _busy_share() -> float:
    """Give the share of the CPUs that is busy; where the system does not tell, there is nothing to wait for."""
    return busy_share(LOOK_S) or 0.0
