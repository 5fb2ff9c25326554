"""What it costs to serve sensors: CPU time and memory with none, one and twenty readers, and after fuzzed requests.

    python tools/bench/remote_cost.py [--gpus 8] [--seconds 20] [--readers 20] [--requests 10000]

The GPUs are simulated, their counters tick every 100 ms. "Beyond the sampler" is the CPU time with a reader less that
without any, of one core. A reader is the one that a run has.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import psutil
from doubles.machines import NOTHING
from doubles.nvml import FakeNvml

from ipw.profilers.discovery import close, find

METHODS = [b"GET", b"POST", b"HEAD", b"get", b"\x16\x03\x01", b"PRI", b""]
PATHS = [b"/v1/readings?from=1", b"/v1/channels", b"/v1/clock", b"/", b"//[", b"/" + b"a" * 9000, b"*", b"\xff"]
HEADERS = [b"Host: x", b"Content-Length: 9", b"Transfer-Encoding: chunked", b"no colon", b"x: " + b"y" * 9000, b": z"]


def watched(process: psutil.Process, seconds: float) -> tuple[float, float]:
    """CPU share of one core over so many seconds, and resident MiB at their end."""
    before, start = process.cpu_times(), time.monotonic()
    time.sleep(seconds)
    after, spent = process.cpu_times(), time.monotonic() - start
    used = after.user + after.system - before.user - before.system
    return used / spent, process.memory_info().rss / 2**20


def readers(url: str, count: int) -> list[subprocess.Popen[bytes]]:
    """Start readers, each a process."""
    code = (
        "import sys, time; from ipw.profilers.discovery import find; s = find(sys.argv[1])[0]\n"
        "while True:\n    time.sleep(0.05)\n    [s.told(i) for i in range(len(s.channels))]"
    )
    return [subprocess.Popen([sys.executable, "-c", code, url], cwd=ROOT) for _ in range(count)]


def fuzz(url: str, count: int) -> int:
    """Send damaged requests. Returns how many got an answer."""
    draw, where, answered = random.Random(1), urlsplit(url), 0
    for _ in range(count):
        line = b" ".join([draw.choice(METHODS), draw.choice(PATHS), draw.choice([b"HTTP/1.1", b"HTTP/1.0", b""])])
        lines = [line, *draw.choices(HEADERS, k=draw.randint(0, 5)), b"", b""]
        text = bytearray(draw.choice([b"\r\n", b"\n"]).join(lines) if draw.random() < 0.2 else b"\r\n".join(lines))
        for _ in range(draw.choice([0, 0, 1, 3])):
            place = draw.randrange(len(text) + 1)
            text[place : place + draw.randint(0, 3)] = draw.randbytes(draw.randint(0, 4))
        with suppress(OSError), socket.create_connection((where.hostname, where.port), 5) as connection:
            connection.sendall(text)
            connection.settimeout(0.002)
            answered += bool(connection.recv(16))
    return answered


def main() -> None:
    """Serve, read, fuzz, and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gpus", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--readers", type=int, default=20)
    parser.add_argument("--requests", type=int, default=10_000)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ipw-remote-") as name:
        gpus = FakeNvml.create(Path(name) / "nvml", asked.gpus)
        for gpu in range(asked.gpus):
            gpus.set_power(gpu, 300.0 + gpu)
        command = [sys.executable, "-m", "ipw.cli", "sensors", "serve", "--json", "--sensors", "nvml"]
        served = subprocess.Popen(
            [*command, "--listen", "127.0.0.1:0"],
            env=os.environ | NOTHING | gpus.environment(),
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert served.stdout is not None
        url = json.loads(served.stdout.readline())["url"]
        process = psutil.Process(served.pid)
        began: list[subprocess.Popen[bytes]] = []
        try:
            time.sleep(5)
            shares: dict[str, tuple[float, float]] = {"none": watched(process, asked.seconds)}
            kept = following(url)
            for count in (1, asked.readers):
                began += readers(url, count - len(began))
                time.sleep(5)
                shares[str(count)] = watched(process, asked.seconds)
            more = watched(process, asked.seconds)[1]
            rate = (following(url) - kept) / (3 * asked.seconds + 10)
            for each in began:
                each.kill()
                each.wait()
            answered = fuzz(url, asked.requests)
            time.sleep(6)
            close(find(url))
            after = watched(process, 2)[1]
        finally:
            for each in began:
                each.kill()
            served.send_signal(signal.SIGTERM)
            code = served.wait(20)
    told = {
        "gpus": asked.gpus,
        "cpu_share": {count: round(share, 4) for count, (share, _) in shares.items()},
        "beyond_the_sampler": round(shares["1"][0] - shares["none"][0], 4),
        "rss_mib": {count: round(rss, 1) for count, (_, rss) in shares.items()} | {"later": round(more, 1)},
        "records_a_second": round(rate),
        "fuzzed": asked.requests,
        "answered": answered,
        "rss_mib_after_that": round(after, 1),
        "exit_code": code,
    }
    print(json.dumps(told))


def following(url: str) -> int:
    """Number of the next reading."""
    where = urlsplit(url)
    connection = HTTPConnection(where.hostname or "", where.port, timeout=10)
    connection.request("GET", "/v1/channels", headers={"Connection": "close"})
    told = json.loads(connection.getresponse().read())
    connection.close()
    return int(told["next"])


if __name__ == "__main__":
    main()
