from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from ipw.clock import now_ns
from ipw.profilers.base import Channel
from ipw.profilers.remote.ring import Ring
from ipw.profilers.remote.service import Served, Service


class Machine:
    """A machine that serves what the test says that it reads, in this process."""

    def __init__(self, kept: int = 4096) -> None:
        self.ring = Ring(kept)
        self.channels: list[dict[str, Any]] = [
            Channel(name="nvml/gpu0", kind="counter", scope="gpu", method="counter", ticks=True).as_dict()
            | {"index": 0},
            Channel(
                name="nvml/gpu0/power", kind="power", scope="gpu", method="integrated_power", included_in="nvml/gpu0"
            ).as_dict()
            | {"index": 1},
            Channel(
                name="rapl", kind="counter", scope="package", method="counter", status="permission",
                reason="energy_uj may not be read", hint="sudo chmod",
            ).as_dict(),
        ]  # fmt: skip
        self.failures: list[dict[str, Any]] = []
        self.boot: str | None = "another boot"
        self.joules = 0.0

    def facts(self) -> dict[str, Any]:
        """What its readers are told."""
        told = {"service": "ipw sensors", "version": 1, "host": "gpubox", "boot": self.boot}
        return told | {"channels": self.channels, "failures": self.failures}

    def read(self, count: int = 1, index: int = 0) -> list[float]:
        """Read a counter so many times."""
        told = []
        for _ in range(count):
            self.joules += 1.0
            self.ring.add(now_ns(), self.joules, index, 0, 1000)
            told.append(self.joules)
        self.ring.flush()
        return told

    @contextmanager
    def up(self, *, token: str | None = None, port: int = 0, instance: str = "one") -> Iterator[str]:
        """Serve. Gives the address."""
        with Service(("127.0.0.1", port), Served(self.ring, self.facts, instance, token)) as service:
            thread = threading.Thread(target=service.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
            thread.start()
            try:
                yield f"http://127.0.0.1:{service.server_address[1]}"
            finally:
                service.shutdown()
                thread.join(120)


@pytest.fixture
def machine() -> Machine:
    return Machine()
