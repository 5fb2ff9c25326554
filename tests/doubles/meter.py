"""A stand-in for a power meter that answers over HTTP."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Meter:
    """What the meter tells; a test may change it while it runs."""

    def __init__(self, kind: str, watts: float) -> None:
        """`kind` is `shelly` or `tasmota`."""
        self.kind, self.watts = kind, watts
        self.body: bytes | None = None
        """Answered instead, where set."""
        self.url = ""
        self._start = time.monotonic()

    def answer(self) -> bytes:
        """The JSON of this moment."""
        wh = 1000 + self.watts * (time.monotonic() - self._start) / 3600
        shelly: dict[str, Any] = {"id": 0, "output": True, "apower": self.watts, "aenergy": {"total": round(wh, 3)}}
        tasmota = {"StatusSNS": {"ENERGY": {"Total": round(wh / 1e3, 3), "Power": self.watts, "Voltage": 230}}}
        return json.dumps(shelly if self.kind == "shelly" else tasmota).encode()


@contextmanager
def serving(kind: str, watts: float = 50.0) -> Iterator[Meter]:
    """Run a meter on a port of this machine."""
    meter = Meter(kind, watts)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = meter.answer() if meter.body is None else meter.body
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
