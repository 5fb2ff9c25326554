"""A Mac's battery while it discharges, from the registry that the program `ioreg` prints."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Sequence
from typing import Any

from ipw.clock import now_ns
from ipw.profilers.apple.plist_stream import SampleError, parsed
from ipw.profilers.base import Channel, Reading, SensorError

COMMAND = ["ioreg", "-a", "-r", "-n", "AppleSmartBattery"]
PERIOD_S, TIMEOUT_S = 5.0, 5.0
"""The battery's own gauge is renewed more seldom still, and each look starts a program."""
SILENT_AFTER_NS = 30_000_000_000


class MacBattery:
    """Asks now and then on a thread of its own, since a program takes longer than a read may."""

    def __init__(self, channel: Channel) -> None:
        self.channels: Sequence[Channel] = [channel]
        self._newest: Reading | None = None
        self._told_ns = 0
        self._asked_ns, self._failure = now_ns(), SensorError("lost", "ioreg is silent")
        self._stop = threading.Event()
        threading.Thread(target=self._ask_on, name="ipw-battery", daemon=True).start()

    def read(self, index: int) -> Reading | None:  # noqa: ARG002 - there is one channel
        """Give the newest answer, once."""
        newest = self._newest
        if self._stop.is_set() or newest is None or now_ns() - newest.t_ns > SILENT_AFTER_NS:
            if newest is None and not self._stop.is_set() and now_ns() - self._asked_ns < SILENT_AFTER_NS:
                return None
            raise self._failure
        if newest.t_ns == self._told_ns:
            return None
        self._told_ns = newest.t_ns
        return newest

    def close(self) -> None:
        """Ask no more."""
        self._stop.set()

    def _ask_on(self) -> None:
        while not self._stop.is_set():
            before = now_ns()
            try:
                power_w = discharge_w()
            except SensorError as error:
                self._failure, self._newest = error, None
                self._asked_ns = before - SILENT_AFTER_NS
            else:
                half = (now_ns() - before) // 2
                self._newest = Reading(before + half, power_w, half)
            self._stop.wait(PERIOD_S)


def discharge_w() -> float:
    """Ask once what the battery gives. Raises SensorError where it charges, is not there or cannot be asked."""
    try:
        answer = subprocess.run(
            COMMAND, stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT_S, check=True
        ).stdout
        batteries = parsed(answer) if answer.strip() else []
    except (OSError, subprocess.SubprocessError, SampleError) as error:
        raise SensorError("lost", f"ioreg: {error}") from error
    if not isinstance(batteries, list) or not batteries or not isinstance(batteries[0], dict):
        raise SensorError("absent", "this Mac has no battery")
    return power_of(batteries[0])


def power_of(battery: dict[str, Any]) -> float:
    """Watts from the properties of an AppleSmartBattery: millivolts times milliamperes, negative as it discharges."""
    if battery.get("ExternalConnected"):
        raise SensorError("unsupported", "the battery is not discharging (a charger is connected)")
    millivolts = battery.get("Voltage")
    milliamperes = battery.get("InstantAmperage") or battery.get("Amperage")
    if not isinstance(millivolts, int) or not isinstance(milliamperes, int):
        raise SensorError("unsupported", "ioreg tells no voltage and current of the battery")
    signed = milliamperes - 2**64 if milliamperes >= 2**63 else milliamperes  # printed as if it had no sign
    return max(-signed, 0) * millivolts / 1e6
