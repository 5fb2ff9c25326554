"""A power meter in the plug that answers over HTTP: Shelly (second generation on) and Tasmota."""

from __future__ import annotations

import json
import math
import os
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from ipw.clock import now_ns
from ipw.profilers.base import Channel, Reading, Sensor, SensorError
from ipw.profilers.sources import missing

PERIOD_S, TIMEOUT_S = 1.0, 2.0
SILENT_AFTER_NS = 5_000_000_000
JOULES_PER_WH = 3600.0
HINT = "IPW_METER_URL=http://ADDRESS/rpc/Switch.GetStatus?id=0 (Shelly) or http://ADDRESS/cm?cmnd=Status%208 (Tasmota)"


class Answer(NamedTuple):
    """What a meter tells."""

    power_w: float
    energy_j: float | None


class HttpMeter:
    """Asks once a second on a thread of its own, since an answer may take as long as ten ticks of a GPU."""

    def __init__(self, url: str, first: Answer) -> None:
        """Start asking; `first` says whether the meter at `url` counts energy too."""
        power = Channel(
            name="meter/power",
            kind="power",
            scope="wall",
            method="external_meter",
            device=url,
            unit="W",
            update_period_s=PERIOD_S,
            poll_s=PERIOD_S / 4,
            gain_rel=0.03,
            note="all that the plug feeds, at the wall",
        )
        energy = replace(
            power,
            name="meter/energy",
            kind="counter",
            unit="J",
            included_in=power.name,
            resolution_j=JOULES_PER_WH,
            note="counts whole watt-hours on some meters: for runs of 15 min or more",
        )
        self.channels: Sequence[Channel] = [power] if first.energy_j is None else [power, energy]
        self._url = url
        self._answer: tuple[Reading, Answer] | None = None
        self._told_ns = [0, 0]
        self._heard_ns, self._silence = now_ns(), "no answer"
        self._stop = threading.Event()
        threading.Thread(target=self._ask_on, name="ipw-meter", daemon=True).start()

    def read(self, index: int) -> Reading | None:
        """Give the newest answer, once for each channel."""
        answer = self._answer
        if self._stop.is_set() or now_ns() - self._heard_ns > SILENT_AFTER_NS:
            raise SensorError("lost", f"the meter is silent: {self._silence}")
        if answer is None or answer[0].t_ns == self._told_ns[index]:
            return None
        asked, told = answer
        value = told.power_w if index == 0 else told.energy_j
        if value is None:
            raise SensorError("lost", "the meter no longer tells its energy")
        self._told_ns[index] = asked.t_ns
        return asked._replace(value=value)

    def close(self) -> None:
        """Ask no more."""
        self._stop.set()

    def _ask_on(self) -> None:
        while not self._stop.is_set():
            before = now_ns()
            try:
                answer = ask(self._url)
            except SensorError as error:
                self._silence = error.reason
            else:
                half = (now_ns() - before) // 2
                self._answer, self._heard_ns = (Reading(before + half, 0.0, half), answer), before + half
            self._stop.wait(PERIOD_S)


def open_sensor() -> Sensor:
    """Open the meter whose URL is in the environment."""
    url = os.environ.get("IPW_METER_URL")
    if not url:
        return missing("meter", "wall", "absent", "IPW_METER_URL names no power meter", HINT)
    try:
        return HttpMeter(url, ask(url))
    except SensorError as error:
        return missing("meter", "wall", error.status, error.reason, HINT)


def ask(url: str) -> Answer:
    """Ask a meter once. Raises SensorError."""
    from http.client import HTTPException
    from urllib.request import urlopen

    if not url.startswith(("http://", "https://")):
        raise SensorError("unsupported", f"IPW_METER_URL is no web address: {url}")
    try:
        with urlopen(url, timeout=TIMEOUT_S) as response:  # noqa: S310 - the scheme is looked at above
            body = json.loads(response.read(1 << 20))
    except (OSError, HTTPException, ValueError) as error:
        raise SensorError("lost", f"{url}: {error}") from error
    return parse(body)


def parse(body: Any) -> Answer:
    """Read a Shelly's or a Tasmota's answer. Raises SensorError where it tells no power."""
    tasmota = _member(_member(body, "StatusSNS"), "ENERGY")
    if tasmota is not None:
        power, kwh = _number(_member(tasmota, "Power")), _number(_member(tasmota, "Total"))
        energy = None if kwh is None else kwh * 1e3 * JOULES_PER_WH
    else:
        power, wh = _number(_member(body, "apower")), _number(_member(_member(body, "aenergy"), "total"))
        energy = None if wh is None else wh * JOULES_PER_WH
    if power is None:
        raise SensorError("unsupported", "the answer tells no power in a form that we know")
    return Answer(power, energy)


def _member(body: Any, name: str) -> Any:
    return body.get(name) if isinstance(body, dict) else None


def _number(value: Any) -> float | None:
    good = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= 0
    return float(value) if good else None
