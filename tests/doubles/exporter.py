"""Stand-ins for dcgm-exporter and Prometheus: HTTP servers whose text a function writes at each request."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

Answer = tuple[int, str]


@contextmanager
def answering(answer: Callable[[str, Mapping[str, str]], Answer]) -> Iterator[str]:
    """Serve: `answer(path with query, headers)` gives status and body. Gives the address without a path."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # or the body waits 40 ms for the head to be acknowledged

        def do_GET(self) -> None:
            status, text = answer(self.path, dict(self.headers))
            body = text.encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join(120)


class Dcgm:
    """GPUs as dcgm-exporter tells of them, collected every so often: power is `watts[n]` since the double was made."""

    def __init__(self, watts: Sequence[float], collect_s: float = 0.05, *, start_j: float = 5000.0) -> None:
        self.watts, self.collect_s, self.start_j = list(watts), collect_s, start_j
        self.began_s = time.monotonic()
        self.labels: list[dict[str, str]] = [{} for _ in watts]
        self.slices: list[list[tuple[str, str, dict[str, str]]]] = [[] for _ in watts]
        """Of each GPU: id, profile and further labels of its MIG instances."""
        self.missing: set[int] = set()
        self.reset_s: dict[int, float] = {}
        """When a GPU's counter began anew, since the double was made."""
        self.counters = self.powers = True

    def energy_j(self, gpu: int, at_s: float) -> float:
        """What a GPU has counted so long after the double was made."""
        reset_s = self.reset_s.get(gpu)
        if reset_s is not None and at_s >= reset_s:
            return self.watts[gpu] * (at_s - reset_s)
        return self.start_j + self.watts[gpu] * at_s

    def text(self) -> str:
        """What it tells now."""
        at_s = (time.monotonic() - self.began_s) // self.collect_s * self.collect_s
        blocks: dict[str, tuple[str, str, Callable[[int], float]]] = {}
        if self.powers:
            blocks["DCGM_FI_DEV_POWER_USAGE"] = ("Power draw (in W).", "gauge", lambda gpu: self.watts[gpu])
        if self.counters:
            about = "Total energy consumption since boot (in mJ)."
            metric = "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION"
            blocks[metric] = (about, "counter", lambda gpu: int(1e3 * self.energy_j(gpu, at_s)))
        blocks["DCGM_FI_DEV_GPU_TEMP"] = ("GPU temperature (in C).", "gauge", lambda _: 45)
        lines = []
        for name, (about, kind, value) in blocks.items():
            lines += [f"# HELP {name} {about}", f"# TYPE {name} {kind}"]
            for gpu in range(len(self.watts)):
                if gpu not in self.missing:
                    lines += [f"{name}{{{labels}}} {value(gpu)}" for labels in self._labels(gpu)]
        return "\n".join(lines) + "\n"

    def uuid(self, gpu: int) -> str:
        """UUID of a GPU."""
        return f"GPU-{gpu:08x}-aaaa-bbbb-cccc-0123456789ab"

    def _labels(self, gpu: int) -> Iterator[str]:
        common = {
            "gpu": str(gpu), "UUID": self.uuid(gpu), "pci_bus_id": f"00000000:{0x17 + gpu:02X}:00.0",
            "device": f"nvidia{gpu}", "modelName": "NVIDIA A100-SXM4-80GB", "Hostname": "node-7",
            "DCGM_FI_DRIVER_VERSION": "550.90.07",
        }  # fmt: skip
        owns = [{"GPU_I_PROFILE": each[1], "GPU_I_ID": each[0], **each[2]} for each in self.slices[gpu]]
        for own in owns or [{}]:
            yield ",".join(f'{name}="{text}"' for name, text in (common | own | self.labels[gpu]).items())

    @contextmanager
    def up(self) -> Iterator[str]:
        """Serve; gives the name of the sensor."""
        with answering(lambda _path, _headers: (200, self.text())) as url:
            yield f"dcgm:{url}/metrics"


def prometheus(
    series: Callable[[str], Sequence[tuple[Mapping[str, str], float]]],
) -> Callable[[str, Mapping[str, str]], Answer]:
    """Answer instant queries: `series(query)` gives labels and values, or raises ValueError for what is no query."""

    def answer(target: str, _headers: Mapping[str, str]) -> Answer:
        parts = urlsplit(target)
        if parts.path != "/api/v1/query":
            return 404, "404 page not found"
        try:
            found = series(parse_qs(parts.query)["query"][0])
        except ValueError as error:
            return 400, json.dumps({"status": "error", "errorType": "bad_data", "error": str(error)})
        result = [{"metric": dict(labels), "value": [time.time(), str(value)]} for labels, value in found]
        return 200, json.dumps({"status": "success", "data": {"resultType": "vector", "result": result}})

    return answer
