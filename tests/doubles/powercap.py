"""A stand-in for Linux's powercap tree, with a writer that makes its counters run."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

RANGE_UJ = 65_532_610_987
"""Of AMD and older Xeons: 164 s at 400 W."""


class Powercap:
    """Zones as the kernel shows them: flat under one folder, by their full names."""

    def __init__(self, root: Path) -> None:
        """Start an empty tree."""
        self.root = root
        root.mkdir(parents=True, exist_ok=True)
        self._ranges: dict[str, int] = {}

    @classmethod
    def server(cls, root: Path) -> Powercap:
        """Two packages with core, uncore and dram, the whole platform, and the first package again through MMIO."""
        tree = cls(root)
        for package in (0, 1):
            tree.zone(f"intel-rapl:{package}", f"package-{package}")
            for part, name in enumerate(("core", "uncore", "dram")):
                tree.zone(f"intel-rapl:{package}:{part}", name)
        tree.zone("intel-rapl:2", "psys")
        tree.zone("intel-rapl-mmio:0", "package-0")
        tree.zone("intel-rapl-mmio:0:0", "dram")
        return tree

    def zone(
        self, zone: str, name: str, energy_uj: int = 0, range_uj: int = RANGE_UJ, limit_uw: int | None = 400_000_000
    ) -> Path:
        """Add a zone such as `intel-rapl:0:1`."""
        path = self.root / zone
        path.mkdir()
        (path / "name").write_text(f"{name}\n")
        (path / "max_energy_range_uj").write_text(f"{range_uj}\n")
        if limit_uw is not None:
            (path / "constraint_0_max_power_uw").write_text(f"{limit_uw}\n")
        self._ranges[zone] = range_uj
        self.set(zone, energy_uj)
        return path

    def set(self, zone: str, energy_uj: int) -> None:
        """Show this much energy, wrapped as the register does."""
        descriptor = os.open(self.root / zone / "energy_uj", os.O_WRONLY | os.O_CREAT, 0o644)
        os.pwrite(
            descriptor, b"%-19d\n" % (energy_uj % self._ranges[zone]), 0
        )  # of one length: never read half written
        os.close(descriptor)

    @contextmanager
    def drawing(self, watts: Mapping[str, float], period_s: float = 0.001) -> Iterator[None]:
        """Let zones draw constant power while the block runs, their counters renewed every `period_s`."""
        stop = threading.Event()
        start = time.monotonic()

        def write() -> None:
            while not stop.wait(period_s):
                for zone, power in watts.items():
                    self.set(zone, int(power * (time.monotonic() - start) * 1e6))

        thread = threading.Thread(target=write)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
