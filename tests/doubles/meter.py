"""A stand-in for a power meter that answers over HTTP, as several generations of them do."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SHAPES: dict[str, Callable[[float, float], dict[str, Any]]] = {
    # Shelly Plus Plug S, GET /rpc/Switch.GetStatus?id=0: Wh with three decimals
    "shelly": lambda w, wh: {"id": 0, "output": True, "apower": w, "aenergy": {"total": round(wh, 3)}},
    # Shelly Plug S of the first generation, GET /meter/0 and /status: whole watt-minutes
    "shelly gen1": lambda w, wh: {"power": w, "is_valid": True, "counters": [w, w, w], "total": int(wh * 60)},
    "shelly gen1 status": lambda w, wh: {
        "relays": [{"ison": True}],
        "meters": [{"power": w, "is_valid": True, "counters": [w, w, w], "total": int(wh * 60)}],
    },
    # Shelly 3EM, GET /status: three phases, Wh with one decimal
    "shelly 3em": lambda w, wh: {
        "emeters": [
            {"power": w / 4, "pf": 1.0, "is_valid": True, "total": round(wh / 4, 1), "total_returned": 0.0},
            {"power": w / 2, "pf": 1.0, "is_valid": True, "total": round(wh / 2, 1), "total_returned": 0.0},
            {"power": w / 4, "pf": 1.0, "is_valid": True, "total": round(wh / 4, 1), "total_returned": 0.0},
        ],
        "total_power": w,
    },
    # Shelly PM Mini Gen3, GET /rpc/PM1.GetStatus?id=0, and the whole device's Shelly.GetStatus
    "shelly pm1": lambda w, wh: {"id": 0, "voltage": 229.7, "apower": w, "aenergy": {"total": wh}},
    "shelly device": lambda w, wh: {
        "sys": {"uptime": 5},
        "wifi": {"rssi": -50},
        "input:0": {"id": 0, "state": False},
        "switch:0": {"id": 0, "output": True, "apower": w, "aenergy": {"total": wh}},
    },
    # Shelly Pro 3EM, the whole device: the energy is another component's
    "shelly pro 3em": lambda w, wh: {
        "em:0": {"a_act_power": w / 2, "b_act_power": w / 2, "total_act_power": w},
        "emdata:0": {"total_act": wh, "total_act_ret": 0.0},
    },
    # A question that was posted
    "shelly rpc": lambda w, wh: {"id": 1, "src": "plug", "result": {"apower": w, "aenergy": {"total": wh}}},
    # Tasmota, GET /cm?cmnd=Status%208: kWh with three decimals, of one socket or two
    "tasmota": lambda w, wh: {"StatusSNS": {"ENERGY": {"Total": round(wh / 1e3, 3), "Power": w, "Voltage": 230}}},
    "tasmota dual": lambda w, wh: {
        "StatusSNS": {"Time": "2026-01-11T21:57:38", "ENERGY": {"Total": round(wh / 1e3, 3), "Power": [w, 0]}}
    },
}
"""What each meter answers at so many watts, having counted so many watt-hours."""


class Meter:
    """What the meter tells; a test may change it while it runs."""

    def __init__(self, kind: str, watts: float) -> None:
        """`kind` is one of `SHAPES`."""
        self.kind, self.watts = kind, watts
        self.body: bytes | None = None
        """Answered instead, where set."""
        self.login: str | None = None
        """`user:password`, without which nobody gets an answer, where set."""
        self.moved_to: str | None = None
        """Where the first path now is, where set."""
        self.asked: list[str] = []
        """Paths, as they were asked for."""
        self.url = ""
        self._start = time.monotonic()

    def answer(self) -> bytes:
        """The JSON of this moment."""
        wh = 1000 + self.watts * (time.monotonic() - self._start) / 3600
        return json.dumps(SHAPES[self.kind](self.watts, wh)).encode()


@contextmanager
def serving(kind: str, watts: float = 50.0) -> Iterator[Meter]:
    """Run a meter on a port of this machine."""
    meter = Meter(kind, watts)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            meter.asked.append(self.path)
            body = meter.answer() if meter.body is None else meter.body
            wanted = "Basic " + base64.b64encode((meter.login or "").encode()).decode()
            if meter.login and self.headers.get("Authorization") != wanted:
                body = b"401 Unauthorized"
                self.send_response(401)
            elif meter.moved_to and not self.path.startswith("/moved"):
                body = b""
                self.send_response(302)
                self.send_header("Location", meter.moved_to)
            else:
                self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    meter.url = f"http://127.0.0.1:{server.server_port}/rpc/Switch.GetStatus?id=0"
    try:
        yield meter
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
