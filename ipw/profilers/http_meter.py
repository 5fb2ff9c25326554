"""A power meter in the plug that answers over HTTP: Shelly and Tasmota."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ipw.clock import now_ns
from ipw.foreign_json import parsed
from ipw.profilers.base import Channel, Reading, Sensor, SensorError
from ipw.profilers.meter_address import Address, meter_address
from ipw.profilers.meter_answers import MeterAnswer, parse
from ipw.profilers.sources import missing

if TYPE_CHECKING:
    from urllib.request import OpenerDirector

PERIOD_S, TIMEOUT_S = 1.0, 2.0
SILENT_AFTER_NS = 5_000_000_000
MOST_BYTES = 1 << 20
HINT = "IPW_METER_URL=http://ADDRESS/rpc/Switch.GetStatus?id=0 (Shelly) or http://ADDRESS/cm?cmnd=Status%208 (Tasmota)"
REFUSED = "the meter asks for a user and a password: http://USER:PASSWORD@ADDRESS/…, or as its own documentation says"


class HttpMeter:
    """Asks once a second on a thread of its own, since an answer may take as long as ten ticks of a GPU."""

    def __init__(self, address: Address, first: MeterAnswer) -> None:
        """Start asking; `first` says which of power and energy the meter tells."""
        power = Channel(
            name="meter/power",
            kind="power",
            scope="wall",
            method="external_meter",
            device=address.shown,
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
            included_in=None if first.power_w is None else power.name,
            resolution_j=first.resolution_j,
            note=f"counts in steps of {first.resolution_j:g} J: for runs that draw many of them",
        )
        told = ((power, first.power_w), (energy, first.energy_j))
        self.channels: Sequence[Channel] = [channel for channel, value in told if value is not None]
        self._address = address
        self._answer: tuple[Reading, MeterAnswer] | None = None
        self._told_ns, self._told_failed = [0, 0], [0, 0]
        self._heard_ns, self._silence, self._failed = now_ns(), "no answer", 0
        self._stop = threading.Event()
        threading.Thread(target=self._ask_on, name="ipw-meter", daemon=True).start()

    def read(self, index: int) -> Reading | None:
        """Give the newest answer, or that there was none, once for each channel."""
        answer, failed = self._answer, self._failed
        if self._stop.is_set() or now_ns() - self._heard_ns > SILENT_AFTER_NS:
            raise SensorError("lost", f"the meter is silent: {self._silence}")
        if failed != self._told_failed[index]:
            self._told_failed[index] = failed
            raise SensorError("lost", f"the meter did not answer: {self._silence}")
        if answer is None or answer[0].t_ns == self._told_ns[index]:
            return None
        asked, told = answer
        kind = self.channels[index].kind
        value = told.power_w if kind == "power" else told.energy_j
        if value is None:
            raise SensorError("lost", f"the meter no longer tells its {'energy' if kind == 'counter' else kind}")
        self._told_ns[index] = asked.t_ns
        return asked._replace(value=value)

    def close(self) -> None:
        """Ask no more."""
        self._stop.set()

    def _ask_on(self) -> None:
        while not self._stop.is_set():
            before = now_ns()
            try:
                answer = ask(self._address)
            except SensorError as error:
                self._silence = error.reason
                self._failed += 1
            else:
                half = (now_ns() - before) // 2
                self._answer, self._heard_ns = (Reading(before + half, 0.0, half), answer), before + half
            self._stop.wait(PERIOD_S)


def open_sensor() -> Sensor:
    """Open the meter whose URL is in the environment."""
    url = os.environ.get("IPW_METER_URL")
    if not url:
        return missing("meter", "wall", "absent", "IPW_METER_URL names no power meter", HINT)
    address = meter_address(url)
    if address is None:
        return missing("meter", "wall", "unsupported", "IPW_METER_URL is not an http:// or https:// URL", HINT)
    try:
        return HttpMeter(address, ask(address))
    except SensorError as error:
        return missing("meter", "wall", error.status, error.reason, HINT)


def ask(address: Address) -> MeterAnswer:
    """Ask a meter once, without any proxy: it is on the local network. Raises SensorError, without secrets."""
    from http.client import HTTPException
    from urllib.error import HTTPError, URLError
    from urllib.request import Request

    headers = {"Authorization": address.authorization} if address.authorization else {}
    request = Request(address.url, headers=headers)  # noqa: S310 - `meter_address` lets http and https pass
    try:
        with _opener().open(request, timeout=TIMEOUT_S) as response:
            body = response.read(MOST_BYTES)
    except HTTPError as error:
        error.close()
        reason = REFUSED if error.code in (401, 403) else f"HTTP status {error.code}"
        raise SensorError("permission" if reason is REFUSED else "lost", f"{address.shown}: {reason}") from None
    except (OSError, HTTPException) as error:
        cause = error.reason if isinstance(error, URLError) else error
        told = cause.strerror if isinstance(cause, OSError) else None
        raise SensorError("lost", f"{address.shown}: {told or type(cause).__name__}") from None
    try:
        return parse(parsed(body, "replace"))
    except ValueError:
        raise SensorError("unsupported", f"{address.shown}: the answer is not JSON") from None
    except SensorError as error:
        raise SensorError(error.status, f"{address.shown}: {error.reason}") from None


def _opener() -> OpenerDirector:
    """Make what opens a URL: it knows no proxy, and follows redirects on the same host only."""
    from urllib.parse import urlsplit
    from urllib.request import HTTPRedirectHandler, ProxyHandler, build_opener

    class SameHost(HTTPRedirectHandler):
        def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
            host = urlsplit(newurl).hostname
            if host == urlsplit(req.full_url).hostname:
                return super().redirect_request(req, fp, code, msg, headers, newurl)
            raise SensorError("unsupported", "the meter sends the question on to another host")

    return build_opener(ProxyHandler({}), SameHost)
