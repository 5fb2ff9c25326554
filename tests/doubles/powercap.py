"""A stand-in for Linux's powercap tree, with a writer that makes its counters run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

RANGE_UJ = 65_532_610_987
"""Of AMD and older Xeons: 164 s at 400 W."""

WRITER = """
import json, os, select, sys, time
zones, period_s = json.loads(sys.argv[1])
files = [(os.open(path, os.O_WRONLY | os.O_CREAT, 0o644), *facts) for path, *facts in zones]
asked = select.poll()
asked.register(0, select.POLLIN)
start_ns = time.monotonic_ns()
print("on", flush=True)
while not asked.poll(1000 * period_s):
    for file, uj, uw, range_uj in files:  # of one length: never read half written
        os.pwrite(file, b"%-19d\\n" % (int(uj + uw * (time.monotonic_ns() - start_ns) / 1e9) % range_uj), 0)
"""
"""Renews energy counters, and ends with who started it."""


class Powercap:
    """Zones as the kernel shows them: flat under one folder, by their full names."""

    def __init__(self, root: Path) -> None:
        """Start an empty tree."""
        self.root = root
        root.mkdir(parents=True, exist_ok=True)
        self._ranges: dict[str, int] = {}
        self._shown_uj: dict[str, int] = {}

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
        self._shown_uj[zone] = energy_uj
        descriptor = os.open(self.root / zone / "energy_uj", os.O_WRONLY | os.O_CREAT, 0o644)
        os.pwrite(
            descriptor, b"%-19d\n" % (energy_uj % self._ranges[zone]), 0
        )  # of one length: never read half written
        os.close(descriptor)

    @contextmanager
    def drawing(self, watts: Mapping[str, float], period_s: float = 0.001) -> Iterator[None]:
        """Let zones draw constant power while the block runs, their counters renewed every `period_s`.

        A process of its own renews them, as hardware goes on however busy or held up the test is.
        """
        zones = [
            (str(self.root / zone / "energy_uj"), self._shown_uj[zone], power * 1e6, self._ranges[zone])
            for zone, power in watts.items()
        ]
        command = [sys.executable, "-I", "-S", "-c", WRITER, json.dumps([zones, period_s])]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
            assert writer.stdin
            assert writer.stdout
            try:
                assert writer.stdout.readline(), "the counters do not run"
                yield
            finally:
                writer.stdin.close()
